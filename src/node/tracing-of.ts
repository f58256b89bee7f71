import type { LoggerOptions } from "pino";
import type { Config } from "../config/config.ts";
import { loadTraceFields, loadTracing, type OnTracingFault, type Tracing } from "../metrics/tracing.ts";
import { StartupError } from "../source/startup-error.ts";

/**
 * The maker of spans that the configuration asks for, if it does.
 * @throws {StartupError} The package is not installed.
 */
export async function tracingOf(
  { tracing: { sampleRatio } }: Config,
  onFault: OnTracingFault = () => {},
): Promise<Tracing | null> {
  try {
    return await loadTracing(sampleRatio, onFault);
  } catch (cause) {
    const text =
      "tracing.sampleRatio needs a package that is not installed: npm install @opentelemetry/api, or set it to 0";
    throw new StartupError(text, [], { cause });
  }
}

/** The options of the log. Lines that are written within a sampled trace carry its ids. */
export async function logOptionsOf({ log, tracing: { sampleRatio } }: Config): Promise<LoggerOptions> {
  if (sampleRatio === 0) return log;
  // A missing package is reported by the start of the node, to this log.
  return { ...log, mixin: await loadTraceFields(sampleRatio).catch(() => () => ({})) };
}

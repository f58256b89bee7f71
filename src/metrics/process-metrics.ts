import { readFileSync } from "node:fs";
import { collectDefaultMetrics, type Gauge, type Metric, Registry } from "prom-client";

let known: readonly Metric[] | undefined;

/**
 * The metrics `process_*` and `nodejs_*`. There is one set for the process, because each set observes the garbage collector and the
 * event loop for as long as the process lives. Every registry holds it.
 */
export function processMetrics(): readonly Metric[] {
  if (known === undefined) {
    const register = new Registry();
    collectDefaultMetrics({ register });
    // The registry holds the metrics themselves; the library's type describes their JSON.
    known = register.getMetricsAsArray() as unknown as readonly Metric[];
  }
  return known;
}

/** The version of this package. */
export function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const { version }: { version: string } = JSON.parse(text); // npm requires one
  return version;
}

/** Sets `tidewire_build_info`. */
export function setBuild(buildInfo: Gauge): void {
  buildInfo.set({ version: packageVersion(), node: process.versions.node }, 1);
}

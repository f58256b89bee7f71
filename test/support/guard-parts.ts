import { type Logger, pino } from "pino";
import { createMetrics, type Metrics } from "../../src/metrics/metrics.ts";

/** The parts of a guard, with a log that is discarded. */
export function guardParts(): { readonly log: Logger; readonly metrics: Metrics } {
  return { log: pino({ level: process.env["TIDEWIRE_TEST_LOG"] ?? "silent" }), metrics: createMetrics() };
}

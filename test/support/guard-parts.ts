import { type Logger, pino } from "pino";
import { createMetrics, type Metrics } from "../../src/metrics/metrics.ts";

/** What a guard needs, with nobody to read its log. */
export function guardParts(): { readonly log: Logger; readonly metrics: Metrics } {
  return { log: pino({ level: "silent" }), metrics: createMetrics() };
}

/** Percentiles of durations. Node's own histograms are HDR histograms, so that no package is needed. */
import { createHistogram, type Histogram, type RecordableHistogram } from "node:perf_hooks";

/** Longer durations count as this one. */
const HIGHEST_MICROSECONDS = 3_600_000_000;

/** Percentiles and extremes in milliseconds. */
export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** @param figures Significant decimal figures of each value: 3 for totals, 2 for the many intervals of a run. */
export const newHistogram = (figures: 2 | 3): RecordableHistogram =>
  createHistogram({ lowest: 1, highest: HIGHEST_MICROSECONDS, figures });

/** Records a duration in milliseconds. One below a microsecond counts as a microsecond. */
export function recordMs(histogram: RecordableHistogram, ms: number): void {
  const microseconds = Math.round(ms * 1_000);
  histogram.record(Math.min(HIGHEST_MICROSECONDS, Math.max(1, microseconds)));
}

/** Adds histograms up. They arrive from threads without the method `record`. */
export function sumOf(histograms: Iterable<Histogram>, figures: 2 | 3): RecordableHistogram {
  const sum = newHistogram(figures);
  // `add` reads a histogram of any kind; its type asks for one that can be recorded to.
  for (const histogram of histograms) if (histogram.count > 0) sum.add(histogram as RecordableHistogram);
  return sum;
}

/** `null` if nothing was recorded. */
export function summaryOf(histogram: Histogram): Summary | null {
  if (histogram.count === 0) return null;
  const { min, max, mean, count } = histogram;
  const at = (percentile: number) => inMs(Math.min(max, histogram.percentile(percentile)));
  return {
    count,
    min: inMs(min),
    mean: inMs(mean),
    p50: at(50),
    p90: at(90),
    p95: at(95),
    p99: at(99),
    p999: at(99.9),
    max: inMs(max),
  };
}

const inMs = (microseconds: number) => Math.round(microseconds) / 1_000;

/** Measures how late the event loop of a thread is. A late driver reads deliveries late, and its figures are too high. */
import { monitorEventLoopDelay } from "node:perf_hooks";

/** A timer of this period measures the delay; its period is part of each value. */
const RESOLUTION_MS = 10;

/** Delays in milliseconds. */
export interface LoopDelay {
  readonly p99: number;
  readonly max: number;
}

/** Watches the event loop of this thread. */
export class LoopWatch {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #hasStarted = false;

  /** Begins with the measured part. Later calls change nothing. */
  start(): void {
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    this.#histogram.enable();
  }

  /** @returns The delays since the start; `null` if it was not started. */
  stop(): LoopDelay | null {
    this.#histogram.disable();
    const { count, max } = this.#histogram;
    if (count === 0) return null;
    const late = (nanoseconds: number) => Math.max(0, Math.round(nanoseconds / 1e4) / 100 - RESOLUTION_MS);
    return { p99: late(this.#histogram.percentile(99)), max: late(max) };
  }
}

/** The largest delays of several threads. */
export function worstOf(all: Iterable<LoopDelay | null>): LoopDelay | null {
  const known = [...all].filter((delay) => delay !== null);
  if (known.length === 0) return null;
  const most = (of: (delay: LoopDelay) => number) => Math.max(...known.map(of));
  return { p99: most(({ p99 }) => p99), max: most(({ max }) => max) };
}

import type { Histogram } from "node:perf_hooks";
import { newHistogram, recordMs, sumOf } from "./histogram.ts";
import type { LoopDelay } from "./loop-delay.ts";
import { type DeliveryCounts, noDeliveries } from "./sequence.ts";

/** Distinct errors of a thread that are kept. Their texts are from the service, so there could be any number. */
const ERRORS_MAX = 50;
const OTHER_ERRORS = "other";

/** An error code, how often it occurred, and its first text. */
export interface ErrorCount {
  readonly code: string;
  count: number;
  readonly message: string;
}

/** Counts of the users of one thread since its start. */
export interface UserCounts extends DeliveryCounts {
  /** Users that have begun to connect. */
  users: number;
  /** Attempts to connect. */
  attempts: number;
  /** Connections that are open. */
  connected: number;
  /** Users whose subscriptions were all live once. */
  ready: number;
  /** Users that have ended because the service refused them permanently. */
  stopped: number;
  /** Connections that ended although their user wanted to stay. */
  disconnects: number;
  /** Changes without a mark: of other writers, or because a rule hides the mark. */
  unmarked: number;
  /**
   * Changes from the time when a user had left on purpose or had not arrived yet. They are checked, but their delay is not
   * a delivery time.
   */
  caughtUp: number;
  snapshotDocuments: number;
  resets: number;
  bytes: number;
}

/** The figures of one interval of a thread. */
export interface Interval {
  readonly counts: UserCounts;
  /** Delivery times of this interval. */
  readonly delivery: Histogram;
  readonly errors: readonly ErrorCount[];
}

/** All figures of a thread. */
export interface ThreadFigures {
  readonly counts: UserCounts;
  readonly errors: readonly ErrorCount[];
  readonly connect: Histogram;
  readonly snapshot: Histogram;
  readonly resume: Histogram;
  readonly delivery: Histogram;
  /** Subscriptions that were not live at the end, so that their deliveries could not be checked to the end. */
  readonly unfinished: number;
  /** Subscriptions of the written collection whose result never had a document of this run. */
  readonly blind: number;
  /** Users that were connecting when the run ended, and had met no error. */
  readonly arriving: number;
  /** Of the event loop of this thread while measured; `null` if nothing was measured. */
  readonly loopDelay: LoopDelay | null;
}

const noCounts = (): UserCounts => ({
  ...noDeliveries(),
  users: 0,
  attempts: 0,
  connected: 0,
  ready: 0,
  stopped: 0,
  disconnects: 0,
  unmarked: 0,
  caughtUp: 0,
  snapshotDocuments: 0,
  resets: 0,
  bytes: 0,
});

/** Collects the figures of the users of one thread. */
export class Tally {
  readonly counts = noCounts();
  readonly #connect = newHistogram(3);
  readonly #snapshot = newHistogram(3);
  readonly #resume = newHistogram(3);
  readonly #delivery = newHistogram(3);
  readonly #errors = new Map<string, ErrorCount>();
  readonly #onError: (error: ErrorCount) => void;
  #interval = newHistogram(2);
  #measured = { fromMs: Number.POSITIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };

  /** @param onError Receives each error when it occurs. */
  constructor(onError: (error: ErrorCount) => void = () => {}) {
    this.#onError = onError;
  }

  /**
   * Sets the measured part of the run, in epoch milliseconds. Deliveries of its writes count for the result whenever they
   * arrive, because the slowest ones arrive when the measured part is over.
   */
  measure(fromMs: number, toMs: number): void {
    this.#measured = { fromMs, toMs };
  }

  connected(ms: number): void {
    this.counts.connected++;
    recordMs(this.#connect, ms);
  }

  /** All subscriptions of a user were live for the first time. */
  ready(ms: number): void {
    this.counts.ready++;
    recordMs(this.#snapshot, ms);
  }

  resumed(ms: number): void {
    recordMs(this.#resume, ms);
  }

  /** @param dueMs When the write was due. */
  delivered(dueMs: number, nowMs: number): void {
    const { fromMs, toMs } = this.#measured;
    recordMs(this.#interval, nowMs - dueMs);
    if (dueMs >= fromMs && dueMs < toMs) recordMs(this.#delivery, nowMs - dueMs);
  }

  error(code: string, message: string): void {
    const key = this.#errors.has(code) || this.#errors.size < ERRORS_MAX ? code : OTHER_ERRORS;
    const known = this.#errors.get(key) ?? { code: key, count: 0, message };
    known.count++;
    this.#errors.set(key, known);
    this.#onError({ code, count: 1, message });
  }

  /** The figures since the last call. */
  takeInterval(): Interval {
    const delivery = this.#interval;
    this.#interval = newHistogram(2);
    return { counts: { ...this.counts }, delivery, errors: this.#errorList() };
  }

  figures(
    unfinished: number,
    blind: number,
    arriving: number,
    loopDelay: LoopDelay | null = null,
  ): ThreadFigures {
    return {
      counts: { ...this.counts },
      errors: this.#errorList(),
      connect: this.#connect,
      snapshot: this.#snapshot,
      resume: this.#resume,
      delivery: this.#delivery,
      unfinished,
      blind,
      arriving,
      loopDelay,
    };
  }

  #errorList(): ErrorCount[] {
    return [...this.#errors.values()].map((error) => ({ ...error }));
  }
}

/** Joins two intervals of one thread. Counts are sums since its start, so those of the later one are enough. */
export function mergeIntervals(earlier: Interval, later: Interval): Interval {
  return { ...later, delivery: sumOf([earlier.delivery, later.delivery], 2) };
}

/** Adds the counts of threads up. */
export function addCounts(all: Iterable<UserCounts>): UserCounts {
  const sum = noCounts();
  for (const counts of all)
    for (const name of Object.keys(sum) as (keyof UserCounts)[]) sum[name] += counts[name]; // its own keys
  return sum;
}

/** Adds the errors of threads up, the most frequent first. */
export function addErrors(all: Iterable<readonly ErrorCount[]>): ErrorCount[] {
  const sum = new Map<string, ErrorCount>();
  for (const error of [...all].flat()) {
    const known = sum.get(error.code);
    if (known === undefined) sum.set(error.code, { ...error });
    else known.count += error.count;
  }
  return [...sum.values()].sort((a, b) => b.count - a.count);
}

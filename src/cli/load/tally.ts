import type { Histogram } from "node:perf_hooks";
import { newHistogram, recordMs } from "./histogram.ts";
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
  /** Changes that had been missed while a user was away. They are checked, but their delay is not a delivery time. */
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
  /** Subscriptions whose result never had a document of this run. */
  readonly blind: number;
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
  #isMeasuring = false;

  /** @param onError Receives each error when it occurs. */
  constructor(onError: (error: ErrorCount) => void = () => {}) {
    this.#onError = onError;
  }

  /** Whether delivery times count for the result. They do not during the warm-up. */
  measure(isMeasuring: boolean): void {
    this.#isMeasuring = isMeasuring;
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

  delivered(ms: number): void {
    recordMs(this.#interval, ms);
    if (this.#isMeasuring) recordMs(this.#delivery, ms);
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

  figures(unfinished: number, blind: number): ThreadFigures {
    return {
      counts: { ...this.counts },
      errors: this.#errorList(),
      connect: this.#connect,
      snapshot: this.#snapshot,
      resume: this.#resume,
      delivery: this.#delivery,
      unfinished,
      blind,
    };
  }

  #errorList(): ErrorCount[] {
    return [...this.#errors.values()].map((error) => ({ ...error }));
  }
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

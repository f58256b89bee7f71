/** The load of a process over the last minutes, for charts. Its memory is bounded by the number of samples. */

/** The values that are sampled. Deliveries and errors are counts since the start. */
export interface Load {
  readonly connections: number;
  readonly subscriptions: number;
  readonly liveQueries: number;
  readonly deliveries: number;
  readonly errors: number;
}

/** One sample. */
export interface LoadSample {
  /** The start of its interval, in epoch milliseconds. Samples of several processes have the same starts. */
  readonly atMs: number;
  readonly connections: number;
  readonly subscriptions: number;
  readonly liveQueries: number;
  readonly deliveriesPerSecond: number;
  readonly errorsPerSecond: number;
}

/** The interval between two samples, in milliseconds. */
export const SAMPLE_MS = 5_000;
/** How far back the samples reach, in milliseconds. */
const KEPT_MS = 15 * 60_000;
const SAMPLES_MAX = KEPT_MS / SAMPLE_MS;

/** The samples of the last 15 minutes. */
export class LoadSamples {
  readonly #samples: LoadSample[] = [];
  #last: { readonly load: Load; readonly atMs: number } | null = null;

  /** The oldest first. */
  get all(): readonly LoadSample[] {
    return this.#samples;
  }

  /** Takes a measurement. The first one is only the point with which the next is compared. */
  add(load: Load, nowMs: number): void {
    const last = this.#last;
    this.#last = { load, atMs: nowMs };
    if (last === null || nowMs <= last.atMs) return;
    const seconds = (nowMs - last.atMs) / 1_000;
    const { connections, subscriptions, liveQueries, deliveries, errors } = load;
    this.#samples.push({
      atMs: Math.floor(nowMs / SAMPLE_MS) * SAMPLE_MS,
      connections,
      subscriptions,
      liveQueries,
      deliveriesPerSecond: (deliveries - last.load.deliveries) / seconds,
      errorsPerSecond: (errors - last.load.errors) / seconds,
    });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }
}

/** The samples of several processes as those of one. */
export function joinSamples(lists: readonly (readonly LoadSample[])[]): LoadSample[] {
  const byTime = new Map<number, LoadSample>();
  for (const sample of lists.flat()) {
    const known = byTime.get(sample.atMs);
    byTime.set(sample.atMs, known === undefined ? sample : sum(known, sample));
  }
  return [...byTime.values()].sort((a, b) => a.atMs - b.atMs).slice(-SAMPLES_MAX);
}

const sum = (a: LoadSample, b: LoadSample): LoadSample => ({
  atMs: a.atMs,
  connections: a.connections + b.connections,
  subscriptions: a.subscriptions + b.subscriptions,
  liveQueries: a.liveQueries + b.liveQueries,
  deliveriesPerSecond: a.deliveriesPerSecond + b.deliveriesPerSecond,
  errorsPerSecond: a.errorsPerSecond + b.errorsPerSecond,
});

/** Writers and judges for the sinks of real nodes under faults. */
import { setTimeout as pause } from "node:timers/promises";
import type { Collection } from "mongodb";
import { expect } from "vitest";

/** Documents that are counted up, each one in turn. */
export const DOCUMENTS = 50;

export interface Counted {
  _id: number;
  n: number;
}

/** One message as it arrived. */
export interface Arrived {
  readonly id: string;
  /** The `_id` of a document. */
  readonly subject: string;
  readonly n: number;
}

/** Counts documents up at a steady rate, each one in turn. */
export class SteadyWriter {
  readonly counts: number[] = new Array(DOCUMENTS).fill(0);
  readonly #collection: Collection<Counted>;
  readonly #rate: number;
  readonly #done: Promise<void>;
  #isStopped = false;
  #writes = 0;

  /** @param rate Writes per second. */
  constructor(collection: Collection<Counted>, rate: number) {
    this.#collection = collection;
    this.#rate = rate;
    this.#done = this.#run();
  }

  get total(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    const startedMs = performance.now();
    while (!this.#isStopped) {
      const _id = this.#writes % DOCUMENTS;
      const n = (this.counts[_id] ?? 0) + 1;
      await this.#collection.updateOne({ _id }, { $set: { n } }, { upsert: true });
      this.counts[_id] = n;
      this.#writes++;
      const aheadMs = (this.#writes / this.#rate) * 1_000 - (performance.now() - startedMs);
      if (aheadMs > 0) await pause(aheadMs);
    }
  }
}

/**
 * Each document has counted up without a gap and without a step back, repetitions apart, and every repetition has the id
 * and the content of the first one.
 * @returns The repetitions.
 */
export function judgeArrived(arrived: readonly Arrived[], counts: readonly number[]): number {
  const seen = new Map<string, string>();
  const values: number[][] = counts.map(() => []);
  let repeated = 0;
  for (const { id, subject, n } of arrived) {
    const content = `${subject} ${n}`;
    if (seen.has(id)) {
      repeated++;
      expect(seen.get(id)).toBe(content);
      continue;
    }
    seen.set(id, content);
    values[Number(subject)]?.push(n);
  }
  for (const [document, count] of counts.entries())
    expect(values[document]).toEqual(Array.from({ length: count }, (_, index) => index + 1));
  return repeated;
}

import type { Mark } from "./mark.ts";

/** Counts of the deliveries of one or many subscriptions. */
export interface DeliveryCounts {
  /** Changes that arrived with a mark. */
  received: number;
  /**
   * Writes of a document that were skipped: a later write of it arrived, or the run ended without them. A document that a
   * later snapshot lacks counts once.
   */
  lost: number;
  /** Writes that arrived although the same or a later write of the document had arrived before. */
  repeated: number;
  /** Writes that arrived after a later write of the same document or of the same writer. */
  outOfOrder: number;
  /** Writes that a reset has replaced by a newer snapshot. The guarantees allow that, so they are not lost. */
  replaced: number;
}

/** Counts of nothing. */
export const noDeliveries = (): DeliveryCounts => ({
  received: 0,
  lost: 0,
  repeated: 0,
  outOfOrder: 0,
  replaced: 0,
});

/** A write that is missing may still arrive late. Above this number of them per document, they are not remembered. */
const MISSING_MAX = 1_000;

type Key = number | string;

/**
 * Checks the deliveries of one subscription by the marks in the documents. The first snapshot says which documents the
 * subscription sees. From then on each write of such a document must arrive exactly once, in the order of its writer.
 */
export class SequenceCheck {
  readonly #run: string | undefined;
  readonly #counts: DeliveryCounts;
  /** The last write that arrived, by document. A document of another run has a text as its key. */
  #last = new Map<Key, number>();
  readonly #writers = new Map<Key, number>();
  #missing: Map<Key, Set<number>> | undefined;

  /**
   * @param run The run whose documents are checked to the end.
   * @param counts Receives the counts, which several checks may share.
   */
  constructor(run: string | undefined, counts: DeliveryCounts) {
    this.#run = run;
    this.#counts = counts;
  }

  /** The number of documents that it follows. */
  get documents(): number {
    return this.#last.size;
  }

  /**
   * A snapshot has arrived: the first one, or one that replaces everything. No document of a run is deleted before its
   * end, so a known one that is missing is lost.
   * @param areRightsChanged Other rules hold for the user, so that documents may be missing.
   */
  snapshot(marks: Iterable<Mark>, areRightsChanged = false): void {
    const before = this.#last;
    this.#last = new Map();
    this.#missing = undefined;
    for (const mark of marks) {
      const key = this.#documentKey(mark);
      const known = before.get(key);
      if (known !== undefined && mark.n < known) this.#counts.outOfOrder++;
      else if (known !== undefined) this.#counts.replaced += mark.n - known;
      this.#last.set(key, Math.max(mark.n, known ?? 0));
      this.#advanceWriter(mark);
    }
    if (areRightsChanged) return;
    for (const key of before.keys()) {
      // Another run deletes its documents when it ends.
      if (typeof key === "number" && !this.#last.has(key)) this.#counts.lost++;
    }
  }

  /** A change has arrived. @returns Whether it is the first arrival of this write. */
  change(mark: Mark): boolean {
    const counts = this.#counts;
    const key = this.#documentKey(mark);
    const last = this.#last.get(key);
    counts.received++;
    if (last !== undefined && mark.n <= last) {
      if (!this.#missing?.get(key)?.delete(mark.n)) {
        counts.repeated++;
        return false;
      }
      counts.lost--;
      counts.outOfOrder++;
      return true;
    }
    if (last !== undefined && mark.n > last + 1) this.#miss(key, last + 1, mark.n);
    this.#last.set(key, mark.n);
    if (!this.#advanceWriter(mark)) counts.outOfOrder++;
    return true;
  }

  /** A document has left the result, so its next writes are not expected. */
  removed(mark: Mark): void {
    const key = this.#documentKey(mark);
    this.#last.delete(key);
    this.#missing?.delete(key);
  }

  /**
   * How many writes of its run have not arrived yet.
   * @param finals The last write of each document.
   */
  remaining(finals: readonly number[]): number {
    let remaining = 0;
    for (const [key, last] of this.#last)
      if (typeof key === "number") remaining += Math.max(0, (finals[key] ?? 0) - last);
    return remaining;
  }

  /** Whether every write of its run has arrived. */
  hasAll(finals: readonly number[]): boolean {
    for (const [key, last] of this.#last)
      if (typeof key === "number" && last < (finals[key] ?? 0)) return false;
    return true;
  }

  #documentKey({ run, doc }: Mark): Key {
    return run === this.#run ? doc : `${run} ${doc}`;
  }

  #miss(key: Key, from: number, to: number): void {
    this.#counts.lost += to - from;
    this.#missing ??= new Map();
    const missing = this.#missing.get(key) ?? new Set();
    this.#missing.set(key, missing);
    for (let n = from; n < to && missing.size < MISSING_MAX; n++) missing.add(n);
  }

  /** @returns `false` if a later write of this writer has arrived already. */
  #advanceWriter({ run, writer, seq }: Mark): boolean {
    const key = run === this.#run ? writer : `${run} ${writer}`;
    const last = this.#writers.get(key) ?? -1;
    if (seq > last) this.#writers.set(key, seq);
    return seq >= last;
  }
}

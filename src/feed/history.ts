/**
 * Keeps the recent commits in memory. Most clients that reconnect were away for seconds, and serving them from memory
 * costs MongoDB nothing. Age and size are bounded, because the commits are kept as raw events with both images.
 */
import type { Metrics } from "../metrics/metrics.ts";
import type { Commit } from "../source/change-event.ts";
import { secondsOf } from "../source/cluster-time.ts";
import { AFTER, BEFORE, type CursorCodec, type Position } from "./cursor.ts";
import type { HistoryOptions } from "./options.ts";

/** A commit in the order of commits. `seq` counts within this process, without gaps. */
export class HistoryEntry {
  readonly seq: number;
  readonly commit: Commit;
  readonly #codec: CursorCodec;
  readonly #previous: HistoryEntry | undefined;
  #tag = 0;
  #cursor = "";

  constructor(seq: number, commit: Commit, codec: CursorCodec, previous: HistoryEntry | undefined) {
    this.seq = seq;
    this.commit = commit;
    this.#codec = codec;
    // Only a neighbour of the same cluster time is kept. Keeping every neighbour would chain all evicted entries to the
    // present.
    this.#previous = previous?.commit.clusterTime === commit.clusterTime ? previous : undefined;
  }

  /** The position just after this commit. Computed on first use, because most commits concern no client. */
  get position(): Position {
    if (this.#tag === 0) this.#tag = this.#codec.tag(this.commit.identity);
    return { clusterTime: this.commit.clusterTime, within: this.#tag };
  }

  get cursor(): string {
    if (this.#cursor === "") this.#cursor = this.#codec.encode(this.position);
    return this.#cursor;
  }

  /** A cursor just before this commit, for all but the last change of a transaction. */
  get cursorBefore(): string {
    if (this.#previous !== undefined) return this.#previous.cursor;
    return this.#codec.encode({ clusterTime: this.commit.clusterTime, within: BEFORE });
  }
}

/** A head of the stream whose position may not have been computed. */
export interface HeadMark {
  readonly last: HistoryEntry | undefined;
  readonly time: bigint;
}

/** The entry that a position follows; `too-old` or `ahead` if the history does not contain it. */
export type Located = { readonly seq: number } | "too-old" | "ahead";

/** Later than every cluster time. */
const NEVER = 2n ** 64n;

/** Memory of an entry besides its events, in bytes; measured and rounded up. */
const ENTRY_OVERHEAD_BYTES = 512;

/** The latest accepted commits, bounded by size and age. Catch-up reads them first. */
export class History {
  readonly #options: HistoryOptions;
  readonly #metrics: Metrics;
  #codec: CursorCodec;
  /** Evicted slots before `#first` are emptied at once, and cut off in larger steps. */
  #entries: (HistoryEntry | undefined)[] = [];
  #first = 0;
  #nextSeq = 1;
  #bytes = 0;
  #from: bigint;
  /** No further commit of this time or an earlier one will arrive. At first nothing of `#from` itself has arrived. */
  #headTime: bigint;
  #lastEvicted: HistoryEntry | undefined;
  /**
   * Collections whose events are complete only after a cluster time, because they were not read until then; `NEVER` for those
   * that are not read now.
   */
  readonly #completeAfter = new Map<string, bigint>();

  /** In the order in which they began. */
  readonly #holds = new Set<{ readonly seq: number }>();

  constructor(options: HistoryOptions, metrics: Metrics, codec: CursorCodec, from: bigint) {
    this.#options = options;
    this.#metrics = metrics;
    this.#codec = codec;
    this.#from = from;
    this.#headTime = from - 1n;
  }

  /**
   * Begins a new order of commits at `from`. The numbers of entries continue, so that an old number is never taken for
   * a new one.
   */
  begin(codec: CursorCodec, from: bigint): void {
    this.#codec = codec;
    this.#entries = [];
    this.#first = 0;
    this.#bytes = 0;
    this.#from = from;
    this.#headTime = from - 1n;
    this.#lastEvicted = undefined;
    for (const [namespace, after] of this.#completeAfter)
      if (after !== NEVER) this.#completeAfter.delete(namespace);
    this.#report();
  }

  /** The current head in a form for `positionOf`. Its position is computed only if it is needed later. */
  get headMark(): HeadMark {
    return { last: this.#entries.at(-1) ?? this.#lastEvicted, time: this.#headTime };
  }

  positionOf({ last, time }: HeadMark): Position {
    if (last !== undefined && last.commit.clusterTime >= time) return last.position;
    return { clusterTime: time < this.#from ? this.#from : time, within: BEFORE };
  }

  /** Every commit up to this cluster time, inclusive, has arrived. */
  get headTime(): bigint {
    return this.#headTime;
  }

  /** Where this order of commits begins. */
  get from(): bigint {
    return this.#from;
  }

  /** Number of the last accepted commit. */
  get headSeq(): number {
    return this.#nextSeq - 1;
  }

  /** Commits up to this number were evicted, or were never in this history. */
  get evictedSeq(): number {
    return this.#nextSeq - 1 - (this.#entries.length - this.#first);
  }

  /** The position after which the history is complete. */
  get start(): Position {
    return this.#lastEvicted?.position ?? { clusterTime: this.#from, within: BEFORE };
  }

  append(commit: Commit): HistoryEntry {
    const entry = new HistoryEntry(
      this.#nextSeq++,
      commit,
      this.#codec,
      this.#entries.at(-1) ?? this.#lastEvicted,
    );
    if (commit.clusterTime > this.#headTime) this.#headTime = commit.clusterTime;
    this.#entries.push(entry);
    this.#bytes += commit.bytes + ENTRY_OVERHEAD_BYTES;
    return entry;
  }

  /**
   * The stream has been read up to `through`, which also advances on idle streams. Evicts entries beyond the bounds.
   */
  advance(through: bigint): void {
    if (through > this.#headTime) this.#headTime = through;
    this.#evict();
    this.#report();
  }

  /**
   * Keeps the last accepted commit and all later ones, whatever their age. The limit of bytes still applies.
   * @returns Ends the hold.
   */
  hold(): () => void {
    const hold = { seq: this.headSeq };
    this.#holds.add(hold);
    return () => {
      this.#holds.delete(hold);
    };
  }

  /** Entries after number `seq`, oldest first; `seq` must not be below `evictedSeq`. */
  after(seq: number): HistoryEntry[] {
    // Only slots before `#first` are empty.
    return this.#entries.slice(this.#first + Math.max(0, seq - this.evictedSeq)) as HistoryEntry[];
  }

  /** Like `after`; `null` if the history has evicted some of them. */
  entriesAfter(seq: number): HistoryEntry[] | null {
    return seq < this.evictedSeq ? null : this.after(seq);
  }

  /**
   * The history contains these collections from now on, and none of their earlier events; or it contains no further events
   * of them, until this is called again.
   */
  follow(namespaces: readonly string[], when: "from-now" | "no-longer" = "from-now"): void {
    const after = when === "from-now" ? this.#headTime : NEVER;
    for (const namespace of namespaces) this.#completeAfter.set(namespace, after);
  }

  /** Whether the history covers all events of a collection after a position, apart from evicted ones. */
  holds(namespace: string, { clusterTime, within }: Position): boolean {
    const after = this.#completeAfter.get(namespace);
    return after === undefined || clusterTime > after || (clusterTime === after && within === AFTER);
  }

  /** The entry that follows number `seq`, if it has arrived; `seq` must not be below `evictedSeq`. */
  next(seq: number): HistoryEntry | undefined {
    return this.#entries[this.#first + Math.max(0, seq - this.evictedSeq)];
  }

  /** The position of entry `seq`; `null` if nothing is known about the entry any more. */
  positionAt(seq: number): Position | null {
    if (seq === this.evictedSeq) return this.start;
    return this.#entries[this.#first + (seq - this.evictedSeq) - 1]?.position ?? null;
  }

  /** Number of the last entry whose cluster time is at most `clusterTime`; `null` if later ones were evicted. */
  seqAt(clusterTime: bigint): number | null {
    if (clusterTime < (this.#lastEvicted?.commit.clusterTime ?? this.#from)) return null;
    return this.#seqBefore(this.#search(clusterTime + 1n));
  }

  /**
   * A cluster time at which everything up to entry `seq` has happened and nothing after it.
   * @returns `null` if there is none because the next entry has the same time, or if the entry was evicted.
   */
  timeAfter(seq: number): bigint | null {
    const next = this.#entries[this.#first + (seq - this.evictedSeq)];
    const last =
      seq === this.evictedSeq ? this.#lastEvicted : this.#entries[this.#first + (seq - this.evictedSeq) - 1];
    if (seq < this.evictedSeq) return null;
    const time = last?.commit.clusterTime ?? this.#from - 1n;
    return next?.commit.clusterTime === time ? null : time;
  }

  /**
   * Finds the entry that a position follows, without guessing: if the order is not certain, the answer is `too-old`,
   * which leads to another read.
   */
  locate(position: Position): Located {
    const { clusterTime, within } = position;
    const startTime = this.#lastEvicted?.commit.clusterTime ?? this.#from;
    if (clusterTime > this.#headTime) return "ahead";
    if (clusterTime < startTime) return "too-old";
    const startWithin = clusterTime === startTime ? this.start.within : null;
    const firstAtTime = this.#search(clusterTime);
    const firstLater = this.#search(clusterTime + 1n);
    if (within === AFTER) return { seq: this.#seqBefore(firstLater) };
    if (within === BEFORE) {
      return startWithin !== null && startWithin !== BEFORE
        ? "too-old"
        : { seq: this.#seqBefore(firstAtTime) };
    }
    for (let index = firstAtTime; index < firstLater; index++) {
      if (this.#entries[index]?.position.within === within) return { seq: this.#seqBefore(index + 1) };
    }
    if (startWithin === within) return { seq: this.#seqBefore(firstAtTime) };
    // A commit that today's pipeline filters out. If other commits share its time, their order to it is unknown.
    const alone = firstAtTime === firstLater && (startWithin === null || startWithin === BEFORE);
    return alone ? { seq: this.#seqBefore(firstLater) } : "too-old";
  }

  /** Index of the first entry whose cluster time is at least `clusterTime`. */
  #search(clusterTime: bigint): number {
    let low = this.#first;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.#entries[middle];
      if (entry !== undefined && entry.commit.clusterTime < clusterTime) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #seqBefore(index: number): number {
    return this.evictedSeq + (index - this.#first);
  }

  #evict(): void {
    const oldest = secondsOf(this.#headTime) - this.#options.windowMs / 1_000;
    const [firstHold] = this.#holds;
    const heldFrom = firstHold?.seq ?? Number.POSITIVE_INFINITY;
    for (let entry = this.#entries[this.#first]; entry !== undefined; entry = this.#entries[this.#first]) {
      const tooMuch = this.#bytes > this.#options.bytes;
      const isYoung = secondsOf(entry.commit.clusterTime) >= oldest;
      if (!tooMuch && (isYoung || entry.seq >= heldFrom)) break;
      this.#metrics.historyEvicted.inc({ reason: tooMuch ? "bytes" : "window" });
      this.#lastEvicted = entry;
      this.#entries[this.#first] = undefined;
      this.#bytes -= entry.commit.bytes + ENTRY_OVERHEAD_BYTES;
      this.#first++;
    }
    if (this.#first > 1_024 && this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }

  #report(): void {
    this.#metrics.historyCommits.set(this.#entries.length - this.#first);
    this.#metrics.historyBytes.set(this.#bytes);
    const start = this.#lastEvicted?.commit.clusterTime ?? this.#from;
    this.#metrics.historySeconds.set(secondsOf(this.#headTime) - secondsOf(start));
  }
}

import type { Metrics } from "../metrics/metrics.ts";
import type { Commit } from "../source/change-event.ts";
import { secondsOf } from "../source/cluster-time.ts";
import { AFTER, BEFORE, type CursorCodec, type Position } from "./cursor.ts";
import type { HistoryOptions } from "./options.ts";

/** A commit in the order of changes. `seq` counts within this process, without gaps. */
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
    // Only a neighbour of the same time matters, and to hold more would chain the whole past to the present.
    this.#previous = previous?.commit.clusterTime === commit.clusterTime ? previous : undefined;
  }

  /** Just after this commit. Computed when first needed: most commits concern nobody. */
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

/** The entry that a position follows; `too-old` or `ahead` where the history does not hold it. */
export type Located = { readonly seq: number } | "too-old" | "ahead";

/** Bookkeeping of an entry besides its events, in bytes; measured, and rounded up. */
const ENTRY_OVERHEAD_BYTES = 512;

/** The commits accepted last, a ring bounded by size and age: what catch-up reads first. */
export class History {
  readonly #options: HistoryOptions;
  readonly #metrics: Metrics;
  #codec: CursorCodec;
  /** Evicted slots before `#first` are emptied at once, and cut off now and then. */
  #entries: (HistoryEntry | undefined)[] = [];
  #first = 0;
  #nextSeq = 1;
  #bytes = 0;
  #from: bigint;
  /** Of this time and all before it nothing more will come; of `#from` itself nothing has come at first. */
  #headTime: bigint;
  #lastEvicted: HistoryEntry | undefined;
  /** Collections that were added while running, by the entry from which they are followed. */
  readonly #followedFrom = new Map<string, number>();

  constructor(options: HistoryOptions, metrics: Metrics, codec: CursorCodec, from: bigint) {
    this.#options = options;
    this.#metrics = metrics;
    this.#codec = codec;
    this.#from = from;
    this.#headTime = from - 1n;
  }

  /** Begins a new order of commits at `from`. The numbers of entries continue, so that no old one is taken for a new one. */
  begin(codec: CursorCodec, from: bigint): void {
    this.#codec = codec;
    this.#entries = [];
    this.#first = 0;
    this.#bytes = 0;
    this.#from = from;
    this.#headTime = from - 1n;
    this.#lastEvicted = undefined;
    this.#report();
  }

  /** How far the stream has been read. */
  get head(): Position {
    return this.positionOf(this.headMark);
  }

  /** The head as it is now, for `positionOf`: its position is computed only if it is needed later. */
  get headMark(): HeadMark {
    return { last: this.#entries.at(-1) ?? this.#lastEvicted, time: this.#headTime };
  }

  positionOf({ last, time }: HeadMark): Position {
    if (last !== undefined && last.commit.clusterTime >= time) return last.position;
    return { clusterTime: time < this.#from ? this.#from : time, within: BEFORE };
  }

  /** Everything up to this cluster time has come, itself included. */
  get headTime(): bigint {
    return this.#headTime;
  }

  /** Where this order of changes begins. */
  get from(): bigint {
    return this.#from;
  }

  /** Number of the last accepted commit. */
  get headSeq(): number {
    return this.#nextSeq - 1;
  }

  /** Commits up to this number are gone (or were never here). */
  get evictedSeq(): number {
    return this.#nextSeq - 1 - (this.#entries.length - this.#first);
  }

  /** Everything after this position is here. */
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

  /** The stream has been read up to `through`; moves on idle streams too. Drops what is beyond the bounds. */
  advance(through: bigint): void {
    if (through > this.#headTime) this.#headTime = through;
    this.#evict();
    this.#report();
  }

  /** Entries after number `seq`, oldest first; `seq` must not be below `evictedSeq`. */
  after(seq: number): HistoryEntry[] {
    // Only slots before `#first` are empty.
    return this.#entries.slice(this.#first + Math.max(0, seq - this.evictedSeq)) as HistoryEntry[];
  }

  /** As `after`; `null` where the history no longer holds some of them. */
  entriesAfter(seq: number): HistoryEntry[] | null {
    return seq < this.evictedSeq ? null : this.after(seq);
  }

  /** These collections are followed from now on: the history holds none of their earlier events. */
  follow(namespaces: readonly string[]): void {
    for (const namespace of namespaces) this.#followedFrom.set(namespace, this.headSeq);
  }

  /** Whether the history holds all events of a collection after entry `seq`, as far as it has not evicted them. */
  holds(namespace: string, seq: number): boolean {
    return seq >= (this.#followedFrom.get(namespace) ?? 0);
  }

  /** The entry that follows number `seq`, if it has come; `seq` must not be below `evictedSeq`. */
  next(seq: number): HistoryEntry | undefined {
    return this.#entries[this.#first + Math.max(0, seq - this.evictedSeq)];
  }

  /** The position of entry `seq`; `null` where the entry and all knowledge of it are gone. */
  positionAt(seq: number): Position | null {
    if (seq === this.evictedSeq) return this.start;
    return this.#entries[this.#first + (seq - this.evictedSeq) - 1]?.position ?? null;
  }

  /** Number of the last entry whose cluster time is at most `clusterTime`; `null` where later ones are gone already. */
  seqAt(clusterTime: bigint): number | null {
    if (clusterTime < (this.#lastEvicted?.commit.clusterTime ?? this.#from)) return null;
    return this.#seqBefore(this.#search(clusterTime + 1n));
  }

  /**
   * A cluster time at which everything up to entry `seq` has happened and nothing after it; `null` where there is
   * none, as the next entry is of the same time, or where the entry is gone.
   */
  timeAfter(seq: number): bigint | null {
    const next = this.#entries[this.#first + (seq - this.evictedSeq)];
    const last =
      seq === this.evictedSeq ? this.#lastEvicted : this.#entries[this.#first + (seq - this.evictedSeq) - 1];
    if (seq < this.evictedSeq) return null;
    const time = last?.commit.clusterTime ?? this.#from - 1n;
    return next?.commit.clusterTime === time ? null : time;
  }

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
    // A commit that today's pipeline leaves out. Where others share its time their order to it is unknown.
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
    for (let entry = this.#entries[this.#first]; entry !== undefined; entry = this.#entries[this.#first]) {
      const tooMuch = this.#bytes > this.#options.bytes;
      if (!tooMuch && secondsOf(entry.commit.clusterTime) >= oldest) break;
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

/**
 * Keeps the recent changes of one live query, so that clients that resume do not evaluate the history again. Its memory
 * counts against budgets shared by all live queries, so everything in it can be dropped and computed again.
 */
import type { Steps } from "../match/steps.ts";
import type { ValueMode } from "../protocol/messages.ts";
import { cutChunk, type LacksEncoding, type LogPosition, type NextChunk } from "./catch-up-chunks.ts";
import { UNKNOWN } from "./change.ts";
import { type ChangeEncoder, takesSteps } from "./change-encoder.ts";
import type { EncodedMessage } from "./chunk.ts";
import type { History } from "./history.ts";
import type { BudgetedLog, LogBudget } from "./log-budget.ts";
import type { LogEntry } from "./log-entry.ts";
import { mergeEntries } from "./merge-entries.ts";

/**
 * Memory of an entry besides its text and the events in the history, and of each of its changes, in bytes. Both are
 * rounded up.
 */
const ENTRY_BYTES = 400;
const CHANGE_BYTES = 256;

/** For how many positions the merged entries after them are kept. */
const MERGED_MAX = 16;

/**
 * Bounds the encoded changes that all live queries keep together. Changes that do not fit are encoded again when they
 * are needed.
 */
export class EncodedBudget {
  readonly limitBytes: number;
  usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }
}

/** The messages of one entry. */
export interface EncodedEntry {
  readonly entry: LogEntry;
  readonly messages: readonly EncodedMessage[];
}

/** The changes of one live query after some entry of the history, encoded for catch-ups once per value mode. */
export class ChangeLog implements BudgetedLog {
  readonly #history: History;
  readonly #encoder: ChangeEncoder;
  readonly #budget: EncodedBudget;
  readonly #logBudget: LogBudget;
  /** The latest chunks, by position. Clients that resume from the same position share them and their wire form. */
  #chunks: Map<string, NextChunk> | undefined;
  #entries: LogEntry[] = [];
  /** The log is complete for all entries after this number. */
  #coveredFrom: number;
  /** Whether only the last of several changes of a document counts. */
  readonly #merges: boolean;
  /** Entries of the log merged into one, by the position after which they begin. */
  #merged: Map<number, LogEntry | null> | undefined;

  constructor(
    history: History,
    encoder: ChangeEncoder,
    shared: { readonly budget: EncodedBudget; readonly logBudget: LogBudget },
    merges = false,
  ) {
    this.#history = history;
    this.#encoder = encoder;
    this.#budget = shared.budget;
    this.#logBudget = shared.logBudget;
    this.#coveredFrom = history.headSeq;
    this.#merges = merges;
  }

  /** The log contains the changes of every entry after this number. */
  get coveredFrom(): number {
    return this.#coveredFrom;
  }

  /** Number of its oldest entry. */
  get firstSeq(): number | undefined {
    return this.#entries[0]?.seq;
  }

  push(entry: LogEntry): void {
    this.forgetChunks();
    if (this.#entries.length === 0) {
      this.#logBudget.add(this);
      // V8 reserves room for 17 elements when an empty array grows. Most logs are short, so the first list has exactly one.
      this.#entries = [entry];
    } else this.#entries.push(entry);
    this.#logBudget.usedBytes += costOf(entry);
  }

  /** Adds the changes of earlier entries. From now on the log reaches back to number `seq`. */
  prepend(entries: readonly LogEntry[], seq: number): void {
    this.#merged = undefined;
    if (entries.length > 0) this.#logBudget.add(this);
    this.#entries = [...entries, ...this.#entries];
    this.#coveredFrom = seq;
    for (const entry of entries) this.#logBudget.usedBytes += costOf(entry);
  }

  /** Drops all entries. From now on the log contains the changes after number `seq`. */
  restart(seq: number): void {
    this.#release(this.#entries);
    this.#entries = [];
    this.#emptied();
    this.#coveredFrom = seq;
  }

  /** Entries after number `seq`; `undefined` if the log does not reach back that far. */
  after(seq: number): LogEntry[] | undefined {
    this.prune();
    if (seq < this.#coveredFrom) return undefined;
    return this.#entries.slice(lowerBound(this.#entries, seq + 1));
  }

  /** Drops the entries that the history has evicted. */
  prune(): void {
    const { evictedSeq } = this.#history;
    this.dropUntil(evictedSeq);
    if (evictedSeq > this.#coveredFrom) this.#coveredFrom = evictedSeq;
  }

  /** Drops the entries up to number `seq`. */
  dropUntil(seq: number): void {
    const count = lowerBound(this.#entries, seq + 1);
    const last = this.#entries[count - 1];
    if (last === undefined) return;
    this.#release(this.#entries.splice(0, count));
    if (this.#entries.length === 0) this.#emptied();
    this.#coveredFrom = last.seq;
  }

  #emptied(): void {
    this.forgetChunks();
    this.#logBudget.remove(this);
  }

  /**
   * The next chunk for a client that has received everything up to `position`; `log` begins there.
   * @param encoded The result of `encodeInSteps` for an entry that lacked an encoding.
   */
  nextChunk(
    log: readonly LogEntry[],
    position: LogPosition,
    mode: ValueMode,
    encoded: EncodedEntry | undefined,
  ): "nothing" | "unknown" | LacksEncoding | NextChunk {
    if (encoded?.entry.cursors !== undefined && encoded.entry.seq > position.after)
      return cutChunk([encoded.entry], position, () => encoded.messages);
    if (this.#merges && log.length > 1 && position.written === 0) {
      const merged = this.#mergedAfter(position.after, log);
      if (merged === null) return "unknown";
      return merged.changes.length === 0 ? "nothing" : { lacking: merged };
    }
    const key = `${mode} ${position.after} ${position.written}`;
    const known = this.#chunks?.get(key);
    if (known !== undefined) return known;
    const next = cutChunk(log, position, (entry) =>
      entry === encoded?.entry ? encoded.messages : this.#encodeForLater(entry, mode),
    );
    if (typeof next === "object" && "chunk" in next && this.#takeRoom(next.chunk.size)) {
      this.#chunks ??= new Map();
      this.#chunks.set(key, next);
    }
    return next;
  }

  /** The rows that differ since entry `after`, computed once for all clients that resume from there. */
  #mergedAfter(after: number, log: readonly LogEntry[]): LogEntry | null {
    this.#merged ??= new Map();
    let merged = this.#merged.get(after);
    if (merged === undefined) {
      merged = mergeEntries(log);
      if (this.#merged.size >= MERGED_MAX) this.#merged.clear();
      this.#merged.set(after, merged);
    }
    return merged;
  }

  /**
   * Drops the shared chunks. A wave of clients that resume together is short, and every new entry changes the chunks.
   */
  forgetChunks(): void {
    this.#merged = undefined;
    if (this.#chunks === undefined) return;
    for (const { chunk } of this.#chunks.values()) this.#budget.usedBytes -= chunk.size;
    this.#chunks = undefined;
  }

  #takeRoom(size: number): boolean {
    if (this.#budget.usedBytes + size > this.#budget.limitBytes) return false;
    this.#budget.usedBytes += size;
    return true;
  }

  /** Encodes an entry for a catch-up in steps, and keeps the messages for the next one. */
  *encodeInSteps(entry: LogEntry, mode: ValueMode): Steps<EncodedEntry> {
    const messages = entry.encoded?.[mode] ?? (yield* this.#encoder.encodeEntryInSteps(entry, mode));
    if (entry.cursors === undefined) this.#keep(entry, mode, messages);
    else {
      // The text is dropped at the next change, together with the merged entry.
      entry.encoded ??= {};
      entry.encoded[mode] = messages;
    }
    return { entry, messages };
  }

  /** The messages of an entry for a catch-up; `null` if it must be encoded with `encodeInSteps`. */
  #encodeForLater(entry: LogEntry, mode: ValueMode): readonly EncodedMessage[] | null {
    const known = entry.encoded?.[mode];
    if (known !== undefined || entry.changes === UNKNOWN) return known ?? [];
    if (takesSteps(entry.changes)) return null;
    const messages = this.#encoder.encodeEntry(entry, mode);
    this.#keep(entry, mode, messages);
    return messages;
  }

  #keep(entry: LogEntry, mode: ValueMode, messages: EncodedMessage[]): void {
    // An entry that was dropped during a pause must not be charged, because nothing would release its charge.
    const isHeld = this.#entries[lowerBound(this.#entries, entry.seq)] === entry;
    if (!isHeld || entry.encoded?.[mode] !== undefined || !this.#takeRoom(sizeOf(messages))) return;
    entry.encoded ??= {};
    entry.encoded[mode] = messages;
  }

  #release(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      this.#logBudget.usedBytes -= costOf(entry);
      if (entry.encoded === undefined) continue;
      const { json = [], ejson = [] } = entry.encoded;
      this.#budget.usedBytes -= sizeOf(json) + sizeOf(ejson);
      entry.encoded = undefined;
    }
  }
}

const costOf = ({ changes }: LogEntry) =>
  ENTRY_BYTES + (changes === UNKNOWN ? 0 : changes.length * CHANGE_BYTES);

const sizeOf = (messages: readonly EncodedMessage[]) =>
  messages.reduce((size, { text }) => size + Buffer.byteLength(text), 0);

/** Index of the first entry whose number is at least `seq`. */
function lowerBound(log: readonly LogEntry[], seq: number): number {
  let low = 0;
  let high = log.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = log[middle];
    if (entry !== undefined && entry.seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

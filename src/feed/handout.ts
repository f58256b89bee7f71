/**
 * Encodes the changes of one live query once per value mode, and writes them to followers. Many followers and long commits
 * are served in steps.
 */
import type { Steps } from "../match/steps.ts";
import type { ChangeTallies, Metrics } from "../metrics/metrics.ts";
import type { ValueMode } from "../protocol/messages.ts";
import { cutChunk, LIVE_CHUNK_BYTES, type LogPosition } from "./catch-up-chunks.ts";
import { type Change, isLargeChange, UNKNOWN } from "./change.ts";
import { CHANGES_STEP, type ChangeEncoder } from "./change-encoder.ts";
import { Chunk, type EncodedMessage } from "./chunk.ts";
import type { Follower } from "./follower.ts";
import type { HistoryEntry } from "./history.ts";
import type { LogEntry } from "./log-entry.ts";
import type { SmallSet } from "./small-set.ts";

/** One chunk for each value mode that some follower uses. */
export type Chunks = { [mode in ValueMode]?: Chunk };

export type Followers = SmallSet<Follower> | readonly Follower[];

/** The messages of a commit, for each value mode that some follower uses. */
export interface Prepared {
  readonly entry: HistoryEntry;
  readonly messages: Map<ValueMode, readonly EncodedMessage[]>;
}

export const NOTHING: readonly undefined[] = [];

/** How many followers are served before the event loop runs other work. */
const FOLLOWERS_STEP = 64;

/** Hands changes of one live query to followers. */
export class Handout {
  readonly #followers: SmallSet<Follower>;
  readonly #encoder: ChangeEncoder;
  readonly #metrics: Metrics;
  readonly #changes: ChangeTallies;

  /**
   * @param followers All followers. If one leaves while others are served, it receives nothing more.
   * @param collection The label of the changes in the metrics.
   */
  constructor(followers: SmallSet<Follower>, encoder: ChangeEncoder, metrics: Metrics, collection: string) {
    this.#followers = followers;
    this.#encoder = encoder;
    this.#metrics = metrics;
    this.#changes = metrics.changesBy(collection);
  }

  /** Encodes the changes of an entry in steps, for the value modes of the current followers. */
  *prepare(entry: HistoryEntry, changes: readonly Change[]): Steps<Prepared> {
    const prepared: Prepared = { entry, messages: new Map() };
    for (const mode of new Set([...this.#followers].map((follower) => follower.mode)))
      prepared.messages.set(mode, yield* this.#encoder.encodeCommitInSteps(changes, entry, mode));
    return prepared;
  }

  /** Counts changes by their type. Unknown changes are not counted. */
  noteChanges(entries: readonly LogEntry[]): void {
    for (const { changes } of entries)
      if (changes !== UNKNOWN) for (const change of changes) this.#changes[change.type].inc();
  }

  /** Counts changes that were merged with later ones. */
  noteMerged(changes: number): void {
    this.#metrics.changesMerged.inc(changes);
  }

  /**
   * Delivers the changes of commits to these followers, in one chunk for each value mode if they are short.
   * @returns The remaining work, step by step; `null` if some changes are unknown, so that nothing was delivered.
   */
  hand(entries: readonly LogEntry[], prepared: Prepared | null, followers: Followers): Iterable<void> | null {
    const count = sizeOf(entries);
    if (count === UNKNOWN) return null;
    const number = "size" in followers ? followers.size : followers.length;
    this.#metrics.deliveriesMade.inc(number * entries.length);
    if (count > CHANGES_STEP || number > FOLLOWERS_STEP)
      return this.#handInSteps(entries, prepared, followers);
    const chunks: Chunks = {};
    const position = { after: entries.at(-1)?.seq ?? 0, written: 0 };
    for (const follower of followers) this.#handOne(follower, entries, position, chunks);
    return NOTHING;
  }

  /**
   * Delivers the changes of an entry to one follower, before the others.
   * @param chunks The chunks of these changes that were made already.
   */
  handAlone(follower: Follower, entry: LogEntry, chunks: Chunks): void {
    this.#metrics.deliveriesMade.inc(1);
    this.#handOne(follower, [entry], { after: entry.seq, written: 0 }, chunks);
  }

  #handOne(follower: Follower, entries: readonly LogEntry[], position: LogPosition, chunks: Chunks): void {
    // A follower that fails, or a mode that cannot be encoded, must not affect the others.
    try {
      const chunk = chunks[follower.mode] ?? this.#chunkOf(entries, follower.mode);
      chunks[follower.mode] = chunk;
      follower.deliver(chunk, position);
    } catch (error) {
      follower.fail(error);
    }
  }

  /**
   * Delivers the changes of several commits as those of one, in one chunk. A follower that had received a part of them
   * could not continue from the log, which contains the commits themselves. The groups of an aggregate bound the chunk.
   */
  *handMerged(merged: LogEntry, receivers: Followers): Generator<void, void> {
    this.#metrics.deliveriesMade.inc("size" in receivers ? receivers.size : receivers.length);
    for (const [mode, followers] of byMode(receivers)) {
      try {
        const encoded = yield* this.#encodeInSteps([merged], mode, null);
        const chunk = new Chunk(encoded.get(merged) ?? []);
        yield* this.#handToAll(followers, chunk, { after: merged.seq, written: 0 });
      } catch (error) {
        this.#failThose(followers, error);
      }
    }
  }

  /**
   * Delivers long commits piece by piece. One chunk of all of it would take a turn of its own to build and to number, and
   * would fit into no outbox.
   */
  *#handInSteps(
    pending: readonly LogEntry[],
    prepared: Prepared | null,
    receivers: Followers,
  ): Generator<void, void> {
    for (const [mode, followers] of byMode(receivers)) {
      try {
        const encoded = yield* this.#encodeInSteps(pending, mode, prepared);
        yield* this.#handChunks(pending, encoded, followers);
      } catch (error) {
        this.#failThose(followers, error);
      }
    }
  }

  *#handChunks(
    pending: readonly LogEntry[],
    encoded: ReadonlyMap<LogEntry, readonly EncodedMessage[]>,
    followers: readonly Follower[],
  ): Generator<void, void> {
    const encode = (entry: LogEntry) => encoded.get(entry) ?? [];
    let position: LogPosition = { after: (pending[0]?.seq ?? 0) - 1, written: 0 };
    for (let first = 0; ; ) {
      while (pending[first] !== undefined && (pending[first]?.seq ?? 0) <= position.after) first++;
      const next = cutChunk(pending.slice(first), position, encode, LIVE_CHUNK_BYTES);
      if (typeof next === "string" || "lacking" in next) return;
      yield* this.#handToAll(followers, next.chunk, next);
      position = next;
      yield;
    }
  }

  *#handToAll(followers: readonly Follower[], chunk: Chunk, position: LogPosition): Generator<void, void> {
    let served = 0;
    for (const follower of followers) {
      this.#handTo(follower, chunk, position);
      if (++served % FOLLOWERS_STEP === 0) yield;
    }
  }

  /** A follower that has left meanwhile, because it is slow, reads the log by itself. */
  #failThose(followers: readonly Follower[], error: unknown): void {
    for (const follower of followers) if (this.#followers.has(follower)) follower.fail(error);
  }

  #handTo(follower: Follower, chunk: Chunk, position: LogPosition): void {
    if (!this.#followers.has(follower)) return;
    try {
      follower.deliver(chunk, position);
    } catch (error) {
      follower.fail(error);
    }
  }

  #chunkOf(entries: readonly LogEntry[], mode: ValueMode): Chunk {
    const messages: EncodedMessage[] = [];
    for (const entry of entries) this.#encoder.encodeLive(entry, mode, messages);
    return new Chunk(messages);
  }

  *#encodeInSteps(
    entries: readonly LogEntry[],
    mode: ValueMode,
    prepared: Prepared | null,
  ): Generator<void, Map<LogEntry, readonly EncodedMessage[]>> {
    const encoded = new Map<LogEntry, readonly EncodedMessage[]>();
    for (const entry of entries) {
      const known = prepared?.entry === entry.entry ? prepared.messages.get(mode) : undefined;
      const messages: EncodedMessage[] = [];
      if (known === undefined) yield* this.#encoder.encodeLiveInSteps(entry, mode, messages);
      encoded.set(entry, known ?? messages);
    }
    return encoded;
  }
}

/** The number of changes, or `UNKNOWN`. A change of a large document counts as too many for one step. */
function sizeOf(entries: readonly LogEntry[]): number | typeof UNKNOWN {
  let size = 0;
  for (const { changes } of entries) {
    if (changes === UNKNOWN) return UNKNOWN;
    for (const change of changes) size += isLargeChange(change) ? CHANGES_STEP + 1 : 1;
  }
  return size;
}

/**
 * Followers by their value mode. No follower joins during a pause, because catch-ups wait until the batch has ended. A
 * follower that leaves is skipped.
 */
function byMode(followers: Followers): Map<ValueMode, Follower[]> {
  const found = new Map<ValueMode, Follower[]>();
  for (const follower of followers) put(found, follower.mode, follower);
  return found;
}

/** Adds a follower to one of several lists. */
export function put<K>(lists: Map<K, Follower[]>, key: K, follower: Follower): void {
  const known = lists.get(key);
  if (known === undefined) lists.set(key, [follower]);
  else known.push(follower);
}

/**
 * Delivers the changes of one live query to its live followers. A change is encoded once per value mode and shared by
 * all of them, which makes the cost of a change nearly independent of the number of subscribers.
 */
import type { Steps } from "../match/steps.ts";
import type { ChangeTallies, Metrics } from "../metrics/metrics.ts";
import type { ValueMode } from "../protocol/messages.ts";
import { cutChunk, LIVE_CHUNK_BYTES, type LogPosition } from "./catch-up-chunks.ts";
import { isLargeChange, UNKNOWN } from "./change.ts";
import { CHANGES_STEP, type ChangeEncoder, takesSteps } from "./change-encoder.ts";
import type { ChangeLog } from "./change-log.ts";
import { Chunk, type EncodedMessage } from "./chunk.ts";
import type { Follower } from "./follower.ts";
import type { HistoryEntry } from "./history.ts";
import { type LogEntry, toLogEntry } from "./log-entry.ts";
import { mergeEntries } from "./merge-entries.ts";
import { SmallSet } from "./small-set.ts";

/** One chunk for each value mode that some follower uses. */
type Chunks = { [mode in ValueMode]?: Chunk };

/** The messages of a commit, for each value mode that some follower uses. */
interface Prepared {
  readonly entry: HistoryEntry;
  readonly messages: Map<ValueMode, readonly EncodedMessage[]>;
}

const NOTHING: readonly undefined[] = [];

/** How many followers are served before the event loop runs other work. */
const FOLLOWERS_STEP = 64;

/** Records the changes of one live query in its log, and delivers them to its followers. */
export class Broadcast {
  /** The followers that are up to date. Others first read the log at their own pace. */
  readonly followers = new SmallSet<Follower>();
  readonly #log: ChangeLog;
  readonly #encoder: ChangeEncoder;
  readonly #metrics: Metrics;
  readonly #changes: ChangeTallies;
  readonly #merges: boolean;
  /** Entries recorded since the last flush; `null` if there are none. */
  #pending: LogEntry[] | null = null;
  /** A commit whose messages were encoded in advance for the next flush. */
  #prepared: Prepared | null = null;

  /**
   * @param collection The label of its changes in the metrics.
   * @param merges Whether only the last of several changes of a document counts.
   */
  constructor(log: ChangeLog, encoder: ChangeEncoder, metrics: Metrics, collection: string, merges = false) {
    this.#log = log;
    this.#encoder = encoder;
    this.#metrics = metrics;
    this.#changes = metrics.changesBy(collection);
    this.#merges = merges;
  }

  /**
   * Encodes the changes of an entry in steps, for the current followers. The entry becomes visible only with `note` and
   * `flush`, which then take one short turn.
   */
  *prepare(entry: HistoryEntry, changes: LogEntry["changes"]): Steps<void> {
    if (changes === UNKNOWN || !takesSteps(changes)) return;
    const prepared: Prepared = { entry, messages: new Map() };
    for (const mode of new Set([...this.followers].map((follower) => follower.mode)))
      prepared.messages.set(mode, yield* this.#encoder.encodeCommitInSteps(changes, entry, mode));
    this.#prepared = prepared;
  }

  /**
   * Records the changes of an entry.
   * @returns Whether there are any.
   */
  note(entry: HistoryEntry, changes: LogEntry["changes"]): boolean {
    const logEntry = toLogEntry(entry, changes);
    if (logEntry === null) return false;
    this.#log.push(logEntry);
    if (this.#pending === null) this.#pending = [logEntry];
    else this.#pending.push(logEntry);
    return true;
  }

  /**
   * Delivers everything recorded since the last flush to all followers, in one chunk for each value mode if it is short.
   * @param onUnknown Called if the changes of a commit are unknown, before all followers start over.
   * @returns The remaining work, step by step. Only many followers or long commits leave any.
   */
  flush(onUnknown: () => void): Iterable<void> {
    const noted = this.#pending;
    const last = noted?.at(-1);
    if (noted === null || last === undefined) return NOTHING;
    const merged = this.#merges && noted.length > 1 ? mergeEntries(noted) : null;
    const pending = merged === null ? noted : [merged];
    const prepared = merged === null ? this.#prepared : null;
    this.#pending = null;
    this.#prepared = null;
    // Changes of one batch may cancel each other.
    if (merged?.changes.length === 0) {
      for (const follower of this.followers) follower.skipTo(merged);
      return NOTHING;
    }
    const count = this.#count(pending);
    if (count === UNKNOWN) {
      onUnknown();
      return this.startOverAll();
    }
    this.#metrics.deliveriesMade.inc(this.followers.size * pending.length);
    if (merged !== null) return this.#handMerged(merged);
    if (count > CHANGES_STEP || this.followers.size > FOLLOWERS_STEP)
      return this.#handInSteps(pending, prepared);
    const chunks: Chunks = {};
    const position = { after: last.seq, written: 0 };
    for (const follower of this.followers) {
      // A follower that fails, or a mode that cannot be encoded, must not affect the others.
      try {
        const chunk = chunks[follower.mode] ?? this.#chunkOf(pending, follower.mode);
        chunks[follower.mode] = chunk;
        follower.deliver(chunk, position);
      } catch (error) {
        follower.fail(error);
      }
    }
    return NOTHING;
  }

  /**
   * Delivers the changes of several commits as those of one, in one chunk. A follower that had received a part of them
   * could not continue from the log, which contains the commits themselves. The groups of an aggregate bound the chunk.
   */
  *#handMerged(merged: LogEntry): Generator<void, void> {
    for (const [mode, followers] of this.#byMode()) {
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
  *#handInSteps(pending: readonly LogEntry[], prepared: Prepared | null): Generator<void, void> {
    for (const [mode, followers] of this.#byMode()) {
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

  /**
   * The followers of now, by their value mode. No follower joins during a pause, because catch-ups wait until the batch has
   * ended. A follower that leaves is skipped.
   */
  #byMode(): Map<ValueMode, Follower[]> {
    const byMode = new Map<ValueMode, Follower[]>();
    for (const follower of this.followers) {
      const known = byMode.get(follower.mode);
      if (known === undefined) byMode.set(follower.mode, [follower]);
      else known.push(follower);
    }
    return byMode;
  }

  *#handToAll(followers: readonly Follower[], chunk: Chunk, position: LogPosition): Generator<void, void> {
    let served = 0;
    for (const follower of followers) {
      this.#hand(follower, chunk, position);
      if (++served % FOLLOWERS_STEP === 0) yield;
    }
  }

  /** A follower that has left meanwhile, because it is slow, reads the log by itself. */
  #failThose(followers: readonly Follower[], error: unknown): void {
    for (const follower of followers) if (this.followers.has(follower)) follower.fail(error);
  }

  #hand(follower: Follower, chunk: Chunk, position: LogPosition): void {
    if (!this.followers.has(follower)) return;
    try {
      follower.deliver(chunk, position);
    } catch (error) {
      follower.fail(error);
    }
  }

  /** Makes all followers read the result again. */
  *startOverAll(): Generator<void, void> {
    for (const follower of [...this.followers]) {
      try {
        follower.startOver();
      } catch (error) {
        follower.fail(error);
      }
      yield;
    }
  }

  /** Drops everything recorded since the last flush. */
  forget(): void {
    this.#pending = null;
    this.#prepared = null;
  }

  /**
   * Counts changes by their type, for the metrics.
   * @returns Their number. A change of a large document counts as too many for one step.
   */
  #count(entries: readonly LogEntry[]): number | typeof UNKNOWN {
    const tallies = this.#changes;
    let count = 0;
    for (const { changes } of entries) {
      if (changes === UNKNOWN) return UNKNOWN;
      for (const change of changes) {
        tallies[change.type].inc();
        count += isLargeChange(change) ? CHANGES_STEP + 1 : 1;
      }
    }
    return count;
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

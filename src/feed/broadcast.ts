import type { Metrics } from "../metrics/metrics.ts";
import type { ValueMode } from "../protocol/messages.ts";
import { UNKNOWN } from "./change.ts";
import type { ChangeEncoder } from "./change-encoder.ts";
import type { ChangeLog } from "./change-log.ts";
import { Chunk, type EncodedMessage } from "./chunk.ts";
import type { Follower } from "./follower.ts";
import type { HistoryEntry } from "./history.ts";
import { type LogEntry, toLogEntry } from "./log-entry.ts";

/** How many followers are served before the event loop may have its turn. */
const FOLLOWERS_STEP = 64;

/** Notes the changes of one live query in its log, and hands them to its followers. */
export class Broadcast {
  /** The followers that are up to date; others read the log at their own pace first. */
  readonly followers = new Set<Follower>();
  readonly #log: ChangeLog;
  readonly #encoder: ChangeEncoder;
  readonly #metrics: Metrics;
  /** Noted since the last flush. */
  #pending: LogEntry[] = [];

  constructor(log: ChangeLog, encoder: ChangeEncoder, metrics: Metrics) {
    this.#log = log;
    this.#encoder = encoder;
    this.#metrics = metrics;
  }

  /** Notes the changes of an entry. @returns Whether there are any. */
  note(entry: HistoryEntry, changes: LogEntry["changes"]): boolean {
    const logEntry = toLogEntry(entry, changes);
    if (logEntry === null) return false;
    this.#log.push(logEntry);
    this.#pending.push(logEntry);
    return true;
  }

  /**
   * Hands everything noted since the last flush to all followers, in one chunk for each value mode.
   * @param onUnknown Called where the changes of a commit are unknown, before all followers start over.
   */
  *flush(onUnknown: () => void): Generator<void, void> {
    const pending = this.#pending;
    this.#pending = [];
    const last = pending.at(-1);
    if (last === undefined) return;
    this.#count(pending);
    if (pending.some((entry) => entry.changes === UNKNOWN)) {
      onUnknown();
      yield* this.startOverAll();
      return;
    }
    this.#metrics.deliveries.inc(this.followers.size * pending.length);
    const chunks: { [mode in ValueMode]?: Chunk } = {};
    let served = 0;
    // Nobody joins while this pauses, as catch-ups wait for the batch to end. A follower that leaves is left out.
    for (const follower of this.followers) {
      // One follower that fails, or one mode that cannot be encoded, must not affect the others.
      try {
        const chunk = chunks[follower.mode] ?? (yield* this.#chunkOf(pending, follower.mode));
        chunks[follower.mode] = chunk;
        if (this.followers.has(follower)) follower.deliver(chunk, last.seq);
      } catch (error) {
        follower.fail(error);
      }
      if (++served % FOLLOWERS_STEP === 0) yield;
    }
  }

  /** All followers have to read the result again. */
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

  /** Drops what was noted since the last flush. */
  forget(): void {
    this.#pending = [];
  }

  #count(entries: readonly LogEntry[]): void {
    const counts = { added: 0, changed: 0, removed: 0 };
    for (const { changes } of entries)
      if (changes !== UNKNOWN) for (const { type } of changes) counts[type]++;
    const { added, changed, removed } = this.#metrics.changesBy;
    if (counts.added > 0) added.inc(counts.added);
    if (counts.changed > 0) changed.inc(counts.changed);
    if (counts.removed > 0) removed.inc(counts.removed);
  }

  *#chunkOf(entries: readonly LogEntry[], mode: ValueMode): Generator<void, Chunk> {
    const messages: EncodedMessage[] = [];
    for (const entry of entries) yield* this.#encoder.encodeLive(entry, mode, messages);
    return new Chunk(messages);
  }
}

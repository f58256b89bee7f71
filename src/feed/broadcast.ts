/**
 * Delivers the changes of one live query to its live followers. A change is encoded once per value mode and shared by
 * all of them, which makes the cost of a change nearly independent of the number of subscribers.
 */
import type { Steps } from "../match/steps.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { type Change, UNKNOWN } from "./change.ts";
import { type ChangeEncoder, takesSteps } from "./change-encoder.ts";
import type { ChangeLog } from "./change-log.ts";
import type { Follower } from "./follower.ts";
import { type Chunks, type Followers, Handout, NOTHING, type Prepared, put } from "./handout.ts";
import { HeldRows, type RowPace, type TakenRows } from "./held-rows.ts";
import type { HistoryEntry } from "./history.ts";
import { type LogEntry, toLogEntry } from "./log-entry.ts";
import { MergedEntries } from "./merge-entries.ts";
import { SmallSet } from "./small-set.ts";

/** Held rows as one entry, with the chunks that were made of it. */
interface EarlyRows {
  /** For followers that have received everything up to this entry. */
  readonly after: number;
  readonly entry: LogEntry & { readonly changes: readonly Change[] };
  readonly chunks: Chunks;
}

/** Records the changes of one live query in its log, and delivers them to its followers. */
export class Broadcast {
  /** The followers that are up to date. Others first read the log at their own pace. */
  readonly followers = new SmallSet<Follower>();
  readonly #log: ChangeLog;
  readonly #handout: Handout;
  /** Of an aggregate, whose changes are merged; `null` for all others. */
  readonly #pace: RowPace | null;
  /** Created for the first change of an aggregate. */
  #rows: HeldRows | null = null;
  /** Entries recorded since the last flush; `null` if there are none. */
  #pending: LogEntry[] | null = null;
  /** The rows that a follower of an aggregate received before the others, for those who lack the same. */
  #early: EarlyRows | null = null;
  /** A commit whose messages were encoded in advance for the next flush. */
  #prepared: Prepared | null = null;

  /**
   * @param collection The label of its changes in the metrics.
   * @param pace How often rows are sent, for an aggregate, of which only the last change of each row counts.
   */
  constructor(
    log: ChangeLog,
    encoder: ChangeEncoder,
    metrics: Metrics,
    collection: string,
    pace: RowPace | null = null,
  ) {
    this.#log = log;
    this.#handout = new Handout(this.followers, encoder, metrics, collection);
    this.#pace = pace;
  }

  /**
   * Encodes the changes of an entry in steps, for the current followers. The entry becomes visible only with `note` and
   * `flush`, which then take one short turn.
   */
  *prepare(entry: HistoryEntry, changes: LogEntry["changes"]): Steps<void> {
    if (changes === UNKNOWN || !takesSteps(changes)) return;
    this.#prepared = yield* this.#handout.prepare(entry, changes);
  }

  /**
   * Records the changes of an entry.
   * @returns Whether there are any.
   */
  note(entry: HistoryEntry, changes: LogEntry["changes"]): boolean {
    const logEntry = toLogEntry(entry, changes);
    if (logEntry === null) return false;
    this.#log.push(logEntry);
    if (this.#pace !== null) {
      this.#rows ??= new HeldRows(this.#pace);
      this.#rows.add(logEntry);
    } else if (this.#pending === null) this.#pending = [logEntry];
    else this.#pending.push(logEntry);
    return true;
  }

  /** Until when the changes since the last flush are held back, by the clock of the rows; `null` if they are not. */
  get heldUntilMs(): number | null {
    return this.followers.size === 0 ? null : (this.#rows?.dueMs ?? null);
  }

  /** Whether only the last change of each row counts, so that changes may be held back and merged. */
  get mergesRows(): boolean {
    return this.#pace !== null;
  }

  /** Number of the last entry that is held back, which a follower may have received early; 0 if there is none. */
  get heldSeq(): number {
    return this.#rows?.lastSeq ?? 0;
  }

  /**
   * Delivers everything recorded since the last flush to all followers, in one chunk for each value mode if it is short.
   * @param onUnknown Called if the changes of a commit are unknown, before all followers start over.
   * @returns The remaining work, step by step. Only many followers or long commits leave any.
   */
  flush(onUnknown: () => void): Iterable<void> {
    const held = this.#rows?.take();
    if (held != null) return this.#flushRows(held, onUnknown);
    const pending = this.#pending;
    const prepared = this.#prepared;
    this.#pending = null;
    this.#prepared = null;
    if (pending === null) return NOTHING;
    this.#handout.noteChanges(pending);
    return this.#handout.hand(pending, prepared, this.followers) ?? this.#startOver(onUnknown);
  }

  #flushRows({ pieces, all, isWhole }: TakenRows, onUnknown: () => void): Iterable<void> {
    const prepared = this.#prepared;
    this.forget();
    const merged = all.toEntry();
    if (merged === null) return this.#startOver(onUnknown);
    this.#handout.noteChanges([merged]);
    this.#handout.noteMerged(all.changeCount - merged.changes.length);
    return isWhole
      ? this.#handRows(merged, this.followers, prepared)
      : this.#handPieces(pieces, this.#byPiece(pieces));
  }

  /** Delivers to followers that lack different rows, a step for each group of them. */
  *#handPieces(
    pieces: readonly MergedEntries[],
    byPiece: ReadonlyMap<number, readonly Follower[]>,
  ): Generator<void, void> {
    for (const [index, followers] of byPiece) {
      const entry = MergedEntries.joined(pieces.slice(index))?.toEntry();
      const present = followers.filter((follower) => this.followers.has(follower));
      if (entry != null) yield* this.#handRows(entry, present, null);
      yield;
    }
  }

  #handRows(entry: LogEntry, followers: Followers, prepared: Prepared | null): Iterable<void> {
    // Changes may cancel each other.
    if (entry.changes.length === 0) {
      for (const follower of followers) follower.skipTo(entry);
      return NOTHING;
    }
    const isOne = entry.cursors === undefined;
    const rest = isOne ? this.#handout.hand([entry], prepared, followers) : null;
    return rest ?? this.#handout.handMerged(entry, followers);
  }

  /** The followers by the index of the first piece that they lack. Some have received the first ones before the others. */
  #byPiece(pieces: readonly MergedEntries[]): Map<number, Follower[]> {
    const byPiece = new Map<number, Follower[]>();
    for (const follower of this.followers) {
      const index = pieces.findIndex(({ firstSeq }) => firstSeq > follower.after);
      if (index >= 0) put(byPiece, index, follower);
    }
    return byPiece;
  }

  /** A follower is up to date, and receives the next changes as they arrive. */
  join(follower: Follower): void {
    this.followers.add(follower);
    this.#rows?.cut();
  }

  /**
   * Delivers everything that is held back to one follower now, and to the others at their time.
   * @returns `false` if there are too many rows for one turn. The follower must read them from the log.
   */
  handHeld(follower: Follower): boolean {
    const early = this.#earlyRows(follower.after);
    if (early === null) return true;
    const { entry, chunks } = early;
    // Without the entries in the log, the client would have to read the result again.
    if (takesSteps(entry.changes) && this.#log.after(follower.after) !== undefined) return false;
    this.#rows?.cut();
    if (entry.changes.length === 0) follower.skipTo(entry);
    else this.#handout.handAlone(follower, entry, chunks);
    return true;
  }

  /** The held rows for a follower that has received everything up to entry `after`; `null` if it lacks nothing. */
  #earlyRows(after: number): EarlyRows | null {
    const rows = this.#rows;
    if (rows === null || rows.lastSeq <= after) return null;
    const known = this.#early;
    // Many clients receive their watermark in the same turn.
    if (known?.entry.seq === rows.lastSeq && known.after === after) return known;
    const entry = MergedEntries.joined(rows.since(after))?.toEntry();
    if (entry == null || entry.changes === UNKNOWN) return null;
    this.#early = { after, entry: { ...entry, changes: entry.changes }, chunks: {} };
    return this.#early;
  }

  #startOver(onUnknown: () => void): Iterable<void> {
    onUnknown();
    return this.startOverAll();
  }

  /** Makes all followers read the result again. */
  *startOverAll(): Generator<void, void> {
    this.forget();
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
    this.#rows?.forget();
    this.#early = null;
    this.#pending = null;
    this.#prepared = null;
  }
}

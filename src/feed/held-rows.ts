/**
 * Decides when the changed rows of an aggregate are sent. The first change after a quiet time is sent at once. After
 * that, changes are held back and merged, because a write to many documents changes the same few rows again and again,
 * and only their last state matters.
 */
import type { LogEntry } from "./log-entry.ts";
import { MergedEntries } from "./merge-entries.ts";

/** How often the rows of aggregates are sent, for all aggregates of a node. */
export interface RowPace {
  /** The shortest time between two sends of one aggregate, in milliseconds. */
  readonly intervalMs: number;
  /** A clock that only goes forward, in milliseconds. */
  readonly nowMs: () => number;
}

/*
 * A storm has an allowance of rows, like a token bucket. A send takes its rows from the allowance, each interval adds
 * some, and rows beyond the allowance are a debt that delays the next send.
 */

/** A send is a part of a storm if it merges this many changes for each of its rows. */
const STORM_CHANGES = 1.5;

/** The largest allowance, in rows. */
const STORM_ROWS = 40;

/** How many rows each interval adds to the allowance. */
const STORM_ROWS_PER_INTERVAL = 0.5;

/** The largest debt, in intervals: rows are sent at least this often, however many there are. */
const STORM_INTERVALS = 20;

/** With more pieces than this, all clients receive the held rows, because each piece costs memory. */
const PIECES_MAX = 16;

/** Shared, because a node may have thousands of counters. Nothing is added to it. */
const NO_PIECES: MergedEntries[] = [];

/** Everything that was held back. */
export interface TakenRows {
  readonly pieces: readonly MergedEntries[];
  /** The pieces as one. */
  readonly all: MergedEntries;
  /** Whether no client has received a part of them. */
  readonly isWhole: boolean;
}

/**
 * The changes of one aggregate that are held back. They are cut into pieces where a client has received everything, so
 * that each client can receive what it lacks. The memory is bounded by the number of rows, times the number of pieces.
 */
export class HeldRows {
  readonly #pace: RowPace;
  #pieces: MergedEntries[] = NO_PIECES;
  /** Whether the next entry begins a new piece. */
  #isCut = true;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  /** The allowance of a storm as of the last send, in rows. Below zero it is a debt. */
  #stormRows = STORM_ROWS;

  constructor(pace: RowPace) {
    this.#pace = pace;
  }

  /** Number of the last entry that is held back; 0 if there is none. */
  get lastSeq(): number {
    return this.#pieces.at(-1)?.lastSeq ?? 0;
  }

  add(entry: LogEntry): void {
    if (this.#pieces.length === 0) this.#pieces = [new MergedEntries(entry)];
    else if (this.#isCut) this.#pieces.push(new MergedEntries(entry));
    else this.#pieces.at(-1)?.add(entry);
    this.#isCut = false;
  }

  /** A client has received everything up to here, also what is held back. */
  cut(): void {
    this.#isCut = true;
  }

  /** When the held changes are to be sent, by the clock of the pace; `null` if they are to be sent now. */
  get dueMs(): number | null {
    const { intervalMs, nowMs } = this.#pace;
    const pieces = this.#pieces;
    if (pieces.length === 0 || pieces.length > PIECES_MAX || intervalMs === 0) return null;
    // Without the changes of a commit the rows are void, so nothing of them is held back.
    if (pieces.some(({ isUnknown }) => isUnknown)) return null;
    const dueMs = this.#sentAtMs + Math.max(1, -this.#stormRows / STORM_ROWS_PER_INTERVAL) * intervalMs;
    return dueMs <= nowMs() ? null : dueMs;
  }

  /** The pieces that a client lacks that has received everything up to entry `after`. */
  since(after: number): readonly MergedEntries[] {
    return this.#pieces.filter(({ firstSeq }) => firstSeq > after);
  }

  /** Takes all pieces, to send them now; `null` if there are none. */
  take(): TakenRows | null {
    const pieces = this.#pieces;
    const all = MergedEntries.joined(pieces);
    if (all === null) return null;
    const isWhole = pieces.length === 1 && !this.#isCut;
    this.forget();
    if (this.#pace.intervalMs > 0) this.#charge(all);
    return { pieces, all, isWhole };
  }

  /** Drops everything that is held back. */
  forget(): void {
    this.#pieces = NO_PIECES;
    this.#isCut = true;
  }

  #charge({ changeCount, rowCount }: MergedEntries): void {
    const nowMs = this.#pace.nowMs();
    const earned = ((nowMs - this.#sentAtMs) / this.#pace.intervalMs) * STORM_ROWS_PER_INTERVAL;
    const had = Math.min(STORM_ROWS, this.#stormRows + earned);
    const sent = changeCount >= STORM_CHANGES * rowCount ? rowCount : 0;
    this.#stormRows = Math.max(-STORM_INTERVALS * STORM_ROWS_PER_INTERVAL, had - sent);
    this.#sentAtMs = nowMs;
  }
}

import type { ValueMode } from "../protocol/messages.ts";
import { type Change, UNKNOWN } from "./change.ts";
import type { EncodedMessage } from "./chunk.ts";
import type { HistoryEntry } from "./history.ts";

/** The cursor of the last message of a commit, and the cursor of all other messages. */
export interface CommitCursors {
  readonly last: string;
  readonly others: string;
}

/** The changes of one commit to a result. It is kept as long as the history, so that catch-up only reads. */
export interface LogEntry {
  readonly seq: number;
  readonly changes: readonly Change[] | typeof UNKNOWN;
  readonly entry: HistoryEntry;
  /** Of the changes of several commits as one. Unset: those of the entry. */
  readonly cursors?: CommitCursors;
  /** The messages kept for clients that resume. Most entries have none. */
  encoded: { [mode in ValueMode]?: EncodedMessage[] } | undefined;
}

/**
 * Makes a log entry.
 * @returns `null` if there is nothing to record.
 */
export function toLogEntry(entry: HistoryEntry, changes: LogEntry["changes"]): LogEntry | null {
  if (changes !== UNKNOWN && changes.length === 0) return null;
  return { seq: entry.seq, changes, entry, encoded: undefined };
}

import { valueKey } from "../match/value-key.ts";
import { type Change, idOf, UNKNOWN } from "./change.ts";
import type { LogEntry } from "./log-entry.ts";

/**
 * Merges the changes of several commits into one entry, for rows of an aggregate. Each message contains a whole row, so
 * only the last change of a row matters. A client that disconnects in between resumes from before the first commit.
 * @returns `null` if some changes are unknown.
 */
export function mergeEntries(entries: readonly LogEntry[]): LogEntry | null {
  const first = entries[0];
  const last = entries.at(-1);
  if (first === undefined || last === undefined) return null;
  const merged = new Map<string, Change>();
  for (const { changes } of entries) {
    if (changes === UNKNOWN) return null;
    for (const change of changes) note(merged, change);
  }
  const cursors = { last: last.entry.cursor, others: first.entry.cursorBefore };
  return { seq: last.seq, changes: [...merged.values()], entry: last.entry, cursors, encoded: undefined };
}

function note(merged: Map<string, Change>, change: Change): void {
  const key = valueKey(change.type === "removed" ? change.id : idOf(change.document));
  const before = merged.get(key);
  // A change of a row has the position of its last commit, because a row that leaves and returns is the last one at
  // the client.
  merged.delete(key);
  const now = before === undefined ? change : joined(before, change);
  if (now !== null) merged.set(key, now);
}

/** Combines two changes of one row; `null` if nothing has changed in the end. */
function joined(before: Change, after: Change): Change | null {
  const { cause } = after;
  // A client that had no row before receives none, or a new one.
  if (before.type === "added")
    return after.type === "removed" ? null : { type: "added", cause, document: after.document };
  const { previous } = before;
  if (after.type === "removed") return previous === undefined ? after : { ...after, previous };
  const { document } = after;
  if (previous !== undefined && Buffer.compare(previous, document) === 0) return null;
  return { type: "changed", cause, document, previous: previous ?? document };
}

import { valueKey } from "../match/value-key.ts";
import { type Change, idOf, UNKNOWN } from "./change.ts";
import type { LogEntry } from "./log-entry.ts";

/**
 * The changes of several commits as one entry, for rows of an aggregate. Each message contains a whole row, so only the
 * last change of a row matters, and the memory depends on the number of rows alone. A client that disconnects in between
 * resumes from before the first commit.
 */
export class MergedEntries {
  readonly #first: LogEntry;
  #last: LogEntry;
  /** The last change of each row, by the key of its `_id`. Created for the second entry. */
  #rows: Map<string, Change> | undefined;
  #changes: number;
  #isUnknown: boolean;

  constructor(first: LogEntry) {
    this.#first = first;
    this.#last = first;
    this.#isUnknown = first.changes === UNKNOWN;
    this.#changes = first.changes === UNKNOWN ? 0 : first.changes.length;
  }

  /** Joins entries that follow each other; `null` if there are none. */
  static joined(pieces: readonly MergedEntries[]): MergedEntries | null {
    const [first] = pieces;
    if (first === undefined || pieces.length === 1) return first ?? null;
    const all = new MergedEntries(first.#first);
    all.#rows = new Map(first.#rows ?? rowsOf(first.#first));
    all.#changes = first.#changes;
    all.#isUnknown = first.#isUnknown;
    for (const next of pieces.slice(1)) {
      for (const change of next.#rowChanges) note(all.#rows, change);
      all.#changes += next.#changes;
      all.#isUnknown ||= next.#isUnknown;
      all.#last = next.#last;
    }
    return all;
  }

  get firstSeq(): number {
    return this.#first.seq;
  }

  get lastSeq(): number {
    return this.#last.seq;
  }

  /** Whether some changes are unknown, so that there is no merged entry. */
  get isUnknown(): boolean {
    return this.#isUnknown;
  }

  /** The number of changes that were added. */
  get changeCount(): number {
    return this.#changes;
  }

  /** The number of rows that differ in the end. */
  get rowCount(): number {
    return this.#rows?.size ?? this.#changes;
  }

  get #rowChanges(): Iterable<Change> {
    return (this.#rows ?? rowsOf(this.#first)).values();
  }

  /** Adds the entry that follows the last one. */
  add(entry: LogEntry): void {
    this.#last = entry;
    if (entry.changes === UNKNOWN) this.#isUnknown = true;
    if (this.#isUnknown || entry.changes === UNKNOWN) return;
    this.#rows ??= rowsOf(this.#first);
    for (const change of entry.changes) note(this.#rows, change);
    this.#changes += entry.changes.length;
  }

  /** The one entry that was added, or a merged one; `null` if some changes are unknown. */
  toEntry(): LogEntry | null {
    if (this.#isUnknown) return null;
    if (this.#rows === undefined) return this.#first;
    const { seq, entry } = this.#last;
    const cursors = { last: entry.cursor, others: this.#first.entry.cursorBefore };
    return { seq, changes: [...this.#rows.values()], entry, cursors, encoded: undefined };
  }
}

/**
 * Merges entries of a log.
 * @returns `null` if some changes are unknown.
 */
export function mergeEntries([first, ...others]: readonly LogEntry[]): LogEntry | null {
  if (first === undefined) return null;
  const merged = new MergedEntries(first);
  for (const entry of others) merged.add(entry);
  return merged.toEntry();
}

function rowsOf({ changes }: LogEntry): Map<string, Change> {
  const rows = new Map<string, Change>();
  if (changes !== UNKNOWN) for (const change of changes) note(rows, change);
  return rows;
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

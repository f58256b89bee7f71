import type { Applied, Mark, Shown } from "./view.ts";

/** One write, and the change that each viewer received for it. */
export interface LogEntry {
  readonly atMs: number;
  readonly id: number;
  /** A description of the write, from the fields that any viewer received. */
  text: string;
  readonly marks: Map<string, Mark>;
}

const ENTRIES_MAX = 50;

/**
 * The recent writes. All changes that one write causes carry the same cursor, so the log groups them by cursor.
 */
export class ChangeLog {
  readonly #entries = new Map<string, LogEntry>();

  get latest(): readonly LogEntry[] {
    return [...this.#entries.values()];
  }

  /** @returns The write that it belongs to. */
  add(viewer: string, applied: Applied, atMs: number): LogEntry {
    const key = `${applied.id} ${applied.cursor}`;
    const entry = this.#entries.get(key) ?? { atMs, id: applied.id, text: "", marks: new Map() };
    entry.marks.set(viewer, applied.mark);
    const text = textOf(applied);
    // A viewer with more fields describes the write better: "ready → riding" says more than "leaves".
    if (text.length > entry.text.length) entry.text = text;
    this.#entries.set(key, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= ENTRIES_MAX) break;
      this.#entries.delete(oldest);
    }
    return entry;
  }
}

function textOf({ mark, before, after }: Applied): string {
  if (mark === "-") return "";
  if (mark === "+") return after?.status === "new" ? `new order of ${after.customer ?? "somebody"}` : "";
  return before === undefined || after === undefined ? "" : differenceOf(before, after);
}

function differenceOf(before: Shown, after: Shown): string {
  const fields = ["status", "customer", "total", "margin"] as const;
  const changes = fields
    .filter((field) => before[field] !== after[field])
    .map((field) => `${field === "status" ? "" : `${field} `}${before[field]} → ${after[field]}`);
  const { courier } = after;
  if (before.courier === null && typeof courier === "string") changes.push(`for ${courier}`);
  return changes.join(", ");
}

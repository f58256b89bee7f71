import type { ServerMessage } from "../protocol/messages.ts";
import type { Order } from "./order.ts";

/** The kind of a change: entering, changed, leaving. */
export type Mark = "+" | "~" | "-";

/** A document as one viewer sees it. The rules decide which fields it has. */
export type Shown = Partial<Order> & { readonly _id: number };

/** One document on the board, and its latest change. */
export interface Row {
  readonly shown: Shown;
  readonly mark: Mark | null;
}

/** A change as one viewer received it, with the document before and after it. */
export interface Applied {
  readonly mark: Mark;
  readonly id: number;
  readonly cursor: string;
  readonly before: Shown | undefined;
  readonly after: Shown | undefined;
}

/** How long a row keeps its mark, and how long a row that has left stays visible. */
export const MARKED_FOR_MS = 2_000;

interface Held {
  shown: Shown;
  mark: Mark | null;
  markedAtMs: number;
}

/** One viewer's result, put together from the messages alone. */
export class View {
  readonly #rows = new Map<number, Held>();

  /** The viewer's documents, without rows that have left and are still visible. */
  get documents(): Shown[] {
    return this.#sorted()
      .filter(({ mark }) => mark !== "-")
      .map(({ shown }) => shown);
  }

  /** The viewer has lost access, so the view becomes empty. */
  clear(): void {
    this.#rows.clear();
  }

  rows(nowMs: number): Row[] {
    for (const [id, row] of this.#rows) {
      if (nowMs - row.markedAtMs < MARKED_FOR_MS) continue;
      if (row.mark === "-") this.#rows.delete(id);
      row.mark = null;
    }
    return this.#sorted();
  }

  /** @returns The change of one document; `undefined` for messages with no document or several. */
  take(message: ServerMessage, nowMs: number): Applied | undefined {
    switch (message.type) {
      case "subscribed":
        if (message.start === "snapshot" || message.start === "reset") this.#rows.clear();
        return undefined;
      case "reset":
        this.#rows.clear();
        return undefined;
      case "snapshot":
        for (const doc of message.docs) this.#put(toShown(doc), null, nowMs);
        return undefined;
      case "added":
      case "changed": {
        const after = toShown(message.doc ?? {});
        const mark = message.type === "added" ? "+" : "~";
        const before = this.#put(after, mark, nowMs);
        return { mark, id: after._id, cursor: message.cursor, before, after };
      }
      case "removed": {
        const id = Number(message._id);
        const row = this.#rows.get(id);
        if (row !== undefined) Object.assign(row, { mark: "-", markedAtMs: nowMs });
        return { mark: "-", id, cursor: message.cursor, before: row?.shown, after: undefined };
      }
      default:
        return undefined;
    }
  }

  #put(shown: Shown, mark: Mark | null, nowMs: number): Shown | undefined {
    const before = this.#rows.get(shown._id);
    this.#rows.set(shown._id, { shown, mark, markedAtMs: nowMs });
    return before?.mark === "-" ? undefined : before?.shown;
  }

  #sorted(): Held[] {
    return [...this.#rows.values()].sort((a, b) => a.shown._id - b.shown._id);
  }
}

/** The demo's own backend wrote it, so it is a part of an `Order`. */
const toShown = (doc: Record<string, unknown>) => doc as unknown as Shown;

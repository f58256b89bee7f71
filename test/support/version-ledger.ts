/** Counts missed, repeated and reordered changes of a client: every write adds one to a document's `v`. */
import type { ChangeMessage, HeldQuery } from "./held-query.ts";

export class VersionLedger {
  lost = 0;
  duplicated = 0;
  outOfOrder = 0;
  changes = 0;
  /** For people: the first few that were wrong. */
  readonly examples: string[] = [];
  readonly #versions = new Map<string, number>();
  readonly #onChange: () => void;

  /** @param onChange Called with each change. */
  constructor(onChange: () => void = () => {}) {
    this.#onChange = onChange;
  }

  /** Follows a query from its next snapshot on. */
  follow(held: HeldQuery): void {
    held.onChange = (message) => this.#take(message);
  }

  /** The result was read again: versions continue from there, and never from an earlier one. */
  snapshot(held: HeldQuery): void {
    for (const [id, text] of held.documents) {
      const { v } = JSON.parse(text) as { v?: number };
      if (v === undefined) continue;
      if (v < (this.#versions.get(id) ?? 0)) this.#wrong("outOfOrder", `snapshot with ${text}`);
      this.#versions.set(id, v);
    }
  }

  #take(message: ChangeMessage): void {
    this.changes++;
    this.#onChange();
    if (message.type === "removed") return;
    const { _id, v } = message.doc ?? {};
    if (typeof v !== "number") return;
    const id = JSON.stringify(_id);
    const before = this.#versions.get(id) ?? 0;
    if (v === before) this.#wrong("duplicated", `${id} at ${v}`);
    else if (v < before) this.#wrong("outOfOrder", `${id} at ${v} after ${before}`);
    else if (v > before + 1) this.#wrong("lost", `${id} at ${v} after ${before}`, v - before - 1);
    this.#versions.set(id, Math.max(v, before));
  }

  #wrong(what: "lost" | "duplicated" | "outOfOrder", example: string, count = 1): void {
    this[what] += count;
    if (this.examples.length < 10) this.examples.push(`${what}: ${example}`);
  }
}

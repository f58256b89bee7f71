import type { AnswerOf } from "../../admin/api/endpoints.ts";

type Names = AnswerOf<"ruleNames">;

/** The node keeps names for a minute as well. */
const KEPT_MS = 60_000;
/** After a failure the node is not asked with each key that is typed. */
const FAILED_MS = 5_000;
const KEPT_MAX = 100;

/** The names of collections, fields and claims that the node knows. It is asked for one collection at a time. */
export class RuleNames {
  readonly #ask: (collection: string | null) => Promise<Names | null>;
  readonly #now: () => number;
  readonly #kept = new Map<string | null, { endsMs: number; readonly names: Promise<Names | null> }>();
  #last: Promise<unknown> = Promise.resolve();

  /** @param ask Answers `null` if the admin may not see names. */
  constructor(ask: (collection: string | null) => Promise<Names | null>, now: () => number = Date.now) {
    this.#ask = ask;
    this.#now = now;
  }

  /** @returns `null` if the node does not answer, or does not know the collection. */
  of(collection: string | null): Promise<Names | null> {
    const kept = this.#kept.get(collection);
    if (kept !== undefined && this.#now() < kept.endsMs) return kept.names;
    if (this.#kept.size >= KEPT_MAX) this.#kept.clear();
    const asked = this.#last.then(() => this.#ask(collection));
    const names = asked.catch(() => {
      // Completion goes on with the schema alone.
      entry.endsMs = this.#now() + FAILED_MS;
      return null;
    });
    const entry = { endsMs: this.#now() + KEPT_MS, names };
    this.#kept.set(collection, entry);
    this.#last = names;
    return names;
  }
}

import type { ValueMode } from "../protocol/messages.ts";
import type { Saved } from "./persistence.ts";
import type { Doc } from "./result-set.ts";
import type { QueryState } from "./types.ts";
import type { ValueCodec } from "./value-codec.ts";

/** Results that a server has read for a page, by the keys of their queries. */
export interface Initial {
  readonly values: ValueMode;
  readonly results: Readonly<Record<string, Saved>>;
}

/** The results with which a page begins. The page is rendered with them on the server, and once more in the browser. */
export class InitialResults {
  readonly #states = new Map<string, QueryState<Doc>>();
  readonly #left: Map<string, Saved>;

  /** @param mode Results of another mode are not used. */
  constructor(initial: Initial | undefined, mode: ValueMode, codec: ValueCodec | undefined) {
    this.#left = new Map(initial?.values === mode ? Object.entries(initial.results) : []);
    for (const [key, { docs }] of this.#left) {
      const data = codec?.list(docs) ?? docs;
      this.#states.set(key, Object.freeze({ data, status: "connecting", error: undefined }));
    }
  }

  /** The state that both renderings show. */
  stateOf(key: string): QueryState<Doc> | undefined {
    return this.#states.get(key);
  }

  /** The state of a query that was not followed yet. */
  unusedStateOf(key: string): QueryState<Doc> | undefined {
    return this.#left.has(key) ? this.#states.get(key) : undefined;
  }

  /** The result from which to resume, once. After that it may be older than what the page has shown. */
  take(key: string): Saved | undefined {
    const saved = this.#left.get(key);
    this.#left.delete(key);
    return saved;
  }
}

import { type LiveRequest, type LiveResult, UNUSED } from "./live-result.ts";
import type { Doc } from "./result-set.ts";
import type { QueryState } from "./types.ts";

/**
 * The documents with which a new window on a sorted result begins: those that the client has from another window on it.
 * A page that asks for more therefore keeps its content until the larger result is complete.
 */
export class HeldWindows {
  /** States by the documents in them, so that equal requests receive the same object. */
  readonly #states = new WeakMap<readonly Doc[], Map<number | undefined, QueryState<Doc>>>();
  readonly #names = new WeakMap<LiveRequest, string>();

  /** The state of a request that is not followed yet. */
  stateOf(request: LiveRequest, results: Iterable<LiveResult>): QueryState<Doc> {
    if (request.sort === undefined) return UNUSED;
    const wanted = this.#nameOf(request);
    let held = UNUSED.data as readonly Doc[];
    for (const { request: other, state } of results) {
      if (state.data.length > held.length && other.sort !== undefined && this.#nameOf(other) === wanted)
        held = state.data;
    }
    return held.length === 0 ? UNUSED : this.#stateFrom(held, request.limit);
  }

  /** Names the sorted result of which the request is a window. */
  #nameOf(request: LiveRequest): string {
    const { limit: _limit, ...rest } = request;
    const name = this.#names.get(request) ?? JSON.stringify(rest);
    this.#names.set(request, name);
    return name;
  }

  #stateFrom(held: readonly Doc[], limit: number | undefined): QueryState<Doc> {
    const states = this.#states.get(held) ?? new Map<number | undefined, QueryState<Doc>>();
    this.#states.set(held, states);
    const known = states.get(limit);
    if (known !== undefined) return known;
    const data = limit === undefined || limit >= held.length ? held : Object.freeze(held.slice(0, limit));
    const state = Object.freeze({ data, status: "connecting" as const, error: undefined });
    states.set(limit, state);
    return state;
  }
}

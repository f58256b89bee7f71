import { type LiveRequest, type LiveResult, UNUSED, waitingState } from "./live-result.ts";
import type { Doc } from "./result-set.ts";
import type { QueryState } from "./types.ts";

/** States by the documents in them and the limit, so that equal requests receive the same object. */
const states = new WeakMap<readonly Doc[], Map<number | undefined, QueryState<Doc>>>();

/** Names the sorted result of which a request is a window. */
const nameOf = (request: LiveRequest) => JSON.stringify({ ...request, limit: undefined });

/**
 * The state with which a new window on a sorted result begins: the documents that the client has from another window on it.
 * A page that asks for more therefore keeps its content until the larger result is complete.
 */
export function heldState(request: LiveRequest, results: Iterable<LiveResult>): QueryState<Doc> {
  const { sort, limit } = request;
  let held: readonly Doc[] = UNUSED.data;
  for (const { request: other, state } of results) {
    if (sort && other.sort && state.data.length > held.length && nameOf(other) === nameOf(request))
      held = state.data;
  }
  if (held === UNUSED.data) return UNUSED;
  const known = states.get(held) ?? new Map<number | undefined, QueryState<Doc>>();
  states.set(held, known);
  const data = limit === undefined || limit >= held.length ? held : Object.freeze(held.slice(0, limit));
  const state = known.get(limit) ?? waitingState(data);
  known.set(limit, state);
  return state;
}

// The parts of a query that the other entries of the package use, and applications do not see.
import type { LiveRequest } from "./live-result.ts";
import type { Query, QueryHost } from "./query.ts";
import type { Doc } from "./result-set.ts";
import type { QueryState } from "./types.ts";

/** A query of any type. */
// biome-ignore lint/suspicious/noExplicitAny: a query of one type is none of another one, in either direction.
export type AnyQuery = Query<any, any>;

/** The client's side of a query. */
export const hostOf = ({ client }: AnyQuery): QueryHost => client as QueryHost; // a query has no other one

/** The request of a query: its key is the JSON of it. */
export const requestOf = ({ key }: AnyQuery): LiveRequest => JSON.parse(key);

/** The state of a query as a server has rendered it; `undefined` if it has not. */
export const initialOf = (query: AnyQuery): QueryState<Doc> | undefined =>
  hostOf(query).initial?.stateOf(query.key);

/** Whether there is a result of a query, perhaps an empty one. */
export function hasResult(query: AnyQuery): boolean {
  const { results, initial } = hostOf(query);
  const result = results.get(query.key);
  return result === undefined
    ? initial?.unusedStateOf(query.key) !== undefined
    : result.view.cursor !== undefined;
}

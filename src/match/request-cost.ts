/**
 * Estimates how much memory a parsed request keeps, so that it can be charged to a user. The text of a request is a
 * poor measure: a list of short values is small as JSON and large once parsed.
 */
import type { SortSpec } from "../protocol/messages.ts";
import type { Filter, Predicate } from "./filter.ts";
import { projectionSize } from "./projection.ts";
import type { Projection } from "./projection-fields.ts";

/** The parts of a parsed request that stay in memory. */
export interface RequestParts {
  readonly filter: Filter;
  readonly projection: Projection | null;
  readonly sort: SortSpec | null;
}

/** Bytes of one node of a filter, including its compiled closures. */
const FILTER_NODE_BYTES = 400;
/** Bytes of one operand in addition to its content: the view, and its entry in a set of values. */
const VALUE_BYTES = 250;
/** Bytes of one name in a projection in addition to its text. */
const PROJECTION_NODE_BYTES = 100;
const SORT_PATH_BYTES = 200;

/** Approximately how many bytes a subscription keeps for its filter, projection and sort. */
export function requestBytes({ filter, projection, sort }: RequestParts): number {
  let bytes = filterBytes(filter);
  if (projection !== null) {
    const { nodes, nameBytes } = projectionSize(projection);
    bytes += nodes * PROJECTION_NODE_BYTES + nameBytes;
  }
  for (const [path] of sort ?? []) bytes += SORT_PATH_BYTES + path.length * 2;
  return bytes;
}

function filterBytes(filter: Filter): number {
  if (filter.op === "path")
    return FILTER_NODE_BYTES + filter.path.length * 2 + predicateBytes(filter.predicate);
  return filter.filters.reduce((bytes, branch) => bytes + filterBytes(branch), FILTER_NODE_BYTES);
}

function predicateBytes(predicate: Predicate): number {
  switch (predicate.op) {
    case "$not":
    case "$elemMatchValue":
      return predicate.predicates.reduce(
        (bytes, inner) => bytes + FILTER_NODE_BYTES + predicateBytes(inner),
        0,
      );
    case "$elemMatch":
      return filterBytes(predicate.filter);
    case "$in":
    case "$nin":
    case "$all":
      return predicate.values.reduce((bytes, { start, end }) => bytes + VALUE_BYTES + end - start, 0);
    case "$type":
      return predicate.types.length * 8;
    case "$regex":
      return predicate.pattern.length * REGEX_BYTES_PER_CHARACTER;
    case "$exists":
    case "$size":
    case "$mod":
      return 0;
    default:
      return VALUE_BYTES + predicate.value.end - predicate.value.start;
  }
}

/** A compiled regular expression has a bounded cache of automaton states. */
const REGEX_BYTES_PER_CHARACTER = 100;

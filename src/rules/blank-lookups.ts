import { fromJs } from "../match/bson-value.ts";
import type { Filter, Predicate } from "../match/filter.ts";
import { lookupOf } from "./claims.ts";

/**
 * A filter without the values that lookups have read, for admins who may not see documents. Each set becomes the name of
 * its placeholder.
 */
export function blankLookups(filter: Filter): Filter {
  if (filter.op !== "path") return { ...filter, filters: filter.filters.map(blankLookups) };
  return { ...filter, predicate: blankIn(filter.predicate) };
}

function blankIn(predicate: Predicate): Predicate {
  switch (predicate.op) {
    case "$not":
    case "$elemMatchValue":
      return { ...predicate, predicates: predicate.predicates.map(blankIn) };
    case "$elemMatch":
      return { ...predicate, filter: blankLookups(predicate.filter) };
    case "$in":
    case "$nin":
    case "$all": {
      const { from } = predicate;
      if (from === undefined || lookupOf(from) === undefined) return predicate;
      return { ...predicate, values: [fromJs(from.placeholder)] };
    }
    default:
      return predicate;
  }
}

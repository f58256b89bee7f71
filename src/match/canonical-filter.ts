/**
 * Normalizes filters. Clients write the same filter in different ways, and a shared live query is only possible if
 * those are recognized as equal; two filters that differ must never get the same text, because their users would share
 * data.
 */
import type { BsonValue } from "./bson-value.ts";
import type { Filter, FilterOf, Predicate } from "./filter.ts";
import { valueKey } from "./value-key.ts";

/** A filter that matches if all of these match. */
export function andFilters<V, L>(...filters: readonly FilterOf<V, L>[]): FilterOf<V, L> {
  const [only] = filters;
  return filters.length === 1 && only !== undefined ? only : { op: "$and", filters, implicit: true };
}

/**
 * A text that is equal for filters which differ only in notation: the order of keys, branches and listed values,
 * repetitions, an explicit or implicit `$eq` or `$and`, the type of a number. Filters with equal texts match the same
 * documents.
 */
export function canonicalFilter(filter: Filter): string {
  if (filter.op === "$or" || filter.op === "$nor")
    return joined(filter.op, filter.filters.map(canonicalFilter));
  return joined("$and", conjuncts(filter));
}

/** The conditions that must hold, with nested conjunctions as one list. */
function conjuncts(filter: Filter): readonly string[] {
  if (filter.op === "$and") return filter.filters.flatMap(conjuncts);
  if (filter.op !== "path") return [canonicalFilter(filter)];
  const path = JSON.stringify(filter.path);
  return predicateConjuncts(filter.predicate).map((part) => path + part);
}

function predicateConjuncts(predicate: Predicate): readonly string[] {
  switch (predicate.op) {
    case "$ne":
      return [`$not(${equals(predicate.value)})`];
    case "$nin":
      return [`$not(${oneOf(predicate.values)})`];
    case "$in":
      return [oneOf(predicate.values)];
    case "$all":
      // `$all` of no values matches nothing, like `$in` of no values.
      return predicate.values.length === 0 ? [oneOf([])] : predicate.values.map(equals);
    case "$exists":
      return [predicate.exists ? "$exists" : "$not($exists)"];
    case "$type":
      return [`$type[${[...new Set(predicate.types)].sort((a, b) => a - b).join()}]`];
    case "$size":
      return [`$size ${predicate.size}`];
    case "$mod":
      return [`$mod ${predicate.divisor},${predicate.remainder}`];
    case "$regex":
      return [`$regex ${JSON.stringify([predicate.pattern, predicate.options])}`];
    case "$not":
      return [`$not(${allOf(predicate.predicates)})`];
    case "$elemMatch":
      return [`$elemMatch{${canonicalFilter(predicate.filter)}}`];
    case "$elemMatchValue":
      return [`$elemMatch(${allOf(predicate.predicates)})`];
    default:
      return [`${predicate.op} ${JSON.stringify(valueKey(predicate.value))}`];
  }
}

function equals(value: BsonValue): string {
  return `$eq ${JSON.stringify(valueKey(value))}`;
}

function oneOf(values: readonly BsonValue[]): string {
  return joined("$in", values.map(equals));
}

function allOf(predicates: readonly Predicate[]): string {
  return joined("$and", predicates.flatMap(predicateConjuncts));
}

/** Joins a list as a set. A set of one is that element, except that `$nor` of one is a negation. */
function joined(op: string, parts: readonly string[]): string {
  const set = [...new Set(parts)].sort();
  const [only] = set;
  return set.length === 1 && only !== undefined && op !== "$nor" ? only : `${op}[${set.join()}]`;
}

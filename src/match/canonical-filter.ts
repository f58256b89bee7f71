/**
 * Normalizes filters. Clients write the same filter in different ways, and a shared live query is only possible if
 * those are recognized as equal; two filters that differ must never get the same text, because their users would share
 * data.
 */
import type { BsonValue } from "./bson-value.ts";
import type { Filter, FilterOf, Predicate } from "./filter.ts";
import { SHORT_LIST_MAX } from "./remembered.ts";
import { valueKey } from "./value-key.ts";

/** A filter that matches if all of these match. */
export function andFilters<V, L>(...filters: readonly FilterOf<V, L>[]): FilterOf<V, L> {
  const [only] = filters;
  return filters.length === 1 && only !== undefined ? only : { op: "$and", filters, implicit: true };
}

/** Makes a short text of a long list. Equal texts must mean equal values. */
export type ListDigest = (values: readonly BsonValue[]) => string;

/**
 * A text that is equal for filters which differ only in notation: the order of keys, branches and listed values,
 * repetitions, an explicit or implicit `$eq` or `$and`, the type of a number. Filters with equal texts match the same
 * documents.
 * @param digest Shortens long lists (`SHORT_LIST_MAX`). Default: all values are part of the text.
 */
export function canonicalFilter(filter: Filter, digest?: ListDigest): string {
  return new Canonical(digest).filter(filter);
}

/** The text of a list of values, of which one must be equal. It is the same for any order and repetition. */
export function canonicalList(values: readonly BsonValue[]): string {
  return joined("$in", values.map(equals));
}

class Canonical {
  readonly #digest: ListDigest | undefined;

  constructor(digest: ListDigest | undefined) {
    this.#digest = digest;
  }

  filter(filter: Filter): string {
    if (filter.op === "$or" || filter.op === "$nor")
      return joined(
        filter.op,
        filter.filters.map((branch) => this.filter(branch)),
      );
    return joined("$and", this.#conjuncts(filter));
  }

  /** The conditions that must hold, with nested conjunctions as one list. */
  #conjuncts(filter: Filter): readonly string[] {
    if (filter.op === "$and") return filter.filters.flatMap((part) => this.#conjuncts(part));
    if (filter.op !== "path") return [this.filter(filter)];
    const path = JSON.stringify(filter.path);
    return this.#ofPredicate(filter.predicate).map((part) => path + part);
  }

  #ofPredicate(predicate: Predicate): readonly string[] {
    switch (predicate.op) {
      case "$ne":
        return [`$not(${equals(predicate.value)})`];
      case "$nin":
        return [`$not(${this.#oneOf(predicate.values)})`];
      case "$in":
        return [this.#oneOf(predicate.values)];
      case "$all":
        return this.#allValues(predicate.values);
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
        return [`$not(${this.#allOf(predicate.predicates)})`];
      case "$elemMatch":
        return [`$elemMatch{${this.filter(predicate.filter)}}`];
      case "$elemMatchValue":
        return [`$elemMatch(${this.#allOf(predicate.predicates)})`];
      default:
        return [`${predicate.op} ${JSON.stringify(valueKey(predicate.value))}`];
    }
  }

  /** No other condition begins with `$in#` or `$all#`, and a client cannot write either: values are quoted. */
  #oneOf(values: readonly BsonValue[]): string {
    const short = this.#shortened(values);
    return short === null ? canonicalList(values) : `$in#${short}`;
  }

  #allValues(values: readonly BsonValue[]): readonly string[] {
    // `$all` of no values matches nothing, like `$in` of no values.
    if (values.length === 0) return [canonicalList([])];
    const short = this.#shortened(values);
    return short === null ? values.map(equals) : [`$all#${short}`];
  }

  #shortened(values: readonly BsonValue[]): string | null {
    return this.#digest === undefined || values.length <= SHORT_LIST_MAX ? null : this.#digest(values);
  }

  #allOf(predicates: readonly Predicate[]): string {
    return joined(
      "$and",
      predicates.flatMap((predicate) => this.#ofPredicate(predicate)),
    );
  }
}

function equals(value: BsonValue): string {
  return `$eq ${JSON.stringify(valueKey(value))}`;
}

/** Joins a list as a set. A set of one is that element, except that `$nor` of one is a negation. */
function joined(op: string, parts: readonly string[]): string {
  const set = [...new Set(parts)].sort();
  const [only] = set;
  return set.length === 1 && only !== undefined && op !== "$nor" ? only : `${op}[${set.join()}]`;
}

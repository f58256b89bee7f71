import type { BsonValue } from "./bson-value.ts";
import type { Filter, Predicate } from "./filter.ts";

/**
 * A text of the filter without its values: paths, operators and the types of the operands. The server mostly plans
 * equal shapes alike.
 */
export function filterShape(filter: Filter): string {
  if (filter.op === "path") return `${JSON.stringify(filter.path)}${predicateShape(filter.predicate)}`;
  return `${filter.op}[${distinct(filter.filters.map(filterShape))}]`;
}

function predicateShape(predicate: Predicate): string {
  switch (predicate.op) {
    case "$in":
    case "$nin":
    case "$all":
      return `${predicate.op}(${distinct(predicate.values.map(typeOf))})`;
    case "$not":
    case "$elemMatchValue":
      return `${predicate.op}(${distinct(predicate.predicates.map(predicateShape))})`;
    case "$elemMatch":
      return `$elemMatch{${filterShape(predicate.filter)}}`;
    case "$exists":
      return `$exists ${predicate.exists}`;
    case "$type":
    case "$size":
    case "$mod":
    case "$regex":
      return predicate.op;
    default:
      return `${predicate.op} ${typeOf(predicate.value)}`;
  }
}

const typeOf = ({ type }: BsonValue): string => String(type);

const distinct = (parts: readonly string[]): string => [...new Set(parts)].sort().join();

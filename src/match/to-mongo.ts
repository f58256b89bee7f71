import { type Document, Long } from "mongodb";
import { BSON_TYPE, toBson } from "./bson-value.ts";
import type { Filter, Predicate } from "./filter.ts";

/**
 * The filter as `find` takes it, made from the tree alone: every value stands under an operator, so that none can
 * be read as one.
 */
export function toMongo(filter: Filter): Document {
  if (filter.op === "path") return { [filter.path]: predicatesToMongo([filter.predicate]) };
  return filter.filters.length === 0 ? {} : { [filter.op]: filter.filters.map(toMongo) };
}

/** Predicates of one path, all of which must hold. */
function predicatesToMongo(predicates: readonly Predicate[]): Document {
  const elements = predicates.filter(({ op }) => op === "$elemMatch" || op === "$elemMatchValue");
  if (elements.length < 2) return Object.assign({}, ...predicates.map(predicateToMongo));
  // An object has each key once; `$all` is how several `$elemMatch` are written.
  const others = predicates.filter((predicate) => !elements.includes(predicate));
  return Object.assign({ $all: elements.map(predicateToMongo) }, ...others.map(predicateToMongo));
}

function predicateToMongo(predicate: Predicate): Document {
  switch (predicate.op) {
    case "$not":
      return { $not: predicatesToMongo(predicate.predicates) };
    case "$elemMatchValue":
      return { $elemMatch: predicatesToMongo(predicate.predicates) };
    case "$elemMatch":
      return { $elemMatch: toMongo(predicate.filter) };
    case "$in":
    case "$nin":
    case "$all":
      return { [predicate.op]: predicate.values.map(toBson) };
    case "$exists":
      return { $exists: predicate.exists };
    case "$type":
      return { $type: predicate.types.map((type) => (type === BSON_TYPE.minKey ? -1 : type)) };
    case "$size":
      return { $size: predicate.size };
    case "$mod":
      return { $mod: [Long.fromBigInt(predicate.divisor), Long.fromBigInt(predicate.remainder)] };
    case "$regex":
      return {
        $regex: predicate.pattern,
        ...(predicate.options === "" ? {} : { $options: predicate.options }),
      };
    default:
      return { [predicate.op]: toBson(predicate.value) };
  }
}

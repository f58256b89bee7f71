import { Long } from "mongodb";
import { BSON_TYPE, toBson } from "./bson-value.ts";
import type { Filter, Predicate } from "./filter.ts";

/**
 * A document for the driver's serializer. As a map, because the serializer gives a meaning to some keys of an object:
 * a client's `_bsontype` or `toBSON` would be interpreted, and integer-like keys would move to the front.
 */
export type MongoDocument = ReadonlyMap<string, unknown>;

/**
 * The filter as `find` takes it, made from the tree alone: every value is under an operator, so that none can
 * be read as one.
 */
export function toMongo(filter: Filter): MongoDocument {
  if (filter.op === "path") return new Map([[filter.path, predicatesToMongo([filter.predicate])]]);
  return new Map(filter.filters.length === 0 ? [] : [[filter.op, filter.filters.map(toMongo)]]);
}

/** Predicates of one path, all of which must hold. A repeated operator keeps its last value, as in an object. */
function predicatesToMongo(predicates: readonly Predicate[]): MongoDocument {
  const elements = predicates.filter(({ op }) => op === "$elemMatch" || op === "$elemMatchValue");
  if (elements.length < 2) return new Map(predicates.flatMap(predicateToMongo));
  // An object has each key once; `$all` is how several `$elemMatch` are written.
  const others = predicates.filter((predicate) => !elements.includes(predicate));
  const all = elements.map((element) => new Map(predicateToMongo(element)));
  return new Map([["$all", all], ...others.flatMap(predicateToMongo)]);
}

type Entry = readonly [operator: string, value: unknown];

function predicateToMongo(predicate: Predicate): Entry[] {
  switch (predicate.op) {
    case "$not":
      return [["$not", predicatesToMongo(predicate.predicates)]];
    case "$elemMatchValue":
      return [["$elemMatch", predicatesToMongo(predicate.predicates)]];
    case "$elemMatch":
      return [["$elemMatch", toMongo(predicate.filter)]];
    case "$in":
    case "$nin":
    case "$all":
      return [[predicate.op, predicate.values.map(toBson)]];
    case "$exists":
      return [["$exists", predicate.exists]];
    case "$type":
      return [["$type", predicate.types.map((type) => (type === BSON_TYPE.minKey ? -1 : type))]];
    case "$size":
      return [["$size", predicate.size]];
    case "$mod":
      return [["$mod", [Long.fromBigInt(predicate.divisor), Long.fromBigInt(predicate.remainder)]]];
    case "$regex":
      return [
        ["$regex", predicate.pattern],
        ...(predicate.options === "" ? [] : [["$options", predicate.options] as const]),
      ];
    default:
      return [[predicate.op, toBson(predicate.value)]];
  }
}

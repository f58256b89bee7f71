import { BSON_TYPE, type BsonValue } from "./bson-value.ts";
import type { Filter, Predicate } from "./filter.ts";
import { arrayOf, bool, bytesOf, documentOf, int32, int64, string } from "./write-bson.ts";

/**
 * The filter for `find`, built from the tree alone. Every value is the operand of an operator, so none can be read as
 * an operator itself. It is BSON, because the driver's serializer interprets some keys of an object (`_bsontype`,
 * `toBSON`), moves integer-like keys to the front, and cannot write every date.
 */
export const toMongo = (filter: Filter): Uint8Array => bytesOf(filterToBson(filter));

/** Like `toMongo`, as a value that can be part of another filter. */
export function filterToBson(filter: Filter): BsonValue {
  if (filter.op === "path") return documentOf([[filter.path, predicatesToBson([filter.predicate])]]);
  return documentOf(
    filter.filters.length === 0 ? [] : [[filter.op, arrayOf(filter.filters.map(filterToBson))]],
  );
}

/** Predicates of one path, all of which must hold. A repeated operator keeps its last value, as in an object. */
function predicatesToBson(predicates: readonly Predicate[]): BsonValue {
  const elements = predicates.filter(({ op }) => op === "$elemMatch" || op === "$elemMatchValue");
  if (elements.length < 2) return documentOf([...new Map(predicates.flatMap(predicateToBson))]);
  // An object has each key once, so several `$elemMatch` are written with `$all`.
  const others = predicates.filter((predicate) => !elements.includes(predicate));
  const all = elements.map((element) => documentOf(predicateToBson(element)));
  return documentOf([...new Map([["$all", arrayOf(all)], ...others.flatMap(predicateToBson)])]);
}

type Entry = readonly [operator: string, value: BsonValue];

function predicateToBson(predicate: Predicate): Entry[] {
  switch (predicate.op) {
    case "$not":
      return [["$not", predicatesToBson(predicate.predicates)]];
    case "$elemMatchValue":
      return [["$elemMatch", predicatesToBson(predicate.predicates)]];
    case "$elemMatch":
      return [["$elemMatch", filterToBson(predicate.filter)]];
    case "$in":
    case "$nin":
    case "$all":
      return [[predicate.op, arrayOf(predicate.values)]];
    case "$exists":
      return [["$exists", bool(predicate.exists)]];
    case "$type":
      return [["$type", arrayOf(predicate.types.map(typeNumber))]];
    case "$size":
      return [["$size", int32(predicate.size)]];
    case "$mod":
      return [["$mod", arrayOf([int64(predicate.divisor), int64(predicate.remainder)])]];
    case "$regex":
      return [
        ["$regex", string(predicate.pattern)],
        ...(predicate.options === "" ? [] : [["$options", string(predicate.options)] as const]),
      ];
    default:
      return [[predicate.op, predicate.value]];
  }
}

const typeNumber = (type: number) => int32(type === BSON_TYPE.minKey ? -1 : type);

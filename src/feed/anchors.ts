/**
 * Chooses how a live query is indexed. Evaluating every live query of a collection for every write would make the cost
 * of a write proportional to the number of clients, so the predicate index must exclude most live queries by one
 * lookup. A wrong anchor would lose changes; a missing one only costs time.
 */
import type { BsonValue } from "../match/bson-value.ts";
import { BSON_TYPE } from "../match/bson-value.ts";
import { compareSameClass, typeClass } from "../match/compare.ts";
import type { Filter, Predicate } from "../match/filter.ts";
import { rememberedIfLong } from "../match/remembered.ts";
import { valueKey } from "../match/value-key.ts";

/** An anchor of values: the document has one of these values at this path. */
export interface EqualityAnchor {
  readonly path: string;
  /** Keys of the values (`valueKey`), each once. */
  readonly keys: readonly string[];
}

/**
 * An anchor of a range: the document has at this path a value of one type class that is not below `low`, and one that
 * is not above `high`. In an array these may be two different elements.
 */
export interface RangeAnchor {
  readonly path: string;
  readonly typeClass: number;
  readonly low: BsonValue | undefined;
  readonly high: BsonValue | undefined;
}

/** A property that every matching document has. If a filter has several anchors, one of them is enough to find it. */
export type Anchor = EqualityAnchor | RangeAnchor;

/** Whether an anchor is a range of values. */
export const isRange = (anchor: Anchor): anchor is RangeAnchor => "typeClass" in anchor;

/** More index entries than this would cost more than the scan that they avoid. */
const KEYS_MAX = 256;
const ANCHORS_MAX = 16;

interface Choice {
  readonly anchors: readonly Anchor[];
  readonly cost: number;
}

/**
 * Chooses the anchors of a filter: a document that has none of them does not match. For `$and` these are the cheapest
 * anchors of one part, for `$or` the anchors of every branch.
 * @param costOf The cost of indexing a filter under an anchor.
 * @returns `null` if there are none, as in `{ n: { $ne: 3 } }`.
 */
export function chooseAnchors(filter: Filter, costOf: (anchor: Anchor) => number): readonly Anchor[] | null {
  return choose(filter, costOf)?.anchors ?? null;
}

function choose(filter: Filter, costOf: (anchor: Anchor) => number): Choice | null {
  if (filter.op === "path") return cheapest(anchorsOfPath(filter.path, [filter.predicate]), costOf);
  if (filter.op === "$and") return chooseOfAll(filter.filters, costOf);
  if (filter.op !== "$or") return null;
  const anchors: Anchor[] = [];
  let cost = 0;
  for (const branch of filter.filters) {
    const choice = choose(branch, costOf);
    // A branch without an anchor can match any document, so the whole `$or` has none.
    if (choice === null) return null;
    anchors.push(...choice.anchors);
    cost += choice.cost;
  }
  return anchors.length > ANCHORS_MAX ? null : { anchors, cost };
}

/** All parts must match, so one of them is enough to find the filter. Several bounds of one path form one range. */
function chooseOfAll(filters: readonly Filter[], costOf: (anchor: Anchor) => number): Choice | null {
  const byPath = new Map<string, Predicate[]>();
  let best: Choice | null = null;
  const offer = (choice: Choice | null) => {
    if (choice !== null && (best === null || choice.cost < best.cost)) best = choice;
  };
  for (const part of filters) {
    if (part.op !== "path") {
      offer(choose(part, costOf));
      continue;
    }
    const predicates = byPath.get(part.path);
    if (predicates === undefined) byPath.set(part.path, [part.predicate]);
    else predicates.push(part.predicate);
  }
  for (const [path, predicates] of byPath) offer(cheapest(anchorsOfPath(path, predicates), costOf));
  return best;
}

function cheapest(anchors: readonly Anchor[], costOf: (anchor: Anchor) => number): Choice | null {
  let best: Choice | null = null;
  for (const anchor of anchors) {
    const cost = costOf(anchor);
    if (best === null || cost < best.cost) best = { anchors: [anchor], cost };
  }
  return best;
}

function anchorsOfPath(path: string, predicates: readonly Predicate[]): Anchor[] {
  const anchors: Anchor[] = [];
  const ranges = new Map<number, RangeAnchor>();
  for (const predicate of predicates) {
    if (predicate.op === "$eq") anchors.push({ path, keys: [valueKey(predicate.value)] });
    else if (predicate.op === "$in") anchors.push(...anchorOfList(path, predicate.values));
    // A match contains all values of `$all`, so the first one is enough.
    else if (predicate.op === "$all") anchors.push(...anchorOfList(path, predicate.values.slice(0, 1)));
    else if (isOrdering(predicate.op)) addRange(ranges, path, predicate);
  }
  return [...anchors, ...ranges.values()];
}

const keysOf = rememberedIfLong((values) => [...new Set(values.map(valueKey))]);

function anchorOfList(path: string, values: readonly BsonValue[]): EqualityAnchor[] {
  const keys = keysOf(values);
  return keys.length > KEYS_MAX ? [] : [{ path, keys }];
}

type OrderingOperator = "$gt" | "$gte" | "$lt" | "$lte";

const isOrdering = (op: Predicate["op"]): op is OrderingOperator =>
  op === "$gt" || op === "$gte" || op === "$lt" || op === "$lte";

/** Null is no range, because it also matches a missing field. MinKey and MaxKey compare to every type. */
const NO_RANGE = new Set<number>([
  BSON_TYPE.null,
  BSON_TYPE.undefined,
  BSON_TYPE.missing,
  BSON_TYPE.minKey,
  BSON_TYPE.maxKey,
]);

/**
 * Narrows the range of the operand's type class. The index may include the end itself, because the filter is evaluated
 * afterwards anyway.
 */
function addRange(ranges: Map<number, RangeAnchor>, path: string, predicate: Predicate): void {
  if (!isOrdering(predicate.op) || !("value" in predicate) || NO_RANGE.has(predicate.value.type)) return;
  const { op, value } = predicate;
  const known = typeClass(value.type);
  const range = ranges.get(known) ?? { path, typeClass: known, low: undefined, high: undefined };
  const isLow = op === "$gt" || op === "$gte";
  const end = isLow ? range.low : range.high;
  if (end !== undefined && compareInClass(value, end) > 0 !== isLow) return;
  ranges.set(known, { ...range, [isLow ? "low" : "high"]: value });
}

/** Compares two values of one type class. */
export function compareInClass(a: BsonValue, b: BsonValue): number {
  return compareSameClass(a.type, a.bytes, a.start, b.type, b.bytes, b.start);
}

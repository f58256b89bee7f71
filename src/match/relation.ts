/**
 * Compares filters and projections by structure alone. `tidewire plan` uses it to say whether an edit of a rule lets
 * users see more or less, so an answer other than `other` must be certain, while `other` is always permitted.
 */
import { BSON_TYPE, type BsonValue, fromJs } from "./bson-value.ts";
import { canonicalFilter } from "./canonical-filter.ts";
import { compareValues, typeClass } from "./compare.ts";
import type { Filter, Predicate } from "./filter.ts";
import { canonicalProjection, intersectProjections } from "./projection.ts";
import type { Projection } from "./projection-fields.ts";
import { remembered } from "./remembered.ts";
import { valueKey } from "./value-key.ts";

/** The relation of the second to the first. `other`: it shows something else, or the structure does not decide it. */
export type Relation = "equal" | "narrower" | "wider" | "other";

/** The relation between the documents of two filters. Any answer but `other` is certain. */
export function compareFilters(from: Filter, to: Filter): Relation {
  const parts = new Parts();
  const [there, back] = [stepsWith(parts), stepsWith(parts)];
  const relation = relationOf(implies(to, from, there), implies(from, to, back));
  if (relation === "equal" || (there.left > 0 && back.left > 0)) return relation;
  // The steps were used up before both directions were decided.
  return parts.canonical(from) === parts.canonical(to) ? "equal" : relation;
}

/** The relation between the fields of two projections. */
export const compareProjections = (from: Projection, to: Projection): Relation => relationFrom(from)(to);

/** Combines two relations. Narrower in one and wider in the other gives `other`. */
export function joinRelations(a: Relation, b: Relation): Relation {
  if (a === "equal" || a === b) return b;
  return b === "equal" ? a : "other";
}

function relationOf(isWithin: boolean, isAround: boolean): Relation {
  if (isWithin) return isAround ? "equal" : "narrower";
  return isAround ? "wider" : "other";
}

/** The maximum number of steps, most of them comparisons of two parts. Nested disjunctions could need very many. */
const STEPS_MAX = 5_000;

/** Whether every document that matches `a` provably matches `b`; `false` if not, or if it is unknown. */
const implies = (a: Filter, b: Filter, steps: Steps): boolean =>
  impliesAll(steps.parts.conjunctsOf(a), b, steps);

interface Steps {
  left: number;
  readonly parts: Parts;
}

const stepsWith = (parts: Parts): Steps => ({ left: STEPS_MAX, parts });

function impliesAll(given: readonly Filter[], b: Filter, steps: Steps): boolean {
  return steps.parts.conjunctsOf(b).every((wanted) => impliesOne(given, wanted, steps));
}

function impliesOne(given: readonly Filter[], wanted: Filter, steps: Steps): boolean {
  if (steps.left <= 0) return false;
  // Compared filters have most parts in common, for example the client's own filter before and after an edit.
  if (steps.parts.textsOf(given).has(steps.parts.canonical(wanted))) return true;
  if (given.some((one) => impliesAlone(one, wanted, steps))) return true;
  if (wanted.op === "$or" && wanted.filters.some((branch) => impliesAll(given, branch, steps))) return true;
  return given.some(
    (one) =>
      one.op === "$or" &&
      one.filters.every((branch) => impliesOne(steps.parts.conjunctsOf(branch), wanted, steps)),
  );
}

/** Whether one conjunct implies another. */
function impliesAlone(a: Filter, b: Filter, steps: Steps): boolean {
  if (steps.left-- <= 0) return false;
  if (a.op === "path" && b.op === "path")
    return a.path === b.path && holdsToo(a.predicate, b.predicate, steps);
  if (a.op === "$nor" && b.op === "$nor") {
    // None of the branches of `a` holds, so nothing holds that implies one of them.
    return b.filters.every((branch) =>
      a.filters.some((not) => impliesAll(steps.parts.conjunctsOf(branch), not, steps)),
    );
  }
  return steps.parts.canonical(a) === steps.parts.canonical(b);
}

/** Most requests have the projections of their rules, so that few pairs are compared very often. */
const relationFrom = remembered((from: Projection) =>
  remembered((to: Projection) => {
    const both = canonicalProjection(intersectProjections(from, to));
    return relationOf(both === canonicalProjection(to), both === canonicalProjection(from));
  }),
);

const keysOf = remembered((values: readonly BsonValue[]) => new Set(values.map(valueKey)));

/** The parts of the filters of one comparison, each made once. A replay compares thousands of filters and keeps none. */
class Parts {
  readonly #texts = new Map<Filter, string>();
  readonly #conjuncts = new Map<Filter, readonly Filter[]>();
  readonly #textSets = new Map<readonly Filter[], ReadonlySet<string>>();

  canonical(filter: Filter): string {
    const known = this.#texts.get(filter);
    if (known !== undefined) return known;
    const text = canonicalFilter(filter);
    this.#texts.set(filter, text);
    return text;
  }

  /** The texts of a list that `conjunctsOf` gave. */
  textsOf(filters: readonly Filter[]): ReadonlySet<string> {
    const known = this.#textSets.get(filters);
    if (known !== undefined) return known;
    const texts = new Set(filters.map((filter) => this.canonical(filter)));
    this.#textSets.set(filters, texts);
    return texts;
  }

  /** The conditions that must hold, each separately. */
  conjunctsOf(filter: Filter): readonly Filter[] {
    const known = this.#conjuncts.get(filter);
    if (known !== undefined) return known;
    const conjuncts = this.#split(filter);
    this.#conjuncts.set(filter, conjuncts);
    return conjuncts;
  }

  #split(filter: Filter): readonly Filter[] {
    if (filter.op === "$and") return filter.filters.flatMap((inner) => this.conjunctsOf(inner));
    if (filter.op === "$nor") return filter.filters.map((branch) => ({ op: "$nor", filters: [branch] }));
    if (filter.op !== "path" || filter.predicate.op !== "$all" || filter.predicate.values.length === 0) {
      return [filter];
    }
    const { path } = filter;
    return filter.predicate.values.map((value) => ({ op: "path", path, predicate: { op: "$eq", value } }));
  }
}

/** Whether every value that satisfies one predicate also satisfies another, both on the same path. */
function holdsToo(a: Predicate, b: Predicate, steps: Steps): boolean {
  const [valuesA, valuesB] = [oneOf(a), oneOf(b)];
  if (valuesA !== null && valuesB !== null) return isSubset(valuesA, valuesB, steps);
  if (valuesA !== null && isRange(b)) {
    steps.left -= valuesA.length;
    return valuesA.every((value) => isWithin({ op: "$eq", value }, b));
  }
  if (isRange(a) && isRange(b)) return isWithin(a, b);
  const [noneOfA, noneOfB] = [noneOf(a), noneOf(b)];
  if (noneOfA !== null && noneOfB !== null) return isSubset(noneOfB, noneOfA, steps);
  if (a.op === "$type" && b.op === "$type") return a.types.every((type) => b.types.includes(type));
  if (a.op === "$not" && b.op === "$not") return allHoldToo(b.predicates, a.predicates, steps);
  if (a.op === "$elemMatchValue" && b.op === "$elemMatchValue") {
    return allHoldToo(a.predicates, b.predicates, steps);
  }
  if (a.op === "$elemMatch" && b.op === "$elemMatch")
    return impliesAll(steps.parts.conjunctsOf(a.filter), b.filter, steps);
  return canonicalPredicate(a) === canonicalPredicate(b);
}

function allHoldToo(given: readonly Predicate[], wanted: readonly Predicate[], steps: Steps): boolean {
  return wanted.every((one) => given.some((other) => steps.left-- > 0 && holdsToo(other, one, steps)));
}

const canonicalPredicate = remembered((predicate: Predicate) =>
  canonicalFilter({ op: "path", path: "", predicate }),
);

/** The values of which one must be present; `null` if the predicate has another meaning. */
function oneOf(predicate: Predicate): readonly BsonValue[] | null {
  if (predicate.op === "$eq") return [predicate.value];
  return predicate.op === "$in" ? predicate.values : null;
}

/** The values of which none may be present; `null` if the predicate has another meaning. */
function noneOf(predicate: Predicate): readonly BsonValue[] | null {
  if (predicate.op === "$ne") return [predicate.value];
  return predicate.op === "$nin" ? predicate.values : null;
}

function isSubset(part: readonly BsonValue[], whole: readonly BsonValue[], steps: Steps): boolean {
  const [some, all] = [keysOf(part), keysOf(whole)];
  if (some.size > all.size) return false;
  // A lookup is cheap compared with the comparison of two parts.
  steps.left -= some.size >> 4;
  for (const key of some) if (!all.has(key)) return false;
  return true;
}

type Comparison = Extract<Predicate, { readonly value: BsonValue }>;
const isRange = (predicate: Predicate): predicate is Comparison =>
  predicate.op === "$gt" || predicate.op === "$gte" || predicate.op === "$lt" || predicate.op === "$lte";

/** The classes in which the order of values agrees with the server's operators. Others have exceptions. */
const ORDERED = new Set(
  [BSON_TYPE.int, BSON_TYPE.string, BSON_TYPE.date, BSON_TYPE.objectId].map((type) => typeClass(type)),
);
const NAN = valueKey(fromJs(Number.NaN));

/** Whether every value of the range `a` (or its single value) is in the range `b`. */
function isWithin(a: Comparison, b: Comparison): boolean {
  const kind = typeClass(a.value.type);
  if (kind !== typeClass(b.value.type) || !ORDERED.has(kind)) return false;
  if (valueKey(a.value) === NAN || valueKey(b.value) === NAN) return false;
  const isUpward = b.op === "$gt" || b.op === "$gte";
  if (a.op !== "$eq" && (a.op === "$gt" || a.op === "$gte") !== isUpward) return false;
  const beyond = isUpward ? compareValues(a.value, b.value) : compareValues(b.value, a.value);
  const hasEdge = b.op === "$gte" || b.op === "$lte";
  return beyond > 0 || (beyond === 0 && (hasEdge || a.op === "$gt" || a.op === "$lt"));
}

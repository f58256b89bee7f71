/**
 * Compiles filters to functions on raw BSON. The specification is the server's `find` with the simple collation: where
 * the two disagreed, a client's result would differ from the snapshot that it started with. Property tests compare them
 * on random filters and documents.
 */
import { BSON_TYPE, type BsonValue } from "./bson-value.ts";
import { compareSameClass, typeClass } from "./compare.ts";
import { someElement, type ValueTest } from "./elements.ts";
import type { ComparisonOperator, Filter, Predicate } from "./filter.ts";
import { integerPartAt, isNaNAt } from "./numbers.ts";
import { compilePath } from "./path-walk.ts";
import { compileRegexTest } from "./regex-test.ts";
import { ValueSet } from "./value-set.ts";

/** Tests the document or array that starts at `at`. */
export type DocumentTest = (bytes: Uint8Array, at: number) => boolean;

/** Makes a function that returns whether a document, as BSON, matches. */
export function compileFilter(filter: Filter): (document: Uint8Array) => boolean {
  const test = compileDocumentTest(filter);
  return (document) => test(document, 0);
}

/** Like `compileFilter`, for a document at any offset of a buffer. */
export function compileDocumentTest(filter: Filter): DocumentTest {
  if (filter.op === "path") return compilePathTest(filter.path, filter.predicate);
  const tests = filter.filters.map(compileDocumentTest);
  switch (filter.op) {
    case "$and":
      return (bytes, at) => tests.every((test) => test(bytes, at));
    case "$or":
      return (bytes, at) => tests.some((test) => test(bytes, at));
    case "$nor":
      return (bytes, at) => !tests.some((test) => test(bytes, at));
  }
}

/** Negation applies to the whole path: "no value there equals", and not "some value there differs". */
function compilePathTest(path: string, predicate: Predicate): DocumentTest {
  const positive = negated(predicate);
  if (positive !== undefined) {
    const tests = positive.map((inner) => compilePathTest(path, inner));
    return (bytes, at) => !tests.every((test) => test(bytes, at));
  }
  if (predicate.op === "$all") return compileAll(path, predicate.values);
  const walk = compilePath(path, expandsLeaf(predicate));
  const test = compileValueTest(predicate);
  return (bytes, at) => walk(bytes, at, test);
}

/** Each value may match another element. One walk searches for all of them. */
function compileAll(path: string, values: readonly BsonValue[]): DocumentTest {
  const wanted = ValueSet.of(values);
  if (wanted.size === 0) return () => false;
  const walk = compilePath(path, true);
  // For each value, the number of the evaluation that last found it, so that nothing has to be cleared for the next
  // document.
  const foundIn = new Float64Array(wanted.size);
  let evaluation = 0;
  return (bytes, at) => {
    evaluation++;
    let left = wanted.size;
    return walk(bytes, at, (type, buffer, start) => {
      const found = wanted.find(type, buffer, start);
      if (found < 0 || foundIn[found] === evaluation) return false;
      foundIn[found] = evaluation;
      return --left === 0;
    });
  };
}

/** The predicates whose conjunction a negative predicate denies; `undefined` for a positive one. */
export function negated(predicate: Predicate): readonly Predicate[] | undefined {
  switch (predicate.op) {
    case "$ne":
      return [{ op: "$eq", value: predicate.value }];
    case "$nin":
      return [{ op: "$in", values: predicate.values }];
    case "$not":
      return predicate.predicates;
    case "$exists":
      return predicate.exists ? undefined : [{ op: "$exists", exists: true }];
    default:
      return undefined;
  }
}

/** Whether a predicate also tests the elements of an array. The others test only the array itself. */
export function expandsLeaf(predicate: Predicate): boolean {
  return predicate.op !== "$size" && predicate.op !== "$elemMatch" && predicate.op !== "$elemMatchValue";
}

/** Compiles a predicate on one value, as for the elements inside `$elemMatch`. */
export function compileValueTest(predicate: Predicate): ValueTest {
  const positive = negated(predicate);
  if (positive !== undefined) {
    const test = allOf(positive);
    return (type, bytes, at) => !test(type, bytes, at);
  }
  switch (predicate.op) {
    case "$eq":
    case "$gt":
    case "$gte":
    case "$lt":
    case "$lte":
      return compileComparison(predicate.op, predicate.value);
    case "$in": {
      const listed = ValueSet.of(predicate.values);
      return (type, bytes, at) => listed.find(type, bytes, at) >= 0;
    }
    case "$all": {
      // One value cannot equal two different ones.
      const [value] = predicate.values;
      const isPossible = value !== undefined && ValueSet.of(predicate.values).size === 1;
      return isPossible ? compileComparison("$eq", value) : () => false;
    }
    case "$exists":
      return (type) => type !== BSON_TYPE.missing;
    case "$type": {
      const types = new Set(predicate.types);
      return (type) => types.has(type);
    }
    case "$size":
      return (type, bytes, at) => type === BSON_TYPE.array && countElements(bytes, at) === predicate.size;
    case "$mod":
      return compileMod(predicate.divisor, predicate.remainder);
    case "$regex":
      return compileRegexTest(predicate);
    case "$elemMatch": {
      const test = compileDocumentTest(predicate.filter);
      // An array is also a document, whose fields are its indexes. A scalar is none.
      const isMatch: ValueTest = (type, bytes, at) =>
        (type === BSON_TYPE.object || type === BSON_TYPE.array) && test(bytes, at);
      return (type, bytes, at) => type === BSON_TYPE.array && someElement(bytes, at, isMatch);
    }
    case "$elemMatchValue": {
      const test = allOf(predicate.predicates);
      return (type, bytes, at) => type === BSON_TYPE.array && someElement(bytes, at, test);
    }
    default:
      throw new TypeError(`not a predicate on one value: ${predicate.op}`);
  }
}

/** A test that requires all of the predicates on one value. */
export function allOf(predicates: readonly Predicate[]): ValueTest {
  const tests = predicates.map(compileValueTest);
  const [only] = tests;
  if (tests.length === 1 && only !== undefined) return only;
  return (type, bytes, at) => tests.every((test) => test(type, bytes, at));
}

/** Null also matches undefined and missing (servers up to 7.0; 8.0 distinguishes undefined). */
function isNullish(type: number): boolean {
  return type === BSON_TYPE.missing || type === BSON_TYPE.undefined || type === BSON_TYPE.null;
}

function compileComparison(op: Exclude<ComparisonOperator, "$ne">, value: BsonValue): ValueTest {
  const { type: wanted, bytes: operand, start } = value;
  const holds = ORDER_TESTS[op];
  if (wanted === BSON_TYPE.null) return (type) => holds(0) && isNullish(type);
  const wantedClass = typeClass(wanted);
  if (wanted === BSON_TYPE.minKey || wanted === BSON_TYPE.maxKey) {
    // The only operands to which values of all types are compared.
    return (type) => holds(typeClass(type) - wantedClass);
  }
  const isOrdering = op !== "$eq";
  const isNumber = wantedClass === typeClass(BSON_TYPE.int);
  const operandIsNaN = isNumber && isNaNAt(wanted, operand, start);
  return (type, bytes, at) => {
    if (typeClass(type) !== wantedClass) return false;
    // NaN is neither above nor below any number, although a sort puts it first.
    if (isNumber && isOrdering && operandIsNaN !== isNaNAt(type, bytes, at)) return false;
    return holds(compareSameClass(type, bytes, at, wanted, operand, start));
  };
}

const ORDER_TESTS: Readonly<Record<Exclude<ComparisonOperator, "$ne">, (order: number) => boolean>> = {
  $eq: (order) => order === 0,
  $gt: (order) => order > 0,
  $gte: (order) => order >= 0,
  $lt: (order) => order < 0,
  $lte: (order) => order <= 0,
};

function compileMod(divisor: bigint, remainder: bigint): ValueTest {
  const numbers = typeClass(BSON_TYPE.int);
  return (type, bytes, at) => {
    if (typeClass(type) !== numbers) return false;
    const dividend = integerPartAt(type, bytes, at);
    return dividend !== undefined && dividend % divisor === remainder;
  };
}

function countElements(bytes: Uint8Array, at: number): number {
  let count = 0;
  someElement(bytes, at, () => {
    count++;
    return false;
  });
  return count;
}

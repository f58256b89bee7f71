/**
 * Evaluates filters on large documents in steps, between which the event loop may run other work. A filter with 50
 * predicates on an array of a million elements takes more than a second. The result is that of `compileFilter`.
 */
import { afterCString, BSON_TYPE, type BsonValue, byteAt, valueEnd } from "./bson-value.ts";
import { allOf, compileDocumentTest, compileValueTest, expandsLeaf, negated } from "./compile-filter.ts";
import type { ValueTest } from "./elements.ts";
import type { Filter, Predicate } from "./filter.ts";
import { FoundValues } from "./found-values.ts";
import { compilePath, type PathWalk } from "./path-walk.ts";
import { SMALL_BYTES, StepPace, type Steps } from "./steps.ts";
import { ValueSet } from "./value-set.ts";

/**
 * Makes a function that returns, in steps, whether a document matches.
 * @param smallBytes Up to this size in bytes, a document or a value in it takes one step.
 */
export function compileFilterInSteps(
  filter: Filter,
  smallBytes = SMALL_BYTES,
): (document: Uint8Array) => Steps<boolean> {
  const whole = compileDocumentTest(filter);
  const inSteps = documentSteps(filter);
  return function* (document) {
    if (document.length <= smallBytes) return whole(document, 0);
    return yield* inSteps(new Scope(document, smallBytes), 0);
  };
}

/** Tests the document or array that starts at `at`. */
type DocumentSteps = (scope: Scope, at: number) => Steps<boolean>;

interface ValueTester {
  readonly test: ValueTest;
  /** For large values; `null` if the test consists of one walk through the value. */
  readonly inSteps: InSteps | null;
}

type InSteps = (scope: Scope, type: number, at: number) => Steps<boolean>;

interface WalkedPath {
  readonly path: string;
  readonly expands: boolean;
  readonly walk: PathWalk;
}

/** One evaluation. Consecutive predicates on the same path share one walk. */
class Scope {
  readonly bytes: Uint8Array;
  readonly smallBytes: number;
  readonly #values = new FoundValues();
  #walked: { readonly path: WalkedPath; readonly at: number } | undefined;

  constructor(bytes: Uint8Array, smallBytes: number) {
    this.bytes = bytes;
    this.smallBytes = smallBytes;
  }

  /** All values that a predicate on the path sees in the document or array at `at`. Valid until the next call. */
  valuesOf(path: WalkedPath, at: number): FoundValues {
    const known = this.#walked;
    const isSame = known?.path.path === path.path && known.path.expands === path.expands;
    if (isSame && known.at === at) return this.#values;
    this.#values.clear();
    path.walk(this.bytes, at, (type, _bytes, start) => {
      this.#values.add(type, start);
      return false;
    });
    this.#walked = { path, at };
    return this.#values;
  }
}

function documentSteps(filter: Filter): DocumentSteps {
  if (filter.op === "path") return pathSteps(filter.path, filter.predicate);
  const branches = filter.filters.map(documentSteps);
  const isAnd = filter.op === "$and";
  const isOr = filter.op === "$or";
  return function* (scope, at) {
    for (const branch of branches) {
      if ((yield* branch(scope, at)) !== isAnd) return isOr;
      yield;
    }
    return !isOr;
  };
}

/** Negation applies to the whole path, as in `compileFilter`. */
function pathSteps(path: string, predicate: Predicate): DocumentSteps {
  const positive = negated(predicate);
  if (positive !== undefined) {
    const tests = positive.map((inner) => pathSteps(path, inner));
    return function* (scope, at) {
      for (const test of tests) if (!(yield* test(scope, at))) return true;
      return false;
    };
  }
  const expands = expandsLeaf(predicate);
  const walked = { path, expands, walk: compilePath(path, expands) };
  const newTester = predicate.op === "$all" ? allValues(predicate.values) : always(testerOf(predicate));
  return function* (scope, at) {
    return yield* someValue(scope, scope.valuesOf(walked, at), newTester());
  };
}

const always = (tester: ValueTester) => () => tester;

/** Makes a tester for one document, which succeeds once each of the values was found. */
function allValues(values: readonly BsonValue[]): () => ValueTester {
  const wanted = ValueSet.of(values);
  return () => {
    const found = new Set<number>();
    const test: ValueTest = (type, bytes, at) => {
      const number = wanted.find(type, bytes, at);
      return number >= 0 && found.add(number).size === wanted.size;
    };
    return { test, inSteps: null };
  };
}

function* someValue(scope: Scope, values: FoundValues, tester: ValueTester): Steps<boolean> {
  const pace = new StepPace();
  for (let i = 0; i < values.size; i++) {
    const type = values.typeAt(i);
    const at = values.startAt(i);
    const bytes = valueEnd(type, scope.bytes, at) - at;
    const isLarge = tester.inSteps !== null && bytes > scope.smallBytes;
    if (isLarge ? yield* tester.inSteps(scope, type, at) : tester.test(type, scope.bytes, at)) return true;
    if (pace.isOver(bytes)) yield;
  }
  return false;
}

function* someElement(scope: Scope, array: number, tester: ValueTester): Steps<boolean> {
  const pace = new StepPace();
  let offset = array + 4;
  for (let type = byteAt(scope.bytes, offset); type !== 0; type = byteAt(scope.bytes, offset)) {
    const at = afterCString(scope.bytes, offset + 1);
    offset = valueEnd(type, scope.bytes, at);
    const bytes = offset - at;
    const isLarge = tester.inSteps !== null && bytes > scope.smallBytes;
    if (isLarge ? yield* tester.inSteps(scope, type, at) : tester.test(type, scope.bytes, at)) return true;
    if (pace.isOver(bytes)) yield;
  }
  return false;
}

function testerOf(predicate: Predicate): ValueTester {
  const test = compileValueTest(predicate);
  const positive = negated(predicate);
  if (positive !== undefined) {
    return { test, inSteps: not(allTesters(positive.map(testerOf))) };
  }
  if (predicate.op === "$elemMatch") {
    const inSteps = documentSteps(predicate.filter);
    const whole = compileDocumentTest(predicate.filter);
    return {
      test,
      inSteps: elementSteps({
        test: (type, bytes, at) => isDocument(type) && whole(bytes, at),
        inSteps: function* (scope, type, at) {
          // The values around this element are still being tested, so the values in it need their own memory.
          return isDocument(type) && (yield* inSteps(new Scope(scope.bytes, scope.smallBytes), at));
        },
      }),
    };
  }
  if (predicate.op === "$elemMatchValue") {
    const { predicates } = predicate;
    const inSteps = allTesters(predicates.map(testerOf));
    return { test, inSteps: elementSteps({ test: allOf(predicates), inSteps }) };
  }
  return { test, inSteps: null };
}

/** An array is also a document, whose fields are its indexes. */
const isDocument = (type: number) => type === BSON_TYPE.object || type === BSON_TYPE.array;

const elementSteps = (tester: ValueTester): InSteps =>
  function* (scope, type, at) {
    return type === BSON_TYPE.array && (yield* someElement(scope, at, tester));
  };

const not = (inner: InSteps): InSteps =>
  function* (scope, type, at) {
    return !(yield* inner(scope, type, at));
  };

const allTesters = (testers: readonly ValueTester[]): InSteps =>
  function* (scope, type, at) {
    for (const { test, inSteps } of testers) {
      const holds = inSteps === null ? test(type, scope.bytes, at) : yield* inSteps(scope, type, at);
      if (!holds) return false;
      yield;
    }
    return true;
  };

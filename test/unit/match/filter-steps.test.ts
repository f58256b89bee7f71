/** Filters on large documents: in steps, with the same result, and no step that costs more than one walk. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { compileFilterInSteps } from "../../../src/match/filter-steps.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { SMALL_BYTES, type Steps } from "../../../src/match/steps.ts";
import { countReads } from "../../support/count-reads.ts";
import { MATCHER_CASES } from "./matcher-cases.ts";

const parse = (filter: unknown) => parseFilter(filter, { regex: "subset", maxPredicates: 1_000 });

function resultOf<T>(steps: Steps<T>): { readonly value: T; readonly pauses: number } {
  for (let pauses = 0; ; pauses++) {
    const step = steps.next();
    if (step.done === true) return { value: step.value, pauses };
  }
}

test.each(MATCHER_CASES)("in steps as well: %j on %j: %s", (filter, document, expected) => {
  const bytes = BSON.serialize(BSON.EJSON.parse(JSON.stringify(document), { relaxed: false }));
  expect(resultOf(compileFilterInSteps(parse(filter), 0)(bytes)).value).toBe(expected);
});

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const many = (predicateOf: (i: number) => object) => ({ $or: numbers(20).map(predicateOf) });
const objects = { a: numbers(10_000).map((b) => ({ b })) };

test.each<[string, object, object]>([
  ["comparisons with one array", { a: numbers(10_000) }, many((i) => ({ a: { $gt: 1e9 + i } }))],
  ["different paths", objects, many((i) => ({ [`a.b${i}`]: 1 }))],
  ["comparisons in one $elemMatch", objects, { a: { $elemMatch: many((i) => ({ b: -1 - i })) } }],
  [
    "negations in one $elemMatch",
    { a: numbers(10_000) },
    { a: { $elemMatch: { $lt: 0, $not: { $elemMatch: { $gt: 1 } } } } },
  ],
  [
    "$elemMatch in an element that is large itself",
    { a: [objects] },
    { a: { $elemMatch: { a: { $elemMatch: many((i) => ({ b: -1 - i })) } } } },
  ],
])("no step reads more than a few times the document: 20 %s", (_name, document, filter) => {
  const { bytes, reads } = countReads(BSON.serialize(document));
  expect(bytes.length).toBeGreaterThan(SMALL_BYTES);
  const steps = compileFilterInSteps(parse(filter))(bytes);
  let [before, most] = [0, 0];
  for (let step = steps.next(); ; step = steps.next()) {
    most = Math.max(most, reads() - before);
    before = reads();
    if (step.done === true) {
      expect(step.value).toBe(false);
      break;
    }
  }
  // One walk reads the document, its lengths and its names.
  expect(most).toBeLessThan(4 * bytes.length);
});

test("a document of 64 KiB is matched in one step, one that is larger in several", () => {
  const pausesOf = (bytes: number) => {
    const empty = BSON.serialize({ a: [1], text: "" }).length;
    const document = BSON.serialize({ a: [1], text: "x".repeat(bytes - empty) });
    expect(document.length).toBe(bytes);
    return resultOf(compileFilterInSteps(parse({ a: 1, text: { $ne: "y" } }))(document)).pauses;
  };
  expect(pausesOf(SMALL_BYTES)).toBe(0);
  expect(pausesOf(SMALL_BYTES + 1)).toBeGreaterThan(0);
});

const texts = { a: numbers(100).map(() => "x".repeat(10_000)) };
const large = { a: numbers(100).map(() => ({ t: "x".repeat(10_000) })) };

test.each<[string, object, object, number]>([
  ["1,000 values", { a: numbers(20_000) }, { a: { $gt: 1e9 } }, 20],
  ["1,000 elements of $elemMatch", { a: numbers(20_000) }, { a: { $elemMatch: { $gt: 1e9 } } }, 20],
  ["64 KiB of values", texts, { a: "y" }, 14],
  ["64 KiB of elements of $elemMatch", large, { a: { $elemMatch: { t: "y", u: 1 } } }, 14],
])("the evaluation of one predicate offers a pause after %s", (_name, document, filter, least) => {
  const { value, pauses } = resultOf(compileFilterInSteps(parse(filter))(BSON.serialize(document)));
  expect(value).toBe(false);
  expect(pauses).toBeGreaterThanOrEqual(least);
});

import { expect, test } from "vitest";
import { UNKNOWN } from "../../../src/feed/change.ts";
import { Evaluation } from "../../../src/feed/evaluation.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { EVERYTHING, includeProjection } from "../../../src/match/projection.ts";
import { runThrough } from "../../../src/match/steps.ts";
import type { StreamEvent } from "../../../src/source/change-event.ts";
import { docOf, eventOf, insertOf } from "./feed-parts.ts";

const evaluationOf = (filter: object, projection = EVERYTHING) =>
  new Evaluation("db.things", parseFilter(filter, { regex: "prefix" }), projection);

const REPLACED: StreamEvent = { operation: "replaced-collection", namespace: "db.things", by: "drop" };

/** Runs steps to their end. */
function resultOf<T>(steps: Generator<unknown, T>): T {
  for (let step = steps.next(); ; step = steps.next()) if (step.done === true) return step.value;
}

const typesOf = (changes: ReturnType<Evaluation["of"]>) =>
  changes === UNKNOWN ? UNKNOWN : changes.map(({ type }) => type);

test("finds out from the documents before and after whether one was added, changed or removed", () => {
  const evaluation = evaluationOf({ n: { $gt: 0 } });
  const [in1, in2, out] = [
    { _id: 1, n: 1 },
    { _id: 1, n: 2 },
    { _id: 1, n: 0 },
  ];
  const typeOf = (before: typeof in1 | null, after: typeof in1 | null) =>
    typesOf(evaluation.of([eventOf(before, after)]));
  expect(typeOf(null, in1)).toEqual(["added"]);
  expect(typeOf(out, in1)).toEqual(["added"]);
  expect(typeOf(in1, in2)).toEqual(["changed"]);
  expect(typeOf(in1, out)).toEqual(["removed"]);
  expect(typeOf(in1, null)).toEqual(["removed"]);
  expect(typeOf(out, null)).toEqual([]);
  expect(typeOf(null, out)).toEqual([]);
});

test("a write to fields that no subscriber sees is not a change", () => {
  const evaluation = evaluationOf({}, includeProjection(["n"]));
  expect(evaluation.of([eventOf({ _id: 1, n: 1, secret: 1 }, { _id: 1, n: 1, secret: 2 })])).toEqual([]);
});

test("where the collection was replaced, or an image is missing, the changes are unknown: alone, among others, in steps", () => {
  const evaluation = evaluationOf({});
  const missing = { ...eventOf({ _id: 2 }, { _id: 2, n: 1 }), before: undefined };
  for (const event of [REPLACED, missing]) {
    expect(evaluation.of([event])).toBe(UNKNOWN);
    expect(evaluation.of([insertOf({ _id: 1 }), event])).toBe(UNKNOWN);
    expect(evaluation.touchedBy([insertOf({ _id: 1 }), event])).toBe(UNKNOWN);
    expect(resultOf(evaluation.inSteps([event]))).toBe(UNKNOWN);
    expect(resultOf(evaluation.touchedInSteps([event]))).toBe(UNKNOWN);
    expect(() => runThrough(evaluation.applyInSteps(new Map(), [event]))).toThrow(
      expect.objectContaining({ code: "unavailable" }),
    );
  }
});

test("a change that replaces another collection has no effect", () => {
  const other: StreamEvent = { ...REPLACED, namespace: "db.others" };
  expect(evaluationOf({}).of([other, insertOf({ _id: 1 })])).toHaveLength(1);
});

test("of several writes to one document, the first and the last state are kept", () => {
  const touched = evaluationOf({ n: { $gt: 0 } }).touchedBy([
    insertOf({ _id: 1, n: 1 }),
    eventOf({ _id: 1, n: 1 }, { _id: 1, n: 2 }),
  ]);
  if (touched === UNKNOWN) throw new Error("unknown");
  expect([...touched.values()]).toMatchObject([{ previous: undefined, document: docOf({ _id: 1, n: 2 }) }]);
});

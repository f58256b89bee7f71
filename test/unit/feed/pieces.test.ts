import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { Evaluation } from "../../../src/feed/evaluation.ts";
import { isLong, piecesOf, STEP_BYTES } from "../../../src/feed/pieces.ts";
import { PredicateIndex } from "../../../src/feed/predicate-index.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import type { Projection } from "../../../src/match/projection-fields.ts";
import type { ChangeEvent } from "../../../src/source/change-event.ts";

const WHOLE: Projection = { keepsRest: true, fields: new Map() };

function insertOf(after: Uint8Array): ChangeEvent {
  return {
    operation: "insert",
    namespace: "db.c",
    documentKey: BSON.serialize({ _id: 1 }),
    before: undefined,
    after,
  };
}

const ofBytes = (bytes: number) => insertOf(new Uint8Array(bytes));
const sizes = (events: readonly ChangeEvent[]) => [...piecesOf(events)].map(({ length }) => length);

test("a commit is divided after 100 events and after 64 KiB of documents", () => {
  const small = Array.from({ length: 101 }, () => ofBytes(10));
  expect([isLong(small.slice(1)), isLong(small)]).toEqual([false, true]);
  expect(sizes(small)).toEqual([100, 1]);
  const half = ofBytes(STEP_BYTES / 2);
  expect([isLong([half, half]), isLong([half, half, ofBytes(1)])]).toEqual([false, true]);
  expect(sizes([half, half, half])).toEqual([2, 1]);
  expect(sizes([ofBytes(1), ofBytes(STEP_BYTES + 1), ofBytes(1)])).toEqual([1, 1, 1]);
});

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

test("50 predicates on one large document are evaluated with many pauses, with the same outcome", () => {
  const filter = parseFilter(
    { $or: numbers(50).map((i) => ({ a: { $gt: 20_000 - i } })) },
    { regex: "prefix" },
  );
  const evaluation = new Evaluation("db.c", filter, WHOLE);
  for (const last of [0, 30_000]) {
    const event = insertOf(BSON.serialize({ _id: 1, a: [...numbers(10_000), last] }));
    const steps = evaluation.inSteps([event]);
    let pauses = 0;
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) pauses++;
    expect(step.value).toEqual(last === 0 ? [] : [{ type: "added", cause: "insert", document: event.after }]);
    expect(pauses).toBeGreaterThan(last === 0 ? 400 : 9);
  }
});

test("a large document is looked up in the index with a pause after each path, with the same outcome", () => {
  const index = new PredicateIndex<object>();
  const items = numbers(100).map((i) => ({ i }));
  for (const item of items) index.add(item, parseFilter({ [`p${item.i}`]: item.i }, { regex: "prefix" }));
  const event = insertOf(BSON.serialize({ _id: 1, p7: 7, p8: 7, text: "x".repeat(STEP_BYTES) }));
  const steps = index.candidatesInSteps([event]);
  let pauses = 0;
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) pauses++;
  expect([...step.value]).toEqual([items[7]]);
  expect([...index.candidates([event])]).toEqual([items[7]]);
  expect(pauses).toBe(100);
});

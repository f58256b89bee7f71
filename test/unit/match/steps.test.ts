/** Work on large documents offers a pause after each 64 KiB or 1,000 values, whatever the kind of work. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { diffProjectedInSteps } from "../../../src/match/delta.ts";
import { encodeDocumentInSteps } from "../../../src/match/encode-steps.ts";
import { EVERYTHING, excludeProjection, includeProjection } from "../../../src/match/projection.ts";
import { projectedEqualInSteps } from "../../../src/match/projection-steps.ts";
import { compileSort } from "../../../src/match/sort.ts";
import { SMALL_BYTES, StepPace, type Steps } from "../../../src/match/steps.ts";
import type { SortSpec } from "../../../src/protocol/messages.ts";

function pausesOf(steps: Steps<unknown>): number {
  for (let pauses = 0; ; pauses++) if (steps.next().done === true) return pauses;
}

const COUNT = 20_000;
const list = <T>(of: (i: number) => T) => Array.from({ length: COUNT }, (_, i) => of(i));
const fieldsOf = (of: (i: number) => unknown) => Object.fromEntries(list((i) => [`f${i}`, of(i)]));
/** A step of so many values, and one that may be incomplete. */
const PAUSES = COUNT / 1_000 - 1;
const LONG_BYTES = 16 * SMALL_BYTES;

test("a pause is due after 1,000 values, and after 64 KiB", () => {
  const after = (bytes: number) => {
    const pace = new StepPace();
    for (let values = 1; ; values++) if (pace.isOver(bytes)) return values;
  };
  expect([after(0), after(SMALL_BYTES / 2), after(SMALL_BYTES)]).toEqual([1_000, 2, 1]);
});

test.each<[string, object]>([
  ["many fields", fieldsOf((i) => i)],
  ["many fields deep inside", { a: { b: { c: fieldsOf((i) => i) } } }],
  ["many elements", { a: list((i) => i) }],
  ["many objects in an array", { a: list((i) => ({ i })) }],
  ["one long string", { a: "x".repeat(LONG_BYTES) }],
  ["one long string in an array", { a: [{ b: "x".repeat(LONG_BYTES) }] }],
  ["one long binary value", { a: Buffer.alloc(LONG_BYTES) }],
  [
    "code with a large scope",
    {
      a: new BSON.Code(
        "x",
        fieldsOf((i) => i),
      ),
    },
  ],
])("encoding a document offers pauses in %s", (_name, document) => {
  const bytes = BSON.serialize({ _id: 1, ...document });
  for (const mode of ["json", "ejson"] as const)
    expect(pausesOf(encodeDocumentInSteps(bytes, EVERYTHING, mode))).toBeGreaterThanOrEqual(15);
});

test("encoding a document offers pauses between fields that are not visible", () => {
  const bytes = BSON.serialize({ _id: 1, ...fieldsOf((i) => i) });
  const steps = encodeDocumentInSteps(bytes, includeProjection(["x"]), "json");
  expect(pausesOf(steps)).toBeGreaterThanOrEqual(PAUSES);
});

const fields = [fieldsOf((i) => ({ i })), { ...fieldsOf((i) => ({ i })), last: 1 }] as const;
const inner = [{ o: { p: fields[0] } }, { o: { p: fields[1] } }] as const;
const elements = [{ a: list((i) => ({ i })) }, { a: [...list((i) => ({ i })), { i: -1 }] }] as const;

test.each<[string, readonly [object, object]]>([
  ["many fields", fields],
  ["many fields deep inside", inner],
  ["many elements", elements],
])("comparing two documents offers pauses in %s", (_name, [one, other]) => {
  const [before, after] = [BSON.serialize({ _id: 1, ...one }), BSON.serialize({ _id: 1, ...other })];
  const hidden = excludeProjection(["a.x", "o.p.x", "f1"]);
  expect(pausesOf(projectedEqualInSteps(hidden, before, after))).toBeGreaterThanOrEqual(2 * PAUSES);
  expect(pausesOf(diffProjectedInSteps(hidden, before, after, "json"))).toBeGreaterThanOrEqual(PAUSES);
});

test("the delta of many changed fields is encoded with pauses", () => {
  const [before, after] = [0, 1].map((by) => BSON.serialize({ _id: 1, ...fieldsOf((i) => i + by) }));
  if (before === undefined || after === undefined) throw new Error("two documents were made");
  // Both documents are read, compared and written.
  const steps = diffProjectedInSteps(EVERYTHING, before, after, "json");
  expect(pausesOf(steps)).toBeGreaterThanOrEqual(5 * PAUSES);
});

test.each<[string, object, SortSpec]>([
  ["at the end of a path", { a: list((i) => i) }, [["a", 1]]],
  [
    "on the way",
    { a: list((b) => ({ b })) },
    [
      ["a.b", 1],
      ["a.c", -1],
    ],
  ],
  ["inside an array", { a: list((i) => ({ b: [{ c: [i] }] })) }, [["a.b.c", 1]]],
  [
    "beside another one",
    { a: list((i) => i), b: [1, 2] },
    [
      ["a", 1],
      ["b", 1],
    ],
  ],
])("a sort key is found with pauses in an array %s, and is the same", (_name, document, spec) => {
  const bytes = BSON.serialize({ _id: 1, ...document });
  const sort = compileSort(spec);
  const steps = sort.keyInSteps(bytes);
  for (let pauses = 0; ; pauses++) {
    const step = steps.next();
    if (step.done !== true) continue;
    expect(step.value).toEqual(sort.key(bytes));
    expect(pauses).toBeGreaterThanOrEqual(PAUSES);
    break;
  }
});

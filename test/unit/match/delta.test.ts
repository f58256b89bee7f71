import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { diffProjected } from "../../../src/match/delta.ts";
import { EVERYTHING, excludeProjection, includeProjection } from "../../../src/match/projection.ts";

const diff = (before: object, after: object, projection = EVERYTHING) => {
  const delta = diffProjected(projection, BSON.serialize(before), BSON.serialize(after), "json");
  return (
    delta && {
      set: Object.fromEntries(delta.set.map(([path, json]) => [path, JSON.parse(json)])),
      unset: delta.unset,
    }
  );
};

test.each<[string, object, object, object]>([
  ["nothing for equal documents", { a: 1 }, { a: 1 }, { set: {}, unset: [] }],
  [
    "fields that came, changed and went",
    { a: 1, b: 1, c: 1 },
    { b: 1, c: 2, d: 3 },
    { set: { c: 2, d: 3 }, unset: ["a"] },
  ],
  [
    "paths into objects",
    { a: { b: { c: 1, d: 1 }, e: 1 } },
    { a: { b: { c: 2 }, e: 1 } },
    { set: { "a.b.c": 2 }, unset: ["a.b.d"] },
  ],
  [
    "arrays whole",
    { a: { b: [{ c: 1 }, 2] } },
    { a: { b: [{ c: 2 }, 2] } },
    { set: { "a.b": [{ c: 2 }, 2] }, unset: [] },
  ],
  ["a value whose kind changed whole", { a: { b: 1 } }, { a: [1] }, { set: { a: [1] }, unset: [] }],
  [
    "an object whole if a numeric field in it changed",
    { a: { 0: 1, b: 1 } },
    { a: { 0: 2, b: 1 } },
    { set: { a: { 0: 2, b: 1 } }, unset: [] },
  ],
  [
    "an object whole if a dotted field in it changed",
    { a: { "b.c": 1 } },
    { a: { "b.c": 2 } },
    { set: { a: { "b.c": 2 } }, unset: [] },
  ],
  [
    "an object whole if a dotted field in it went",
    { a: { b: { "c.d": 1 } } },
    { a: { b: {} } },
    { set: { "a.b": {} }, unset: [] },
  ],
  [
    "paths beside a dotted field that stays",
    { a: { "b.c": 1, d: 1 } },
    { a: { "b.c": 1, d: 2 } },
    { set: { "a.d": 2 }, unset: [] },
  ],
  [
    "an object whole if its fields are in another order",
    { a: { b: 1, c: 1 }, d: 1 },
    { a: { c: 1, b: 1 }, d: 1 },
    { set: { a: { c: 1, b: 1 } }, unset: [] },
  ],
  [
    "an object whole if a new field does not come last",
    { a: { b: 1 } },
    { a: { c: 1, b: 1 } },
    { set: { a: { c: 1, b: 1 } }, unset: [] },
  ],
  [
    "paths where fields went and the rest kept its order",
    { a: 1, b: 1, c: 1, d: 1 },
    { b: 1, d: 2, e: 1 },
    { set: { d: 2, e: 1 }, unset: ["a", "c"] },
  ],
])("[8, delta] reports %s", (_name, before, after, expected) => {
  expect(diff(before, after)).toEqual(expected);
});

test("[8, delta] sends the document if a path cannot name the field", () => {
  expect(diff({ "a.b": 1 }, { "a.b": 2 })).toBeUndefined();
  expect(diff({ 0: 1 }, {})).toBeUndefined();
  expect(diff({}, { "": 1 })).toBeUndefined();
  expect(diff({}, JSON.parse('{"__proto__":1}'))).toBeUndefined();
});

test("[8, delta] sends the document where its fields are in another order", () => {
  expect(diff({ a: 1, b: 1 }, { b: 1, a: 1 })).toBeUndefined();
  expect(diff({ a: 1, b: 1 }, { c: 1, a: 1, b: 1 })).toBeUndefined();
  // Hidden fields do not count for the order.
  expect(diff({ a: 1, m: 1, b: 1 }, { m: 2, a: 1, b: 2 }, excludeProjection(["m"]))).toEqual({
    set: { b: 2 },
    unset: [],
  });
});

test("[4] a delta contains nothing about fields that are not visible", () => {
  const before = { _id: 1, margin: 1, notes: { internal: 1, text: 1 } };
  const after = { _id: 1, margin: 2, notes: { internal: 2, text: 1 } };
  expect(diff(before, after, excludeProjection(["margin", "notes.internal"]))).toEqual({
    set: {},
    unset: [],
  });
  // A scalar where the inclusion wants a part is not visible: for the client the field goes.
  expect(diff({ a: { b: 1 } }, { a: 5 }, includeProjection(["a.b"]))).toEqual({ set: {}, unset: ["a"] });
});

test("encodes the delta of an object with 150,000 changed fields", () => {
  const fields = (value: number) =>
    Object.fromEntries(Array.from({ length: 150_000 }, (_, i) => [`f${i}`, value]));
  const before = BSON.serialize({ a: fields(1) });
  const after = BSON.serialize({ a: fields(2) });
  expect(diffProjected(EVERYTHING, before, after, "json")?.set).toHaveLength(150_000);
});

test("sends an object whole where the paths would be longer than it is", () => {
  const long = "x".repeat(2_000);
  const fields = (value: number, count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, value]));
  const paths = (count: number) =>
    diff({ [long]: fields(1, count) }, { [long]: fields(2, count) })?.set ?? "the document";
  expect(Object.keys(paths(2))).toEqual([`${long}.f0`, `${long}.f1`]);
  expect(Object.keys(paths(3))).toEqual([long]);
});

test("sends the document whole where the paths would be longer than it is", () => {
  const document = (value: number) =>
    Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`${"x".repeat(100)}${i}`, { a: { b: value } }]));
  expect(diff(document(1), document(2))).toBeDefined();
  const deep = (value: number, levels: number): object =>
    levels === 0 ? { v: value } : { ["y".repeat(60)]: deep(value, levels - 1) };
  expect(diff(deep(1, 90), deep(2, 90))).toBeDefined();
});

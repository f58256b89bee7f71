import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { encodeDocument } from "../../../src/match/encode.ts";
import {
  canonicalProjection,
  EVERYTHING,
  excludeProjection,
  includeProjection,
  intersectProjections,
  isHiddenPath,
  projectedEqual,
  projectionSize,
} from "../../../src/match/projection.ts";
import type { Projection } from "../../../src/match/projection-fields.ts";

const show = (projection: Projection, document: object) =>
  JSON.parse(encodeDocument(BSON.serialize(document), projection, "json"));

test("an inclusion drops scalars on the way, an exclusion keeps them", () => {
  const document = { _id: 1, a: [{ b: 1, c: 2 }, 5, [{ b: 3, c: 4 }, 6]], d: 7 };
  expect(show(includeProjection(["a.b"]), document)).toEqual({ _id: 1, a: [{ b: 1 }, [{ b: 3 }]] });
  expect(show(excludeProjection(["a.b"]), document)).toEqual({
    _id: 1,
    a: [{ c: 2 }, 5, [{ c: 4 }, 6]],
    d: 7,
  });
  expect(show(includeProjection(["a.b"]), { _id: 1, a: 5 })).toEqual({ _id: 1 });
  expect(show(includeProjection(["a.b"]), { _id: 1, a: { c: 1 } })).toEqual({ _id: 1, a: {} });
});

test("the _id is visible whatever the projection says", () => {
  expect(show(includeProjection([]), { _id: { x: 1 }, a: 1 })).toEqual({ _id: { x: 1 } });
  expect(show(includeProjection(["_id.y"]), { _id: { x: 1 } })).toEqual({ _id: { x: 1 } });
  const refused = expect.objectContaining({ code: "bad-request", details: { path: "_id" } });
  expect(() => excludeProjection(["_id"])).toThrow(refused);
  expect(() => excludeProjection(["_id.x"])).toThrow(refused);
});

test.each([
  ["a part and the whole", ["a.b", "a"], "a"],
  ["the whole and a part", ["a", "a.b"], "a.b"],
  ["a positional path", ["a.$"], "a.$"],
  ["an operator", ["$a"], "$a"],
  ["an empty path", [""], ""],
  ["an empty part", ["a..b"], "a..b"],
  ["a NUL", ["a\0"], "a\0"],
])("refuses %s", (_name, paths, path) => {
  const refused = expect.objectContaining({ code: "bad-request", details: { path } });
  expect(() => includeProjection(paths)).toThrow(refused);
  expect(() => excludeProjection(paths)).toThrow(refused);
});

test("what is visible under both a rule and a client's fields is visible under neither's opposite", () => {
  const rule = excludeProjection(["notes.internal", "margin"]);
  const document = { _id: 1, notes: [{ internal: 1, text: 2 }], margin: 3, total: 4 };
  const both = (...fields: string[]) => show(intersectProjections(rule, includeProjection(fields)), document);
  expect(both("notes", "margin")).toEqual({ _id: 1, notes: [{ text: 2 }] });
  expect(both("notes.internal", "total")).toEqual({ _id: 1, notes: [{}], total: 4 });
  expect(intersectProjections(rule, EVERYTHING)).toEqual(rule);
});

test("projections that show the same have one canonical text", () => {
  const include = (...paths: string[]) => canonicalProjection(includeProjection(paths));
  expect(include("a", "b.c")).toBe(include("b.c", "a", "_id"));
  expect(include("a")).not.toBe(include("a.b"));
  expect(include("a,b")).not.toBe(include("a", "b"));
  expect(canonicalProjection(excludeProjection(["a"]))).not.toBe(include("a"));
  expect(canonicalProjection(excludeProjection([]))).toBe(canonicalProjection(EVERYTHING));
  const swapped = [excludeProjection(["b"]), includeProjection(["a", "b"])] as const;
  expect(canonicalProjection(intersectProjections(...swapped))).toBe(include("a"));
});

const exclusion = excludeProjection(["notes.internal", "deep.a.b", "list.0"]);
const inclusion = includeProjection(["notes.text", "whole"]);

test.each<[boolean, Projection, string]>([
  [true, exclusion, "notes.internal"],
  [true, exclusion, "notes"],
  [true, exclusion, "notes.internal.x"],
  [true, exclusion, "notes.0.internal"],
  [true, exclusion, "notes.0"],
  [true, exclusion, "notes.0.0.internal"],
  [true, exclusion, "notes.0.internal.0.x"],
  [true, exclusion, "deep"],
  [true, exclusion, "deep.a"],
  [true, exclusion, "deep.0.a.1.b"],
  [true, exclusion, "list.0"],
  [true, exclusion, "list.0.x"],
  [true, exclusion, "list.7.0"],
  [false, exclusion, "list.1.x"],
  [false, exclusion, "notes.text"],
  [false, exclusion, "notes.0.text"],
  [false, exclusion, "other"],
  [false, exclusion, "_id"],
  [false, inclusion, "_id.x"],
  [false, inclusion, "notes.text"],
  [false, inclusion, "notes.text.0.x"],
  [false, inclusion, "whole.0.x"],
  [true, inclusion, "notes"],
  [true, inclusion, "notes.other"],
  [true, inclusion, "other"],
  // In an array this is visible, in a document with a field "0" it is not.
  [true, inclusion, "notes.0.text"],
  [false, EVERYTHING, "a.0.b"],
])("answers %s to whether a projection hides a path: %o, %s", (hidden, projection, path) => {
  expect(isHiddenPath(projection, path)).toBe(hidden);
});

test("a path of many indexes is read as array indexes and as field names at the same time", () => {
  const path = Array(99).fill("0").join(".");
  expect(isHiddenPath(excludeProjection([path]), `${path}.x`)).toBe(true);
});

test("two documents that differ in hidden fields only are equal", () => {
  const equal = (projection: Projection, before: object, after: object) =>
    projectedEqual(projection, BSON.serialize(before), BSON.serialize(after));
  const rule = excludeProjection(["margin", "notes.internal"]);
  const before = { _id: 1, margin: 1, notes: [{ internal: 1, text: 2 }], x: 1 };
  expect(equal(rule, before, { ...before, margin: 2 })).toBe(true);
  expect(equal(rule, before, { ...before, notes: [{ internal: 9, text: 2 }] })).toBe(true);
  expect(equal(rule, before, { ...before, notes: [{ text: 2 }] })).toBe(true);
  expect(equal(rule, before, { ...before, notes: [{ text: 3 }] })).toBe(false);
  expect(equal(rule, before, { ...before, notes: [{ text: 2 }, 1] })).toBe(false);
  expect(equal(rule, before, { ...before, y: 1 })).toBe(false);
  // Elements that are not visible do not shift the names of those that are.
  const inclusion = includeProjection(["a.b"]);
  expect(equal(inclusion, { _id: 1, a: [5, { b: 1 }] }, { _id: 1, a: [{ b: 1, c: 1 }] })).toBe(true);
  expect(equal(EVERYTHING, before, { ...before })).toBe(true);
});

test("fields may make as many names as the limit allows, and no more", () => {
  expect(show(includeProjection(["a.b", "a.c"], 3), { _id: 1, a: { b: 1, d: 1 } })).toEqual({
    _id: 1,
    a: { b: 1 },
  });
  // A path that is listed twice makes no new name.
  includeProjection(["a.b", "a.c", "a.b"], 3);
  const refused = expect.objectContaining({ code: "bad-request", details: { path: "d" } });
  expect(() => includeProjection(["a.b", "a.c", "d"], 3)).toThrow(refused);
});

test("the size of a projection counts the names of all levels", () => {
  expect(projectionSize(EVERYTHING)).toEqual({ nodes: 0, nameBytes: 0 });
  // With `_id`, which is always listed.
  expect(projectionSize(includeProjection(["a.bb", "a.cc"]))).toEqual({ nodes: 4, nameBytes: 16 });
});

test("a level with one listed field behaves as one with several", () => {
  const one = excludeProjection(["a.b"]);
  const { fields } = one;
  expect([fields.size, [...fields], fields.get("b")]).toEqual([1, [["a", fields.get("a")]], undefined]);
  expect(canonicalProjection(one)).toBe('+{"a"+{"b"-}}');
});

/** Nested objects, a field before each that is the same in all, and at the bottom `leaf`. */
function nested(depth: number, filler: string, leaf: number): object {
  return depth === 0 ? { leaf, hidden: leaf } : { filler, below: nested(depth - 1, filler, leaf) };
}

test("compares documents of 170 levels under a projection of 99", () => {
  const path = `${"below.".repeat(99)}hidden`;
  const projection = excludeProjection([path]);
  const [before, after] = [nested(99, "x", 1), nested(99, "x", 2)].map((document) =>
    BSON.serialize(document),
  );
  expect(projectedEqual(projection, before as Uint8Array, after as Uint8Array)).toBe(false);
  const deep = [nested(170, "x", 1), nested(170, "x", 1)].map((document) => BSON.serialize(document));
  expect(projectedEqual(projection, deep[0] as Uint8Array, deep[1] as Uint8Array)).toBe(true);
});

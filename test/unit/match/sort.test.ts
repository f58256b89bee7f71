import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { compileSort, parseSort } from "../../../src/match/sort.ts";
import type { SortSpec } from "../../../src/protocol/messages.ts";

function order(spec: SortSpec, values: readonly unknown[]): unknown[] {
  const sort = compileSort(spec);
  return values
    .map((a, _id) => ({ a, key: sort.key(BSON.serialize(a === undefined ? { _id } : { _id, a })) }))
    .sort((one, other) => sort.compare(one.key, other.key))
    .map(({ a }) => a);
}

test("an array stands for its least element upwards, its greatest downwards; an empty one is below null", () => {
  const values = [3, [1, 5], null, [], undefined, 2];
  expect(order([["a", 1]], values)).toEqual([[], null, undefined, [1, 5], 2, 3]);
  expect(order([["a", -1]], values)).toEqual([[1, 5], 3, 2, null, undefined, []]);
});

test("several paths through one array are taken from the same element", () => {
  const sort = compileSort([
    ["a.b", 1],
    ["a.c", -1],
  ]);
  const key = (a: unknown) => sort.key(BSON.serialize({ _id: 1, a }));
  const one = key([
    { b: 1, c: 1 },
    { b: 2, c: 9 },
  ]);
  expect(sort.compare(one, key({ b: 1, c: 1 }))).toBe(0);
  expect(sort.compare(one, key({ b: 1, c: 9 }))).toBeGreaterThan(0);
});

test("ties are broken by _id, ascending, unless _id is sorted anyway", () => {
  expect(order([["a", -1]], [1, 1, 2])).toEqual([2, 1, 1]);
  const sort = compileSort([["_id", -1]]);
  const [low, high] = [sort.key(BSON.serialize({ _id: 1 })), sort.key(BSON.serialize({ _id: 2 }))];
  expect(sort.compare(low, high)).toBeGreaterThan(0);
});

test("places even documents that the server refuses to sort, with two arrays beside each other", () => {
  const sort = compileSort([
    ["a", 1],
    ["b", 1],
  ]);
  const key = sort.key(BSON.serialize({ _id: 1, a: [3, 1], b: [2, 4] }));
  expect(sort.compare(key, sort.key(BSON.serialize({ _id: 1, a: 1, b: 2 })))).toBe(0);
});

test("a key holds no part of the document's buffer", () => {
  const document = Buffer.concat([BSON.serialize({ _id: 1, a: "x" })]);
  const sort = compileSort([["a", 1]]);
  const key = sort.key(document);
  document.fill(0);
  expect(sort.compare(key, sort.key(BSON.serialize({ _id: 1, a: "x" })))).toBe(0);
});

test.each<[string, unknown]>([
  ["no array", { a: 1 }],
  ["nothing", []],
  ["a path alone", ["a"]],
  ["a direction other than 1 and -1", [["a", 2]]],
  ["a third part", [["a", 1, 1]]],
  [
    "the same path twice",
    [
      ["a", 1],
      ["a", -1],
    ],
  ],
  ["an operator", [["$natural", 1]]],
  ["an empty part", [["a..b", 1]]],
])("refuses %s", (_name, input) => {
  expect(() => parseSort(input, 32)).toThrow(expect.objectContaining({ code: "bad-filter" }));
});

test("takes pairs of path and direction", () => {
  expect(
    parseSort(
      [
        ["a.b", 1],
        ["c", -1],
      ],
      2,
    ),
  ).toEqual([
    ["a.b", 1],
    ["c", -1],
  ]);
});

test("takes as many paths as limits.sortPaths says, and no more", () => {
  const paths = (count: number) => Array.from({ length: count }, (_, i) => [`a${i}`, 1]);
  expect(parseSort(paths(8), 8)).toHaveLength(8);
  expect(() => parseSort(paths(9), 8)).toThrow(
    expect.objectContaining({ code: "bad-filter", details: { limit: "sortPaths", value: 8 } }),
  );
});

import { BSON } from "mongodb";
import { expect, test, vi } from "vitest";
import { BSON_TYPE } from "../../../src/match/bson-value.ts";
import { compareValues } from "../../../src/match/compare.ts";
import { FieldPositions } from "../../../src/match/field-positions.ts";
import { compileSort, parseSort } from "../../../src/match/sort.ts";
import { compileSortValues } from "../../../src/match/sort-values.ts";
import type { SortSpec } from "../../../src/protocol/messages.ts";

function order(spec: SortSpec, values: readonly unknown[]): unknown[] {
  const sort = compileSort(spec);
  return values
    .map((a, _id) => ({ a, key: sort.key(BSON.serialize(a === undefined ? { _id } : { _id, a })) }))
    .sort((one, other) => sort.compare(one.key, other.key))
    .map(({ a }) => a);
}

test("an array sorts by its least element ascending and its greatest descending; an empty one is below null", () => {
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

test("a document that the server refuses to sort has each path's own first value, through arrays of every kind", () => {
  const spec: SortSpec = [
    ["a.b", 1],
    ["c", -1],
    ["a.0.d", -1],
    ["e.f.1", 1],
    ["e.f", -1],
    ["none.at.all", 1],
    ["g", 1],
  ];
  const objects = [{ b: 3, d: [1, 7] }, 5, { b: [9, 2], d: 4 }, [{ b: 1 }], { f: 1 }];
  const documents = [
    { a: objects, c: [3, 1], e: { f: [[4], [2, 9], 1] }, g: 5 },
    { a: [], c: [], e: [{ f: [1, 2] }, { f: [] }, { f: { 1: [8, 6] } }], g: [] },
    { a: [objects, objects], c: 1, e: [{ f: [[], [3, 1]] }, { 1: [{ f: 7 }] }], g: [[2], 1] },
  ];
  const together = compileSortValues(spec).of;
  const alone = spec.map((path) => compileSortValues([path]).of);
  for (const document of documents.map((one) => BSON.serialize(one))) {
    const expected = alone.flatMap((valuesOf) => valuesOf(document));
    for (const [i, value] of together(document).entries()) {
      const other = expected[i] ?? { type: BSON_TYPE.minKey, bytes: document, start: 0, end: 0 };
      expect([value.type, compareValues(value, other)], spec[i]?.[0]).toEqual([other.type, 0]);
    }
  }
});

test("a document that the server refuses to sort is read twice at most, however many paths there are", () => {
  const items = Array.from({ length: 200 }, (_, n) => ({ b: n, c: -n }));
  const document = BSON.serialize({ _id: 1, one: items, two: items });
  const scan = vi.spyOn(FieldPositions.prototype, "scan");
  const scansFor = (spec: SortSpec) => {
    const valuesOf = compileSortValues(spec).of;
    scan.mockClear();
    valuesOf(document);
    return scan.mock.calls.length;
  };
  const wide: SortSpec = ["one.b", "one.c", "two.b", "two.c", "one.d", "two.d", "one.b.e", "two.b.e"].map(
    (path) => [path, 1],
  );
  expect(scansFor(wide)).toBeLessThanOrEqual(2 * (1 + 2 * items.length));
  scan.mockRestore();
});

test("a sort key does not keep the buffer of its document in memory", () => {
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

test("accepts a sort given as pairs of path and direction", () => {
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

test("accepts limits.sortPaths paths and refuses one more", () => {
  const paths = (count: number) => Array.from({ length: count }, (_, i) => [`a${i}`, 1]);
  expect(parseSort(paths(8), 8)).toHaveLength(8);
  expect(() => parseSort(paths(9), 8)).toThrow(
    expect.objectContaining({ code: "bad-filter", details: { limit: "sortPaths", value: 8 } }),
  );
});

/** The growth of the work with documents and filters that were made to be expensive, counted by the bytes that are read. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { diffProjected } from "../../../src/match/delta.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { compilePathValues } from "../../../src/match/path-values.ts";
import { compilePath } from "../../../src/match/path-walk.ts";
import { EVERYTHING, excludeProjection } from "../../../src/match/projection.ts";
import type { Projection } from "../../../src/match/projection-fields.ts";
import { compileSortValues } from "../../../src/match/sort-values.ts";
import type { SortSpec } from "../../../src/protocol/messages.ts";
import { countReads } from "../../support/count-reads.ts";

/** How many bytes are read while `work` goes on with a document. */
function readsOf(document: object, work: (bytes: Uint8Array) => void): number {
  const { bytes, reads } = countReads(BSON.serialize(document));
  work(bytes);
  return reads();
}

/** Arrays of objects with the key `0`, in each other: an index in a path reads each level in two ways. */
function nested(levels: number, bottom: unknown): unknown {
  let value = bottom;
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? { 0: value } : [value, 7];
  return value;
}

const zeros = (parts: number) => `a${".0".repeat(parts)}`;

function matches(filter: object): (bytes: Uint8Array) => void {
  const test = compileFilter(
    parseFilter(filter, { regex: "prefix", maxPredicates: 1_000, maxValues: 10_000 }),
  );
  return (bytes) => expect(test(bytes)).toBe(false);
}

const walked = (path: string, expandsLeaf: boolean) => (bytes: Uint8Array) =>
  void compilePath(path, expandsLeaf)(bytes, 0, () => false);

const sorted = (spec: SortSpec) => (bytes: Uint8Array) => void compileSortValues(spec).of(bytes);

test.each<[string, (levels: number) => (bytes: Uint8Array) => void]>([
  ["a filter", (levels) => walked(zeros(levels), true)],
  ["a filter on arrays themselves", (levels) => walked(zeros(levels), false)],
  ["the values of a lookup", (levels) => (bytes) => void compilePathValues(zeros(levels)).of(bytes)],
  ["a sort", (levels) => sorted([[zeros(levels), 1]])],
  [
    "a sort by two paths",
    (levels) =>
      sorted([
        [zeros(levels), 1],
        [zeros(levels - 1), -1],
      ]),
  ],
])(
  "a path of indexes through nested arrays costs %s a power of the depth, not an exponential",
  (_name, workOf) => {
    const reads = [20, 40, 80].map((levels) => readsOf({ a: nested(levels, 5) }, workOf(levels)));
    // Elements × parts: at most 8 times as much for twice as many of both, with some room.
    expect(reads[1]).toBeLessThan(10 * (reads[0] ?? 0));
    expect(reads[2]).toBeLessThan(10 * (reads[1] ?? 0));
  },
);

test("a path through nested arrays finds the value at each of its ends", () => {
  const walk = compilePath(zeros(4), true);
  const found: number[] = [];
  const document = BSON.serialize({
    a: [{ 0: [{ 0: 1 }, { 0: [2, 3] }] }, { 0: { 0: { 0: { 0: 4 } } } }, [[[5]]]],
  });
  walk(document, 0, (type, bytes, at) => {
    if (type === 16) found.push(bytes[at] ?? 0);
    return false;
  });
  expect(found.sort()).toEqual([1, 2, 4]);
});

test("reads documents of 179 levels to the end", () => {
  let value: unknown = 5;
  for (let i = 0; i < 177; i++) value = i % 2 === 0 ? { 0: value } : [value];
  const document = BSON.serialize({ a: value });
  walked(zeros(98), true)(document);
  const test = compileFilter(parseFilter({ [zeros(8)]: "none" }, { regex: "prefix" }));
  expect(test(document)).toBe(false);
  expect(compileSortValues([[zeros(98), 1]]).of(document)).toHaveLength(1);
  const equal = compileFilter(parseFilter({ a: { $ne: 1 } }, { regex: "prefix" }));
  expect(equal(document)).toBe(true);
});

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

test.each<[string, SortSpec, (size: number) => object]>([
  ["sub-documents", [["a.b", 1]], (size) => ({ a: numbers(size).map((b) => ({ b })) })],
  [
    "sub-documents by an index that they lack",
    [["a.0.b", 1]],
    (size) => ({ a: numbers(size).map((b) => ({ b })) }),
  ],
  [
    "sub-documents by two paths",
    [
      ["a.b", 1],
      ["a.c", -1],
    ],
    (size) => ({ a: numbers(size).map((b) => ({ b, c: 1 })) }),
  ],
  ["values", [["a", -1]], (size) => ({ a: numbers(size) })],
  [
    "values, beside another path into them",
    [
      ["a", 1],
      ["a.b", 1],
    ],
    (size) => ({ a: numbers(size) }),
  ],
  ["values beside an array in the first", [["a.0", 1]], (size) => ({ a: [numbers(size), ...numbers(size)] })],
  [
    "objects beside an array in the first, with a path of their own",
    [
      ["a.0.x", 1],
      ["a.b", 1],
    ],
    (size) => ({ a: [numbers(size), ...numbers(size).map((b) => ({ b: size - b }))] }),
  ],
  [
    "arrays in the first of arrays, by two indexes",
    [["a.0.0", 1]],
    (size) => ({ a: [[numbers(size), ...numbers(size)], ...numbers(size)] }),
  ],
  [
    "sub-documents with arrays of sub-documents",
    [
      ["a.b.c", 1],
      ["a.b.d", -1],
    ],
    (size) => ({ a: numbers(size / 2).map((d) => ({ b: [{ c: d, d }, { c: -d }] })) }),
  ],
  [
    "sub-documents in the one sub-document of an array",
    [["a.b.0.c", 1]],
    (size) => ({ a: [{ b: numbers(size).map((c) => ({ 0: { c } })) }] }),
  ],
])("sorting through an array of %s costs as much as it is long", (_name, spec, documentOf) => {
  const [once = 0, twice = 0] = [400, 800].map((size) => readsOf(documentOf(size), sorted(spec)));
  expect(twice).toBeLessThan(2.6 * once);
});

test("sorting through 20,000 sub-documents costs each of them as much as sorting through 200", () => {
  const readsEach = (size: number) =>
    readsOf({ a: numbers(size).map((b) => ({ b: size - b })) }, sorted([["a.b", 1]])) / size;
  // The names of the items, which are their indexes, have five digits instead of three.
  expect(readsEach(20_000)).toBeLessThan(1.5 * readsEach(200));
});

test.each<[string, readonly string[], (size: number) => object]>([
  ["fields of their own", [], (size) => ({ a: numbers(size).map((b) => ({ 0: b })) })],
  ["eight indexes", [zeros(8)], (size) => ({ a: numbers(size).map((b) => ({ 0: b, b1: 1 })) })],
  ["eight indexes, into nested arrays", [zeros(8)], (size) => ({ a: numbers(size).map(() => nested(9, 5)) })],
])(
  "sorting by 32 paths, one of them with %s, reads a document little more often than by one",
  (_name, costly, documentOf) => {
    const spec = (count: number): SortSpec =>
      [...costly, ...numbers(32).map((i) => `a.b${i}`)].slice(0, count).map((path) => [path, 1]);
    const [one = 0, all = 0] = [1, 32].map((count) => readsOf(documentOf(400), sorted(spec(count))));
    expect(all).toBeLessThan(2 * one);
  },
);

const LISTS: readonly (readonly [name: string, filter: (values: readonly number[]) => object])[] = [
  ["$all", (values) => ({ a: { $all: values } })],
  ["$in", (values) => ({ a: { $in: values } })],
  ["$nin", (values) => ({ a: { $not: { $nin: values } } })],
  ["$all in $elemMatch", (values) => ({ a: { $elemMatch: { $all: values } } })],
  [
    "$all of the same value in $elemMatch",
    (values) => ({ a: { $elemMatch: { $all: values.map(() => -1) } } }),
  ],
  ["$in in $elemMatch", (values) => ({ a: { $elemMatch: { $in: values } } })],
  ["$not $in in $elemMatch", (values) => ({ a: { $not: { $elemMatch: { $not: { $nin: values } } } } })],
];

test.each(LISTS)(
  "%s with 980 values walks an array of 1,000 numbers as often as with one value",
  (_name, filterOf) => {
    const document = { a: numbers(1_000) };
    const reads = [1, 980].map((count) => {
      const values = numbers(count).map((value) => -1 - value);
      const { bytes, reads: total } = countReads(BSON.serialize(document));
      compileFilter(parseFilter(filterOf(values), { regex: "prefix" }))(bytes);
      return total();
    });
    expect(reads[1]).toBeLessThanOrEqual(1.5 * (reads[0] ?? 0));
  },
);

test("$all with 980 texts reads an array of texts little more often than with one", () => {
  const texts = (count: number, letter: string) => numbers(count).map((i) => `${letter}${i}`);
  const document = { a: texts(1_000, "x") };
  const reads = [1, 980].map((count) => readsOf(document, matches({ a: { $all: texts(count, "y") } })));
  // A binary search compares ten times, mostly the first bytes.
  expect(reads[1]).toBeLessThan(8 * (reads[0] ?? 0));
});

/** Objects in each other, with 30 numbers in each. */
function nestedObjects(levels: number, value: number, bottom: number): object {
  let object: object = { x: bottom };
  for (let i = 0; i < levels; i++) {
    object = { ...Object.fromEntries(numbers(30).map((k) => [`k${k}`, value + k])), deeper: object };
  }
  return object;
}

test.each<[string, Projection, number]>([
  ["in which everything changed", EVERYTHING, 2],
  [
    "in which the innermost changed, beside a hidden field",
    excludeProjection([`${"deeper.".repeat(62)}hidden`]),
    1,
  ],
])("the difference of nested objects %s costs as much as they are large", (_name, projection, value) => {
  const [once = 0, twice = 0] = [30, 60].map((levels) => {
    // Not a Buffer, so that native code gets a buffer of its own. It counts nothing, and is quick.
    const counted = (object: object) => countReads(new Uint8Array(BSON.serialize(object)));
    const before = counted(nestedObjects(levels, 1, 1));
    const after = counted(nestedObjects(levels, value, 2));
    diffProjected(projection, before.bytes, after.bytes, "json");
    return before.reads() + after.reads();
  });
  expect(twice).toBeLessThan(2.6 * once);
});

import { expect, test } from "vitest";
import { andFilters, canonicalFilter } from "../../../src/match/canonical-filter.ts";
import { filterPaths } from "../../../src/match/filter-paths.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";

const parse = (input: unknown) => parseFilter(input, { regex: "prefix" });
const canonical = (input: unknown) => canonicalFilter(parse(input));

test.each<[string, unknown, unknown]>([
  ["the order of keys", { a: 1, b: 2 }, { b: 2, a: 1 }],
  ["the order of operators", { a: { $gt: 1, $lt: 5 } }, { a: { $lt: 5, $gt: 1 } }],
  ["$and said or left out", { a: 1, b: 2 }, { $and: [{ b: 2 }, { a: 1 }] }],
  ["nested $and", { $and: [{ $and: [{ a: 1 }] }, { b: 2 }] }, { a: 1, b: 2 }],
  ["$eq said or left out", { a: 1 }, { a: { $eq: 1 } }],
  ["repetitions", { $and: [{ a: 1 }, { a: 1 }] }, { a: 1 }],
  ["the order of branches", { $or: [{ a: 1 }, { b: 1 }] }, { $or: [{ b: 1 }, { a: 1 }] }],
  ["$or of one", { $or: [{ a: 1 }] }, { a: 1 }],
  ["the order of listed values", { a: { $in: [1, 2, 2] } }, { a: { $in: [2, 1] } }],
  ["$in of one", { a: { $in: [1] } }, { a: 1 }],
  ["$nin of one", { a: { $nin: [1] } }, { a: { $ne: 1 } }],
  ["$ne and $not $eq", { a: { $ne: 1 } }, { a: { $not: { $eq: 1 } } }],
  ["the type of a number", { a: 1 }, { a: { $numberDecimal: "1.00" } }],
  ["-0 and 0", { a: { $gt: 0 } }, { a: { $gt: { $numberDouble: "-0.0" } } }],
  ["$all of one", { a: { $all: [1] } }, { a: 1 }],
  ["$exists by any truth", { a: { $exists: 1 } }, { a: { $exists: true } }],
  ["the order of types", { a: { $type: ["int", 2] } }, { a: { $type: ["string", "int", 16] } }],
])("treats filters that differ only in %s as equal", (_name, one, other) => {
  expect(canonical(one)).toBe(canonical(other));
});

test("distinguishes filters that match different documents", () => {
  const filters: unknown[] = [
    {},
    { a: 1 },
    { a: "1" },
    { a: null },
    { a: true },
    { a: 2 },
    { b: 1 },
    { a: [1] },
    { a: { b: 1, c: 2 } },
    { a: { c: 2, b: 1 } },
    { a: { $gt: 1 } },
    { a: { $gte: 1 } },
    { a: { $in: [1, 2] } },
    { a: { $in: [12] } },
    { a: { $in: ["1,2"] } },
    { a: { $in: [] } },
    { a: { $all: [1, 2] } },
    { a: { $all: [[1, 2]] } },
    { a: { $exists: true } },
    { a: { $exists: false } },
    { a: { $elemMatch: { b: 1 } } },
    { "a.b": 1 },
    { a: { $elemMatch: { $eq: 1 } } },
    { a: { $elemMatch: {} } },
    { $or: [{ a: 1 }, { b: 1 }] },
    { $nor: [{ a: 1 }, { b: 1 }] },
    { $nor: [{ a: 1 }] },
    { a: 1, b: 1 },
    { $or: [{ a: 1, b: 1 }, { c: 1 }] },
    { a: 1, $or: [{ b: 1 }, { c: 1 }] },
    { a: { $not: { $gt: 1, $lt: 0 } } },
    { a: { $not: { $gt: 1 } }, $and: [{ a: { $not: { $lt: 0 } } }] },
    { a: { $regex: "^a" } },
    { a: "^a" },
    { 'a"': 1 },
    { a: { $oid: "65a000000000000000000001" } },
    { a: "65a000000000000000000001" },
    { a: 0.1 },
    { a: { $numberDecimal: "0.1" } },
    { a: { $size: 1 } },
    { a: { $mod: [2, 1] } },
    { a: { $mod: [2, 11] } },
  ];
  const texts = filters.map(canonical);
  for (const [i, text] of texts.entries()) {
    expect(filters[texts.indexOf(text)], text).toBe(filters[i]);
  }
});

test("filters joined by and are the same as one that was written so", () => {
  expect(canonicalFilter(andFilters(parse({ a: 1 }), parse({ b: 2 })))).toBe(canonical({ a: 1, b: 2 }));
  expect(canonicalFilter(andFilters(parse({}), parse({ b: 2 })))).toBe(canonical({ b: 2 }));
});

test("lists every path that a predicate reads", () => {
  const filter = {
    a: 1,
    $or: [{ "b.c": { $gt: 1, $lt: 2 } }, { $nor: [{ d: { $not: { $exists: true } } }] }],
    e: { $elemMatch: { f: 1, "g.h": { $elemMatch: { i: 1 } } } },
    j: { $elemMatch: { $gt: 1 } },
    k: { $elemMatch: {} },
    l: { $not: { $elemMatch: { m: 1 } } },
    n: { $all: [{ $elemMatch: { o: 1 } }] },
  };
  const expected = ["a", "b.c", "d", "e.f", "e.g.h.i", "j", "k", "l.m", "n.o"];
  expect([...filterPaths(parseFilter(filter, { regex: "prefix" }))].sort()).toEqual(expected);
});

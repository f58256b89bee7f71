import { expect, test } from "vitest";
import { filterWork, queryWork } from "../../../src/match/filter-work.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { includeProjection } from "../../../src/match/projection.ts";
import { requestBytes } from "../../../src/match/request-cost.ts";

const parse = (filter: object) =>
  parseFilter(filter, { regex: "subset", maxPredicates: 1_000, maxValues: 10_000 });
const NOTHING = { filter: parse({}), projection: null, sort: null };

test("a request costs more memory with each value, field and sorted path", () => {
  const list = (length: number) => parse({ a: { $in: Array.from({ length }, (_, i) => i) } });
  const bytes = [1, 10, 100, 1_000].map((length) => requestBytes({ ...NOTHING, filter: list(length) }));
  expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
  expect(bytes[3]).toBeGreaterThan(100_000);
  const fields = (count: number) =>
    requestBytes({
      ...NOTHING,
      projection: includeProjection(Array.from({ length: count }, (_, i) => `a.b${i}`)),
    });
  expect(fields(100)).toBeGreaterThan(fields(10) + 90 * 50);
  expect(requestBytes({ ...NOTHING, sort: [["a", 1]] })).toBeGreaterThan(requestBytes(NOTHING));
});

test("charges the cost of long text in a filter", () => {
  const text = "x".repeat(50_000);
  expect(requestBytes({ ...NOTHING, filter: parse({ a: text }) })).toBeGreaterThan(50_000);
  expect(requestBytes({ ...NOTHING, filter: parse({ a: { $not: { $all: [text] } } }) })).toBeGreaterThan(
    50_000,
  );
  expect(requestBytes({ ...NOTHING, filter: parse({ a: { $elemMatch: { b: text } } }) })).toBeGreaterThan(
    50_000,
  );
});

test("the work of a filter grows with its predicates, and $elemMatch multiplies it", () => {
  const work = (filter: object) => filterWork(parse(filter));
  const predicates = (count: number) => ({ $or: Array.from({ length: count }, (_, i) => ({ a: i })) });
  expect(work(predicates(100))).toBeGreaterThan(9 * work(predicates(10)));
  expect(work({ a: { $elemMatch: { b: 1, c: 1 } } })).toBeGreaterThan(8 * work({ b: 1, c: 1 }));
  const nested = { a: { $elemMatch: { b: { $elemMatch: { c: { $elemMatch: { d: 1 } } } } } } };
  expect(work(nested)).toBeGreaterThan(work({ a: { $elemMatch: { b: 1 } } }));
  expect(work(nested)).toBeLessThan(10_000);
});

test("a list of a thousand values costs little more work than one of ten, because a list is a set", () => {
  const list = (length: number) => filterWork(parse({ a: { $all: Array.from({ length }, (_, i) => i) } }));
  expect(list(1_000)).toBeGreaterThan(list(10));
  expect(list(1_000)).toBeLessThan(4 * list(10));
});

test("the work of a sort grows with its paths, and with parts that may be indexes of arrays", () => {
  const work = (...paths: string[]) => queryWork({ filter: parse({}), sort: paths.map((path) => [path, 1]) });
  const paths = (count: number) => Array.from({ length: count }, (_, i) => `a.b${i}`);
  expect(queryWork({ filter: parse({ a: 1 }), sort: null })).toBe(filterWork(parse({ a: 1 })));
  expect(work(...paths(8))).toBeGreaterThan(7 * work("a.b"));
  expect(work("a.0.0.0.0.0.0.0.0")).toBeGreaterThan(5 * work("a.b.b.b.b.b.b.b.b"));
});

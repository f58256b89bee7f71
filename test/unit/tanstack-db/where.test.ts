/** Conditions of TanStack DB as filters: each matches at least what the condition matches. */
import { and, eq, gt, IR, inArray, isNull, like, lte, not, or } from "@tanstack/db";
import { expect, test } from "vitest";
import { filtersOf } from "../../../src/tanstack-db/where.ts";

const { PropRef } = IR;
const field = (...path: string[]) => new PropRef(path) as never;
const DATE = "2026-01-02T03:04:05.006Z";
const INFINITE = ["NaN", "Infinity", "-Infinity"].map(($numberDouble) => ({ $numberDouble }));
const MANY = Array.from({ length: 1_000 }, (_, at) => at);
const ID = "65a5b1c2d3e4f5a6b7c8d901";

test.each<[string, ReturnType<typeof eq>, object]>([
  ["equality", eq(field("status"), "open" as never), { status: { $eq: "open" } }],
  ["a nested path", eq(field("customer", "name"), "Ada" as never), { "customer.name": { $eq: "Ada" } }],
  ["text that may be an ObjectId", eq(field("_id"), ID as never), { _id: { $in: [ID, { $oid: ID }] } }],
  [
    "a range",
    and(gt(field("n"), 1 as never), lte(field("n"), 5 as never)),
    { $and: [{ n: { $gt: 1 } }, { n: { $lte: 5 } }] },
  ],
  ["a list", inArray(field("n"), [1, 2] as never), { n: { $in: [1, 2] } }],
  [
    "alternatives",
    or(eq(field("n"), 1 as never), eq(field("m"), 2 as never)),
    { $or: [{ n: { $eq: 1 } }, { m: { $eq: 2 } }] },
  ],
  [
    "a negation, with the types that MongoDB compares otherwise",
    not(eq(field("n"), 1 as never)),
    { $or: [{ $nor: [{ n: { $eq: 1 } }] }, { n: { $type: ["array", "decimal"] } }] },
  ],
  ["a double negation", not(not(eq(field("n"), 1 as never))), { n: { $eq: 1 } }],
  [
    "a range of text, with the types that are text in the page",
    gt(field("t"), "b" as never),
    {
      $or: [
        { t: { $gt: "b" } },
        { t: { $type: ["objectId", "date", "binData", "decimal", "long", "regex"] } },
      ],
    },
  ],
  [
    "a range of dates",
    lte(field("t"), DATE as never),
    {
      $or: [
        { t: { $lte: DATE } },
        { t: { $lte: { $date: DATE } } },
        { t: { $type: ["objectId", "binData", "decimal", "long", "regex"] } },
      ],
    },
  ],
  [
    "a range of text that JavaScript and MongoDB sort otherwise",
    lte(field("t"), "\uff5e" as never),
    { t: { $type: ["string", "objectId", "date", "binData", "decimal", "long", "regex"] } },
  ],
  ["a missing value", isNull(field("n")), { n: { $in: [null, ...INFINITE] } }],
  [
    "a part that the service cannot evaluate",
    and(eq(field("n"), 1 as never), like(field("t"), "%a%" as never)),
    { n: { $eq: 1 } },
  ],
  [
    "an alternative that the service cannot evaluate",
    or(eq(field("n"), 1 as never), like(field("t"), "%a%" as never)),
    {},
  ],
  [
    "a negation of what the service cannot evaluate",
    not(and(eq(field("n"), 1 as never), like(field("t"), "%a%" as never))),
    {},
  ],
  [
    "a list of more values than a filter has, in an alternative",
    or(eq(field("n"), 1 as never), inArray(field("n"), MANY as never)),
    {},
  ],
  ["a path that is no path of MongoDB", eq(field("a.b"), 1 as never), {}],
])("%s", (_name, where, filter) => {
  expect(filtersOf(where as never, "json")).toEqual([filter]);
});

test("without a condition, everything is loaded; in Extended JSON text is text", () => {
  expect(filtersOf(undefined, "json")).toEqual([{}]);
  expect(filtersOf(eq(field("_id"), ID as never) as never, "ejson")).toEqual([{ _id: { $eq: ID } }]);
});

test("the many keys of a join are several filters, because a filter has at most 1,000 values", () => {
  const keys = inArray(field("_id"), MANY as never);
  const filters = filtersOf(keys as never, "json") as { _id: { $in: number[] } }[];
  expect(filters.map(({ _id }) => _id.$in.length)).toEqual([400, 400, 200]);
  expect(filters.flatMap(({ _id }) => _id.$in)).toEqual(MANY);
  const narrowed = filtersOf(and(keys, eq(field("n"), 1 as never)) as never, "json");
  expect(narrowed).toEqual(filters.map((filter) => ({ $and: [{ n: { $eq: 1 } }, filter] })));
});

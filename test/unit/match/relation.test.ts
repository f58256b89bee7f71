import { expect, test } from "vitest";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { excludeProjection, includeProjection } from "../../../src/match/projection.ts";
import {
  compareFilters,
  compareProjections,
  joinRelations,
  type Relation,
} from "../../../src/match/relation.ts";

const filter = (input: object) =>
  parseFilter(input, { regex: "prefix", maxDepth: 50, maxPredicates: 10_000, maxValues: 10_000 });
const INVERSE = { equal: "equal", other: "other", narrower: "wider", wider: "narrower" } as const;

/** The property tests check against documents that it never claims too much; these cases check that it claims enough. */
const EDITS: readonly (readonly [string, object, object, Relation])[] = [
  ["nothing", { a: 1 }, { $and: [{ a: { $in: [1] } }] }, "equal"],
  ["a condition more", { a: 1 }, { a: 1, b: 2 }, "narrower"],
  ["a condition where there was none", {}, { a: 1 }, "narrower"],
  ["a value of a list less", { a: { $in: [1, 2, 3] } }, { a: { $in: [1, 3] } }, "narrower"],
  ["one value of a list", { a: { $in: [1, 2] } }, { a: 2 }, "narrower"],
  ["another value", { a: 1 }, { a: 2 }, "other"],
  ["more that is not allowed", { a: { $ne: 1 } }, { a: { $nin: [1, 2] } }, "narrower"],
  ["a smaller range", { a: { $gte: 1 } }, { a: { $gt: 1 } }, "narrower"],
  ["a range of another type", { a: { $gte: 1 } }, { a: { $gte: "1" } }, "other"],
  ["a value in the range", { a: { $lt: 5 } }, { a: { $in: [1, 2] } }, "narrower"],
  ["a value beside the range", { a: { $lt: 5 } }, { a: { $in: [1, 5] } }, "other"],
  ["not a number", { a: { $lt: 5 } }, { a: { $numberDouble: "NaN" } }, "other"],
  ["a branch more", { $or: [{ a: 1 }, { b: 1 }] }, { $or: [{ a: 1 }, { b: 1 }, { c: 1 }] }, "wider"],
  [
    "a condition in every branch",
    { $or: [{ a: 1 }, { b: 1 }] },
    {
      $or: [
        { a: 1, c: 1 },
        { b: 1, c: 1 },
      ],
    },
    "narrower",
  ],
  ["an exception more", { $nor: [{ a: 1 }] }, { $nor: [{ a: 1 }, { b: 1 }] }, "narrower"],
  ["a smaller exception", { $nor: [{ a: 1 }] }, { $nor: [{ a: 1, b: 1 }] }, "wider"],
  ["both", { a: 1, b: 1 }, { a: 1, c: 1 }, "other"],
  ["more of an element", { a: { $elemMatch: { b: 1 } } }, { a: { $elemMatch: { b: 1, c: 1 } } }, "narrower"],
  ["the negation of less", { a: { $not: { $gt: 5 } } }, { a: { $not: { $gt: 3 } } }, "narrower"],
  ["a type more", { a: { $type: "int" } }, { a: { $type: ["int", "string"] } }, "wider"],
  ["an element more", { a: { $all: [1] } }, { a: { $all: [1, 2] } }, "narrower"],
];

test.each(EDITS)("an edit by %s, there and back", (_name, from, to, relation) => {
  expect(compareFilters(filter(from), filter(to))).toBe(relation);
  expect(compareFilters(filter(to), filter(from))).toBe(INVERSE[relation]);
});

test("gives up on a comparison that would take too long", () => {
  const branches = (depth: number, tag: string): object =>
    depth === 0 ? { [tag]: 1 } : { $or: [branches(depth - 1, `${tag}a`), branches(depth - 1, `${tag}b`)] };
  const all = (tag: string) => filter({ $and: [0, 1, 2, 3].map((n) => branches(8, `${tag}${n}`)) });
  expect(compareFilters(all("x"), all("y"))).toBe("other");
});

test("compares projections of which one hides or shows further fields", () => {
  const one = excludeProjection(["margin"]);
  const two = excludeProjection(["margin", "notes.internal"]);
  expect(compareProjections(one, two)).toBe("narrower");
  expect(compareProjections(two, one)).toBe("wider");
  expect(compareProjections(two, excludeProjection(["notes.internal", "margin"]))).toBe("equal");
  expect(compareProjections(two, excludeProjection(["notes"]))).toBe("other");
  expect(compareProjections(one, includeProjection(["total", "margin"]))).toBe("other");
  expect(compareProjections(one, includeProjection(["total"]))).toBe("narrower");
});

test("combines two relations only where they agree", () => {
  expect(joinRelations("equal", "wider")).toBe("wider");
  expect(joinRelations("narrower", "equal")).toBe("narrower");
  expect(joinRelations("narrower", "narrower")).toBe("narrower");
  expect(joinRelations("narrower", "wider")).toBe("other");
});

test("recognizes the common parts of two filters at once, however many there are", () => {
  const own = Array.from({ length: 900 }, (_, i) => ({ [`f${i}`]: { $gte: i } }));
  const joined = (rule: object) =>
    parseFilter({ $and: [rule, ...own] }, { regex: "prefix", maxPredicates: 1_000 });
  // Pair by pair this would be 400,000 steps, after which the question is given up.
  expect(compareFilters(joined({ n: { $gt: 1 } }), joined({ n: { $gt: 2 } }))).toBe("narrower");
});

import { expect, test } from "vitest";
import { createIndexLine, indexFields } from "../../../src/match/index-advice.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";

const fields = (filter: object) => indexFields(parseFilter(filter, { regex: "subset" }));

test.each([
  [{ at: { $gt: 1 }, userId: "ada" }, ["userId", "at"]],
  [{ $and: [{ a: 1 }, { b: { $in: [1, 2] } }] }, ["a", "b"]],
  [{ a: 1, b: 2, c: 3, d: 4 }, ["a", "b", "c"]],
  [{ x: { $gt: 1 }, y: { $lt: 2 } }, ["x"]],
  [{ $or: [{ a: 1 }, { b: 1 }] }, []],
  [{ a: { $ne: 1 } }, []],
  [{ _id: 1, a: 1 }, []],
  [{}, []],
])("advises for %j an index on %j", (filter, expected) => {
  expect(fields(filter)).toEqual(expected);
});

test("writes the command of the shell, with names that need quotes in quotes", () => {
  const filter = parseFilter({ "a.b": 1, c: 2 }, { regex: "subset" });
  expect(createIndexLine("shop", "my orders", filter)).toBe(
    'db.getSiblingDB("shop").getCollection("my orders").createIndex({ "a.b": 1, c: 1 })',
  );
});

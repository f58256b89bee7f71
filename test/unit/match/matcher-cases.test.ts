import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { MATCHER_CASES } from "./matcher-cases.ts";

const { EJSON } = BSON;

test.each(MATCHER_CASES)("%j on %j: %s", (filter, document, expected) => {
  const bytes = BSON.serialize(EJSON.parse(JSON.stringify(document), { relaxed: false }));
  expect(compileFilter(parseFilter(filter, { regex: "subset" }))(bytes)).toBe(expected);
});

test("treats a field named __proto__ as an ordinary field", () => {
  // Made by hand, because EJSON's own objects lose the name.
  const document = BSON.serialize(new Map([["__proto__", 1]]));
  const matcher = (filter: unknown) => compileFilter(parseFilter(filter, { regex: "prefix" }));
  expect(matcher(JSON.parse('{"__proto__": 1}'))(document)).toBe(true);
  expect(matcher(JSON.parse('{"__proto__": {"$gt": 1}}'))(document)).toBe(false);
});

import { expect, test } from "vitest";
import { Collections, Limits } from "../../../src/config/config-schema.ts";
import type { QueryRequest } from "../../../src/rules/authorize.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";
import { ParsedRequests } from "../../../src/rules/parsed-requests.ts";

const limitsOf = (limits: object) =>
  compileRules({
    mongodb: { database: "shop" },
    collections: Collections.parse({ orders: { rules: [{ name: "all" }] } }),
    limits: Limits.parse(limits),
  }).limits;

const LIMITS = limitsOf({});
const requests = new ParsedRequests();
const parse = (request: QueryRequest, limits = LIMITS) =>
  requests.parse(request, limits, JSON.stringify(request));
const open = (filter: Record<string, unknown>): QueryRequest => ({ collection: "orders", filter });

test("equal requests are parsed once, others for themselves", () => {
  const parsed = parse(open({ status: "open" }));
  expect(parse(open({ status: "open" }))).toBe(parsed);
  expect(parse(open({ status: "late" }))).not.toBe(parsed);
  expect(parse({ ...open({ status: "open" }), snapshot: false }).snapshot).toBe(false);
});

test("a number beyond the range of a double is not taken for null", () => {
  const infinite = parse(JSON.parse('{"collection":"orders","filter":{"n":1e400}}'));
  const nothing = parse(JSON.parse('{"collection":"orders","filter":{"n":null}}'));
  expect(infinite.filter).not.toEqual(nothing.filter);
  expect(parse(JSON.parse('{"collection":"orders","filter":{"n":1e400}}')).filter).toEqual(infinite.filter);
});

test("a refused request is refused each time, and an edit of the limits applies to all requests", () => {
  for (let time = 0; time < 2; time++)
    expect(() => parse(open({ $where: "1" }))).toThrow(expect.objectContaining({ code: "bad-filter" }));
  const deep = open({ $and: [{ $or: [{ a: 1 }] }] });
  parse(deep);
  expect(() => parse(deep, limitsOf({ filterDepth: 1 }))).toThrow(
    expect.objectContaining({ code: "bad-filter" }),
  );
  expect(parse(deep)).toBeDefined();
});

test("long requests are not kept, and of the others the newest 1,000", () => {
  const long = open({ text: "x".repeat(1_100) });
  expect(parse(long)).not.toBe(parse(long));
  const first = parse(open({ n: -1 }));
  for (let n = 0; n < 999; n++) parse(open({ n }));
  expect(parse(open({ n: -1 }))).toBe(first);
  parse(open({ n: 1_000 }));
  expect(parse(open({ n: -1 }))).not.toBe(first);
});

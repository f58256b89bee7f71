import { BSONRegExp, Code } from "mongodb";
import { expect, test } from "vitest";
import { bindFilter, isBindable } from "../../../src/match/bind-filter.ts";
import { BSON_TYPE, fromJs } from "../../../src/match/bson-value.ts";
import { parseFilter, parseFilterTemplate } from "../../../src/match/parse-filter.ts";
import { plainFilter } from "../../support/plain-filter.ts";

const placeholder = (text: string) => (text.startsWith("%%") ? { placeholder: text } : undefined);

function bind(input: unknown, claims: Record<string, unknown>): unknown {
  const template = parseFilterTemplate(input, { regex: "subset", placeholder });
  const filter = bindFilter(template, {
    one: ({ placeholder: text }) => fromJs(claims[text]),
    many: ({ placeholder: text }) => (claims[text] as unknown[]).map(fromJs),
  });
  return plainFilter(filter);
}

test("inserts one value or a list into every kind of placeholder position", () => {
  const input = {
    a: "%%x",
    b: { $in: "%%list" },
    c: { $nin: ["%%x", "y"] },
    $or: [
      { d: { $not: { $gte: "%%x" } } },
      { e: { $elemMatch: { f: "%%x" } } },
      { g: { $elemMatch: { $lt: "%%x" } } },
    ],
  };
  const plain = {
    a: "X",
    b: { $in: ["p", "q"] },
    c: { $nin: ["X", "y"] },
    $or: [
      { d: { $not: { $gte: "X" } } },
      { e: { $elemMatch: { f: "X" } } },
      { g: { $elemMatch: { $lt: "X" } } },
    ],
  };
  expect(bind(input, { "%%x": "X", "%%list": ["p", "q"] })).toEqual(
    plainFilter(parseFilter(plain, { regex: "prefix" })),
  );
});

test("a claim that looks like an operator is refused, not executed", () => {
  const refused = expect.objectContaining({ code: "bad-filter" });
  for (const value of [{ $ne: null }, { a: [{ $gt: 1 }] }, new BSONRegExp(".*", "")]) {
    expect(() => bind({ a: "%%x" }, { "%%x": value })).toThrow(refused);
    expect(() => bind({ a: { $in: "%%x" } }, { "%%x": [1, value] })).toThrow(refused);
    expect(isBindable(fromJs(value))).toBe(false);
  }
  expect(isBindable({ type: BSON_TYPE.undefined, bytes: Buffer.alloc(0), start: 0, end: 0 })).toBe(false);
  const notUtf8 = { type: BSON_TYPE.string, bytes: Buffer.of(2, 0, 0, 0, 0xff, 0), start: 0, end: 6 };
  expect(isBindable(notUtf8)).toBe(false);
  expect(isBindable(fromJs(new Code("f()")))).toBe(false);
  expect(isBindable(fromJs({ a: [{ b$: "$x" }] }))).toBe(true);
});

/**
 * What `find` answers (mongod 6.0.5), case by case: found by the differential tests, or wrong in well-known libraries.
 * A new find of the fuzzer is added here before it is mended.
 */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";

const { EJSON } = BSON;

function matches(filter: unknown, document: unknown): boolean {
  const bytes = BSON.serialize(EJSON.parse(JSON.stringify(document), { relaxed: false }));
  return compileFilter(parseFilter(filter, { regex: "subset" }))(bytes);
}

const oid = { $oid: "65a000000000000000000001" };
const decimal = (text: string) => ({ $numberDecimal: text });
const double = (text: string) => ({ $numberDouble: text });
const long = (text: string) => ({ $numberLong: text });

test.each<[filter: unknown, document: unknown, expected: boolean]>([
  [{ a: { $all: [1] } }, { a: 1 }, true],
  [{ a: { $all: [] } }, {}, false],
  [{ a: { $all: [] } }, { a: [] }, false],
  [{ a: { $type: "string" } }, { a: ["x"] }, true],
  [{ a: { $not: { $type: "number" } } }, { a: [1] }, false],
  [{ a: { $type: "array" } }, { a: [] }, true],
  [{ a: { $elemMatch: { b: 3 } } }, { a: [3] }, false],
  [{ a: { $elemMatch: {} } }, { a: [3] }, false],
  [{ a: { $elemMatch: {} } }, { a: [[]] }, true],
  [{ a: { $elemMatch: { 0: 5 } } }, { a: [[5]] }, true],
  [{ a: { $elemMatch: { $gt: 1, $lt: 3 } } }, { a: [0, 4] }, false],
  [{ a: { $gt: 1, $lt: 3 } }, { a: [0, 4] }, true],
  [{ a: { $mod: [2, 0] } }, { a: "" }, false],
  [{ a: { $mod: [2, 0] } }, { a: null }, false],
  [{ a: { $mod: [2, -1] } }, { a: -3 }, true],
  [{ a: { $mod: [4, 2] } }, { a: 6.9 }, true],
  [{ a: { $mod: [-1, 0] } }, { a: long("-9223372036854775808") }, true],
  [{ a: { $mod: [2, 0] } }, { a: double("NaN") }, false],
  [{ a: { $mod: [2, 0] } }, { a: 1e19 }, false],
  [{ "a.b": { $gte: 0, $lt: 2 } }, { a: ["", [0, "a"]] }, false],
  [{ a: { $regex: "a" } }, { a: [0, [1, "a"]] }, false],
  [{ "a.1": null }, { a: [] }, false],
  [{ "a.b": [] }, { a: [] }, false],
  [{ "a.b": { $size: 0 } }, { a: [] }, false],
  [{ "a.b.0": { $exists: false } }, { a: [] }, true],
  [{ "a.b": { $gte: null } }, {}, true],
  [{ "a.b": null }, { a: 5 }, true],
  [{ "a.b": null }, { a: [5] }, false],
  [{ "a.b": null }, { a: [{ c: 1 }] }, true],
  [{ "a.0": null }, { a: [{ b: 1 }] }, true],
  [{ a: { $in: [[], "b"] } }, { a: [] }, true],
  [{ a: { $gt: [] } }, { a: ["b"] }, true],
  [{ a: decimal("1.5") }, { a: 1.5 }, true],
  [{ a: 0.1 }, { a: decimal("0.1") }, false],
  [{ a: { $lt: 0.1 } }, { a: decimal("0.1000000000000000055511151231257827") }, true],
  [{ a: { $gt: 0.1 } }, { a: decimal("0.1000000000000000055511151231257828") }, true],
  [{ a: long("9007199254740993") }, { a: 9007199254740992 }, false],
  [{ a: { $gt: 9007199254740992 } }, { a: long("9007199254740993") }, true],
  [{ a: { $gte: 0 } }, { a: double("NaN") }, false],
  [{ a: { $lte: 0 } }, { a: double("NaN") }, false],
  [{ a: { $gte: double("NaN") } }, { a: decimal("NaN") }, true],
  [{ a: double("NaN") }, { a: decimal("NaN") }, true],
  [{ a: double("-0.0") }, { a: decimal("0E+6111") }, true],
  [{ a: { $lt: double("Infinity") } }, { a: decimal("9E+6000") }, true],
  [{ a: { $eq: "b" } }, { a: [2, ["b"]] }, false],
  [{ "a.0": "A" }, { a: "A" }, false],
  [{ a: { $in: [{ b: null }] } }, { a: { c: 1 } }, false],
  [{ a: { $gte: null } }, { a: [] }, false],
  [{ a: { $in: [null] } }, {}, true],
  [{ "m.0.uid": { $ne: null } }, { m: [{ uid: 1 }] }, false],
  [{ "tags.0": { $ne: null } }, { tags: [] }, true],
  [{ a: { $ne: 1 } }, { a: [1, 2] }, false],
  [{ a: { $not: { $lt: "a" } } }, { a: oid }, true],
  [{ a: { $gt: "\uff5e" } }, { a: "\u{1f600}" }, true],
  [{ a: { $gt: { $minKey: 1 } } }, {}, true],
  [{ a: { $lt: { $maxKey: 1 } } }, {}, true],
  [{ a: { $lt: { $maxKey: 1 } } }, { a: { $maxKey: 1 } }, false],
  [{ a: { b: 1, c: 2 } }, { a: { c: 2, b: 1 } }, false],
  [{ a: { b: 1 } }, { a: { b: long("1") } }, true],
  [{ a: { $lt: { b: 2 } } }, { a: { z: 1 } }, false],
  [{ a: { $lt: { b: "x" } } }, { a: { z: 1 } }, true],
  [
    { a: { $gt: { $binary: { base64: "//8=", subType: "00" } } } },
    { a: { $binary: { base64: "AAAA", subType: "00" } } },
    true,
  ],
  [{ a: { $exists: null } }, {}, true],
  [{ a: { $exists: 0 } }, { a: 1 }, false],
  [{ a: { $exists: [] } }, { a: null }, true],
  [{ "a.0.0": 1 }, { a: [[1]] }, true],
  [{ "a.0": 1 }, { a: [[1]] }, false],
  [{ "a.0": [1] }, { a: [[1]] }, true],
  [{ "a.0.b": 1 }, { a: [{ b: 1 }, { b: 2 }] }, true],
  [{ "a.00": 1 }, { a: [1] }, false],
  [{ $nor: [{ a: 1 }, { b: 1 }] }, { a: 2, b: 2 }, true],
  [{ a: { $all: [{ $elemMatch: { b: 1 } }, { $elemMatch: { b: 2 } }] } }, { a: [{ b: 1 }, { b: 2 }] }, true],
  [{ a: { $all: [{ $elemMatch: { b: 1 } }, { $elemMatch: { b: 2 } }] } }, { a: [{ b: 1 }] }, false],
  [{ a: { $regex: "^a" } }, { a: { $regularExpression: { pattern: "^a", options: "" } } }, true],
  [{ a: { $regex: "^a" } }, { a: { $regularExpression: { pattern: "^a", options: "i" } } }, false],
  [{ a: { $regex: "a$" } }, { a: "a\n" }, true],
  [{ a: { $regex: "a.b" } }, { a: "a\rb" }, true],
  [{ a: { $regex: "a\\sb" } }, { a: "a\u00a0b" }, false],
  [{ __proto__x: 1, "a.constructor": 2 }, { __proto__x: 1, a: { constructor: 2 } }, true],
  [JSON.parse('{"__proto__": 1}'), JSON.parse('{"a": 1}'), false],
  [{ constructor: { $exists: true } }, { a: 1 }, false],
  [{}, { a: 1 }, true],
])("%j on %j: %s", (filter, document, expected) => {
  expect(matches(filter, document)).toBe(expected);
});

test("a field named __proto__ is a field like any other", () => {
  // Made by hand, because EJSON's own objects lose the name.
  const document = BSON.serialize(new Map([["__proto__", 1]]));
  const matcher = (filter: unknown) => compileFilter(parseFilter(filter, { regex: "prefix" }));
  expect(matcher(JSON.parse('{"__proto__": 1}'))(document)).toBe(true);
  expect(matcher(JSON.parse('{"__proto__": {"$gt": 1}}'))(document)).toBe(false);
});

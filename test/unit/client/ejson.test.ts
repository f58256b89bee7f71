import { Binary, Decimal128, Long, ObjectId, UUID } from "mongodb";
import { expect, test } from "vitest";
import { toEjson } from "../../../src/client/ejson.ts";

const id = new ObjectId("65f000000000000000000001");
/** As releases of the library before 5 mark it. */
const oldId = { _bsontype: "ObjectID", toHexString: () => id.toHexString() };

test.each([
  ["an ObjectId", id, { $oid: "65f000000000000000000001" }],
  ["an ObjectId of an old release", oldId, { $oid: "65f000000000000000000001" }],
  ["a date", new Date("2026-01-02T03:04:05.006Z"), { $date: "2026-01-02T03:04:05.006Z" }],
  ["a date before 1970", new Date(-1), { $date: { $numberLong: "-1" } }],
  ["a date after the year 9999", new Date(253402300800000), { $date: { $numberLong: "253402300800000" } }],
  ["a decimal", Decimal128.fromString("1.50"), { $numberDecimal: "1.50" }],
  ["a long", Long.fromString("9007199254740993"), { $numberLong: "9007199254740993" }],
  ["a bigint", 9007199254740993n, { $numberLong: "9007199254740993" }],
  ["not a number", Number.NaN, { $numberDouble: "NaN" }],
  ["infinity", Number.NEGATIVE_INFINITY, { $numberDouble: "-Infinity" }],
  ["bytes", new Uint8Array([1, 2, 255]), { $binary: { base64: "AQL/", subType: "00" } }],
  ["binary", new Binary(Buffer.from([1]), 0), { $binary: { base64: "AQ==", subType: "00" } }],
  [
    "a UUID",
    new UUID("00112233-4455-4677-8899-aabbccddeeff"),
    { $binary: { base64: "ABEiM0RVRneImaq7zN3u/w==", subType: "04" } },
  ],
  ["a regular expression", /^ab/, { $regularExpression: { pattern: "^ab", options: "" } }],
  ["plain JSON", { a: [1, "x", true, null] }, { a: [1, "x", true, null] }],
  ["Extended JSON", { _id: { $in: [{ $oid: "00" }] } }, { _id: { $in: [{ $oid: "00" }] } }],
  [
    "values deep inside",
    { $or: [{ a: { $gt: new Date(0) } }] },
    { $or: [{ a: { $gt: { $date: "1970-01-01T00:00:00.000Z" } } }] },
  ],
])("writes %s", (_name, value, written) => {
  expect(toEjson(value)).toEqual(written);
});

test.each([
  ["undefined, which would leave the condition out", { a: { b: undefined } }, "filter.a.b"],
  ["a function", { a: () => 1 }, "filter.a"],
  ["an invalid date", { at: new Date(Number.NaN) }, "filter.at"],
  ["an object of a class", { a: [new Map()] }, "filter.a.0"],
  ["a BSON value that cannot write itself", { a: { _bsontype: "Strange" } }, "filter.a"],
])("refuses %s, and says where", (_name, value, path) => {
  expect(() => toEjson(value)).toThrow(
    expect.objectContaining({ code: "bad-filter", message: expect.stringContaining(`${path} `) }),
  );
});

import {
  Binary,
  BSON,
  BSONRegExp,
  BSONSymbol,
  Code,
  Decimal128,
  Double,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
  UUID,
} from "mongodb";
import { expect, test } from "vitest";
import { BSON_TYPE, fromJs } from "../../../src/match/bson-value.ts";
import { encodeDocument, encodeValue } from "../../../src/match/encode.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";

const hex = "65a000000000000000000001";
const uuid = "00112233-4455-6677-8899-aabbccddeeff";
const old = { $binary: { base64: "AQI=", subType: "80" } };

test.each<[name: string, value: unknown, json: unknown, ejson: unknown]>([
  ["ObjectId", new ObjectId(hex), hex, { $oid: hex }],
  ["a date", new Date(1_500), "1970-01-01T00:00:01.500Z", { $date: "1970-01-01T00:00:01.500Z" }],
  ["a whole second", new Date(1_000), "1970-01-01T00:00:01.000Z", { $date: "1970-01-01T00:00:01Z" }],
  ["a date before 1970", new Date(-1), "1969-12-31T23:59:59.999Z", { $date: { $numberLong: "-1" } }],
  [
    "the year 10000",
    new Date(253_402_300_800_000),
    "+010000-01-01T00:00:00.000Z",
    { $date: { $numberLong: "253402300800000" } },
  ],
  ["an int", 5, 5, 5],
  ["a double", 1.5, 1.5, 1.5],
  ["a safe long", Long.fromString("-9007199254740991"), -9007199254740991, -9007199254740991],
  [
    "a long beyond",
    Long.fromString("9007199254740993"),
    "9007199254740993",
    { $numberLong: "9007199254740993" },
  ],
  ["the lowest long", Long.MIN_VALUE, "-9223372036854775808", { $numberLong: "-9223372036854775808" }],
  ["a decimal", Decimal128.fromString("1.50"), "1.50", { $numberDecimal: "1.50" }],
  ["a decimal NaN", Decimal128.fromString("NaN"), "NaN", { $numberDecimal: "NaN" }],
  ["NaN", Number.NaN, null, { $numberDouble: "NaN" }],
  ["infinity", -Infinity, null, { $numberDouble: "-Infinity" }],
  ["-0", new Double(-0), -0, { $numberDouble: "-0.0" }],
  ["a UUID", new UUID(uuid), uuid, { $binary: { base64: "ABEiM0RVZneImaq7zN3u/w==", subType: "04" } }],
  ["binary", new Binary(Buffer.of(1, 2), 0x80), "AQI=", old],
  ["old binary", new Binary(Buffer.of(1, 2), 2), "AQI=", { $binary: { base64: "AQI=", subType: "02" } }],
  ["a short UUID", new Binary(Buffer.of(1, 2), 4), "AQI=", { $binary: { base64: "AQI=", subType: "04" } }],
  [
    "a regular expression",
    new BSONRegExp("a/b", "im"),
    "/a/b/im",
    { $regularExpression: { pattern: "a/b", options: "im" } },
  ],
  [
    "a timestamp",
    new Timestamp({ t: 4_000_000_000, i: 2 }),
    { $timestamp: { t: 4_000_000_000, i: 2 } },
    undefined,
  ],
  ["code", new Code("f"), { $code: "f" }, undefined],
  ["code with scope", new Code("f", { a: [1] }), { $code: "f", $scope: { a: [1] } }, undefined],
  ["a symbol", new BSONSymbol("s"), { $symbol: "s" }, undefined],
  ["MinKey", new MinKey(), { $minKey: 1 }, undefined],
  ["MaxKey", new MaxKey(), { $maxKey: 1 }, undefined],
  ["null", null, null, null],
  ["a truth", true, true, true],
  ["text", 'a"\\\n\u2028é\u{1f600}\u007f', 'a"\\\n\u2028é\u{1f600}\u007f', undefined],
  ["an object", { a: [{}, []] }, { a: [{}, []] }, undefined],
])("[2, values] writes %s", (_name, value, json, ejson) => {
  expect(JSON.parse(encodeValue(fromJs(value), "json"))).toEqual(json);
  expect(JSON.parse(encodeValue(fromJs(value), "ejson"))).toEqual(ejson ?? json);
});

test("[8, json values] writes a date that JavaScript cannot hold by its milliseconds, in both modes", () => {
  const date = { ...fromJs(Long.fromString("8640000000000001")), type: BSON_TYPE.date };
  const expected = { $date: { $numberLong: "8640000000000001" } };
  expect(JSON.parse(encodeValue(date, "json"))).toEqual(expected);
  expect(JSON.parse(encodeValue(date, "ejson"))).toEqual(expected);
  const farther = { ...fromJs(Long.MAX_VALUE), type: BSON_TYPE.date };
  expect(JSON.parse(encodeValue(farther, "json"))).toEqual({ $date: { $numberLong: "9223372036854775807" } });
});

test("encodes the deprecated types that only old databases contain", () => {
  const raw = (type: number, ...bytes: number[]) => ({
    type,
    bytes: Uint8Array.from(bytes),
    start: 0,
    end: bytes.length,
  });
  const pointer = raw(BSON_TYPE.dbPointer, 2, 0, 0, 0, 0x61, 0, 0x65, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
  expect(JSON.parse(encodeValue(pointer, "json"))).toEqual({ $dbPointer: { $ref: "a", $id: { $oid: hex } } });
  expect(encodeValue(raw(BSON_TYPE.undefined), "ejson")).toBe('{"$undefined":true}');
});

test("a document that lies inside a larger buffer is read in its own bounds", () => {
  const bytes = BSON.serialize({ a: "é", b: Decimal128.fromString("1"), c: new ObjectId(hex) });
  const larger = new Uint8Array(bytes.length + 20);
  larger.set(bytes, 7);
  const text = encodeDocument(larger.subarray(7, 7 + bytes.length), EVERYTHING, "json");
  expect(JSON.parse(text)).toEqual({ a: "é", b: "1", c: hex });
});

test("writes long strings, with escapes and wide characters at every place, and large documents", () => {
  const piece = 'a"\\\u0001é\u{1f600}';
  const document = { s: piece.repeat(3_000), [`n${piece.repeat(900)}`]: Array(5_000).fill("x".repeat(50)) };
  expect(JSON.parse(encodeDocument(BSON.serialize(document), EVERYTHING, "json"))).toEqual(document);
  expect(encodeValue(fromJs("after"), "json")).toBe('"after"');
});

test("a document that is not BSON leaves nothing behind in the next text", () => {
  const broken = Buffer.concat([BSON.serialize({ a: 1 })]);
  broken[4] = 99;
  expect(() => encodeDocument(broken, EVERYTHING, "json")).toThrow(RangeError);
  expect(encodeValue(fromJs(1), "json")).toBe("1");
});

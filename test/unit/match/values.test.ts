/** The order and the identity of BSON values. */
import { BSONRegExp, Code, Decimal128, Double, Long, MaxKey, MinKey, ObjectId, Timestamp } from "mongodb";
import { expect, test } from "vitest";
import { BSON_TYPE, type BsonValue, fromJs, toBson } from "../../../src/match/bson-value.ts";
import { compareValues } from "../../../src/match/compare.ts";
import { valueKey } from "../../../src/match/value-key.ts";
import { SCALARS } from "../../property/bson-samples.ts";

const decimal = Decimal128.fromString;
const raw = (type: number, ...bytes: number[]): BsonValue => ({
  type,
  bytes: Uint8Array.from(bytes),
  start: 0,
  end: bytes.length,
});

/** Each line is above the line before it; what stands in one line is equal. */
const ORDER: BsonValue[][] = [
  [new MinKey()],
  [],
  [null],
  [new Double(Number.NaN), decimal("NaN")],
  [new Double(-Infinity), decimal("-Infinity")],
  [decimal("-9.999E+6144")],
  [new Double(-1e308)],
  [Long.fromString("-9223372036854775808"), decimal("-9223372036854775808"), new Double(-(2 ** 63))],
  [-1.5, decimal("-1.50")],
  [decimal("-1E-6176")],
  [0, new Double(-0), decimal("-0E+10"), Long.ZERO],
  [decimal("1E-6176")],
  [new Double(5e-324)],
  // 2^-48 needs all of the 34 digits that a decimal has.
  [new Double(2 ** -48), decimal("3.552713678800500929355621337890625E-15")],
  [new Double(2 ** -30), decimal("9.31322574615478515625E-10")],
  [decimal("0.1")],
  [decimal("0.1000000000000000055511151231257827")],
  [0.1],
  [decimal("0.1000000000000000055511151231257828")],
  [1, Long.ONE, decimal("1.000"), decimal("10E-1")],
  [new Double(2 ** 53 - 1), Long.fromString("9007199254740991"), decimal("9007199254740991")],
  [new Double(2 ** 53), Long.fromString("9007199254740992"), decimal("9007199254740992")],
  [Long.fromString("9007199254740993"), decimal("9007199254740993.0")],
  [Long.fromString("9223372036854775807"), decimal("9223372036854775807")],
  [new Double(2 ** 63), decimal("9223372036854775808")],
  // Of the double before a power of ten the logarithm is rounded up to it.
  [decimal("9.9999E+22")],
  [new Double(1e23), decimal("99999999999999991611392")],
  [decimal("9.9999999999999999E+22")],
  [decimal("1E+23")],
  [decimal("1.000000000000000052504760255204420E+300")],
  [1e300],
  [decimal("1.000000000000000052504760255204421E+300")],
  [decimal("9.999E+6144")],
  [new Double(Infinity), decimal("Infinity")],
  [""],
  ["A"],
  ["a"],
  ["a\0"],
  ["ab"],
  ["\uff5e"],
  ["\u{1f600}"],
  [{}],
  // The type of a field comes before its name, its name before its value.
  [{ b: 1 }],
  [{ b: 2 }],
  [{ b: 2, a: 1 }],
  [{ c: 0 }],
  [{ a: "" }],
  [[]],
  [[1]],
  [[1, 2]],
  [["a"]],
  [Buffer.of()],
  [Buffer.of(9)],
  [Buffer.of(0, 0)],
  [new ObjectId("000000000000000000000001")],
  [new ObjectId("f00000000000000000000000")],
  [false],
  [true],
  [new Date(-1)],
  [new Date(0)],
  [new Timestamp({ t: 1, i: 4_000_000_000 })],
  [new Timestamp({ t: 4_000_000_000, i: 0 })],
  [new BSONRegExp("a", "")],
  [new BSONRegExp("a", "i")],
  [new BSONRegExp("b", "")],
].map((line) => line.map(fromJs));
// A coefficient of more than 34 digits counts as zero.
const notCanonical = raw(BSON_TYPE.decimal, ...Array(14).fill(1), 0x20, 0x6c);
ORDER.find((line) => line[0] !== undefined && toBson(line[0])?.valueOf() === 0)?.push(notCanonical);
ORDER[1] = [raw(BSON_TYPE.undefined)];
ORDER.push(
  [raw(BSON_TYPE.dbPointer, 2, 0, 0, 0, 0x7a, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)],
  [raw(BSON_TYPE.dbPointer, 3, 0, 0, 0, 0x61, 0x61, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)],
  [fromJs(new Code("a"))],
  [fromJs(new Code("b"))],
  [fromJs(new Code("a", { b: 1 }))],
  [fromJs(new Code("a", { c: 1 }))],
  [fromJs(new MaxKey())],
);

test("orders values of all types as the server does", () => {
  const placed = ORDER.flatMap((line, rank) => line.map((value) => ({ value, rank })));
  const wrong = pairs(placed).filter(
    ([a, b]) => Math.sign(compareValues(a.value, b.value)) !== Math.sign(a.rank - b.rank),
  );
  expect(wrong).toEqual([]);
});

test("gives two values one key iff they compare as equal; undefined is found by null", () => {
  const values = [...ORDER.flat(), ...SCALARS.map(({ value }) => value)];
  const keyed = values.map((value) => ({ value, key: valueKey(value) }));
  const wrong = pairs(keyed).filter(([a, b]) => (a.key === b.key) !== isEqual(a.value, b.value));
  expect(wrong).toEqual([]);
});

function pairs<T>(list: readonly T[]): (readonly [T, T])[] {
  return list.flatMap((a) => list.map((b) => [a, b] as const));
}

function isEqual(a: BsonValue, b: BsonValue): boolean {
  const isNullish = ({ type }: BsonValue) => type === BSON_TYPE.null || type === BSON_TYPE.undefined;
  return compareValues(a, b) === 0 || (isNullish(a) && isNullish(b));
}

test("keeps apart documents whose parts would run together to one text", () => {
  const keys = [
    { a: "x", b: "y" },
    { a: "x1:by" },
    { ab: "x" },
    { a: { b: "x" } },
    [["a"], "b"],
    [["a", "b"]],
    ["a", ["b"]],
    ["ab"],
    { a: null },
    {},
    [null],
    [],
  ].map((value) => valueKey(fromJs(value)));
  expect(new Set(keys).size).toBe(keys.length);
});

test("compares decimals with the largest exponents without expanding them", () => {
  const values = ["1E+6111", "9E+6111", "1E-6176", "-1E+6111"].map((text) => fromJs(decimal(text)));
  const doubles = [1e308, -1e308, 5e-324].map((value) => fromJs(new Double(value)));
  const all = [...values, ...doubles];
  const sorted = all.toSorted(compareValues).map((value) => String(toBson(value)));
  expect(sorted).toEqual(["-1E+6111", "-1e+308", "1E-6176", "5e-324", "1e+308", "1E+6111", "9E+6111"]);
});

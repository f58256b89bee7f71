import { Decimal128, Double, Int32, Long } from "mongodb";
import { describe, expect, test } from "vitest";
import { type BsonValue, fromJs, toBson } from "../../../src/match/bson-value.ts";
import { NumberSum } from "../../../src/match/number-sum.ts";
import { Random } from "../../support/random.ts";

const int = (value: number) => new Int32(value);
const long = (value: bigint) => Long.fromBigInt(value);
const double = (value: number) => new Double(value);
const decimal = (text: string) => Decimal128.fromString(text);

function change(sum: NumberSum, value: unknown, times: 1 | -1): void {
  const { type, bytes, start } = fromJs(value);
  sum.add(type, bytes, start, times);
}

function sumOf(values: readonly unknown[]): NumberSum {
  const sum = new NumberSum();
  for (const value of values) change(sum, value, 1);
  return sum;
}

const text = (value: BsonValue | null) => {
  if (value === null) return "null";
  const known = toBson(value) as Int32 | Long | Double | Decimal128;
  return `${known._bsontype} ${known.toString()}`;
};

describe("the sum and its type, as the server gives them for", () => {
  test.each([
    ["nothing", [], "Int32 0", "null"],
    ["values that are no numbers", ["x", null, true, [1]], "Int32 0", "null"],
    ["ints", [int(1), int(2), int(2)], "Int32 5", "Double 1.6666666666666667"],
    ["ints beyond an int", [int(2 ** 31 - 1), int(1)], "Long 2147483648", "Double 1073741824"],
    ["a long and an int", [long(1n), int(1)], "Long 2", "Double 1"],
    [
      "longs beyond a long",
      [long(2n ** 63n - 1n), long(1n)],
      "Double 9223372036854776000",
      "Double 4611686018427388000",
    ],
    [
      "longs that come back",
      [long(2n ** 63n - 1n), long(1n), long(-5n)],
      "Long 9223372036854775803",
      "Double 3074457345618258400",
    ],
    [
      "a long and a double",
      [long(2n ** 63n - 1n), double(1)],
      "Double 9223372036854776000",
      "Double 4611686018427388000",
    ],
    ["doubles", [double(0.1), double(0.2), double(0.3)], "Double 0.6", "Double 0.2"],
    ["negative zeros", [double(-0), double(-0)], "Double 0", "Double 0"],
    ["both infinities", [double(Infinity), double(-Infinity)], "Double NaN", "Double NaN"],
    ["an infinity", [double(-Infinity), int(5)], "Double -Infinity", "Double -Infinity"],
    ["NaN", [double(Number.NaN), int(5)], "Double NaN", "Double NaN"],
    ["decimals", [decimal("1.15"), decimal("2.2")], "Decimal128 3.35", "Decimal128 1.675"],
    ["decimals and ints", [decimal("1.10"), int(2)], "Decimal128 3.1", "Decimal128 1.55"],
    [
      "a decimal and a double",
      [decimal("1.10"), double(0.1)],
      "Decimal128 1.200000000000000005551115123125783",
      "Decimal128 0.6000000000000000027755575615628914",
    ],
    ["a decimal NaN", [decimal("NaN"), decimal("1")], "Decimal128 NaN", "Decimal128 NaN"],
    ["infinities of two types", [decimal("Infinity"), double(-Infinity)], "Decimal128 NaN", "Decimal128 NaN"],
    [
      "decimals out of range",
      [decimal("9E+6144"), decimal("9E+6144")],
      "Decimal128 Infinity",
      "Decimal128 9.000000000000000000000000000000000E+6144",
    ],
    [
      "decimals far apart, exactly",
      [decimal("1E+30"), decimal("1E-30"), decimal("-1E+30")],
      "Decimal128 1E-30",
      "Decimal128 3.333333333333333333333333333333333E-31",
    ],
    [
      "doubles whose running sum would overflow",
      [double(1e308), double(1e308), double(-1e308)],
      "Double 1e+308",
      "Double 3.333333333333333e+307",
    ],
    ["the smallest doubles", [double(5e-324), double(5e-324)], "Double 1e-323", "Double 5e-324"],
  ])("%s", (_what, values, sum, average) => {
    const found = sumOf(values);
    expect([text(found.sum()), text(found.average())]).toEqual([sum, average]);
  });
});

test("taking every number away leaves the sum of nothing, in any order", () => {
  const random = new Random(8);
  const makers = [
    () => int(random.int(-(2 ** 31), 2 ** 31 - 1)),
    () => long(BigInt(random.int(-1_000, 1_000)) * 2n ** BigInt(random.int(0, 52))),
    () => double((random.next() - 0.5) * 2 ** random.int(-1_070, 1_020)),
    () => double(random.pick([Infinity, -Infinity, Number.NaN, 0.1, -0])),
    () => decimal(`${random.int(-(10 ** 9), 10 ** 9)}E${random.int(-60, 60)}`),
    () => "no number",
  ];
  for (let round = 0; round < 200; round++) {
    const values = Array.from({ length: random.int(1, 20) }, () => random.pick(makers)());
    const kept = values.filter(() => random.chance(0.5));
    const sum = sumOf(values);
    for (const value of values.toReversed()) if (!kept.includes(value)) change(sum, value, -1);
    const direct = sumOf(kept);
    expect([text(sum.sum()), text(sum.average())]).toEqual([text(direct.sum()), text(direct.average())]);
    for (const value of kept) change(sum, value, -1);
    expect([text(sum.sum()), text(sum.average())]).toEqual(["Int32 0", "null"]);
  }
});

test("the memory of a sum is bounded, whatever is added", () => {
  const sum = sumOf([double(Number.MAX_VALUE), double(5e-324), decimal("1E+6111"), decimal("1E-6176")]);
  expect(sum.heldBytes).toBeLessThan(8_192);
  expect(sumOf([int(1), double(2)]).heldBytes).toBeLessThan(128);
});

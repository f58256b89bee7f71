import fc from "fast-check";
import { Decimal128, Double, Int32, Long, MaxKey, MinKey, ObjectId } from "mongodb";
import { expect, test } from "vitest";
import { BSON_TYPE, type BsonValue, fromJs } from "../../../src/match/bson-value.ts";
import { compareValues } from "../../../src/match/compare.ts";
import { valueKey } from "../../../src/match/value-key.ts";
import { ValueSet } from "../../../src/match/value-set.ts";
import { NUMBERS, SCALARS } from "../../property/bson-samples.ts";
import { startSeed } from "../../property/seed.ts";

const setOf = (...values: readonly unknown[]) => new ValueSet(values.map(fromJs));
const has = (set: ValueSet, value: BsonValue) => set.find(value.type, value.bytes, value.start) >= 0;

test.each<[string, unknown, unknown, boolean]>([
  ["an int and a double", new Int32(1), new Double(1), true],
  [
    "a long and a decimal",
    Long.fromString("9007199254740993"),
    Decimal128.fromString("9007199254740993"),
    true,
  ],
  ["a long and the double beside it", Long.fromString("9007199254740993"), new Double(2 ** 53), false],
  ["a decimal of the same value", Decimal128.fromString("1.50"), new Double(1.5), true],
  ["a decimal that no double equals", Decimal128.fromString("0.1"), new Double(0.1), false],
  ["the decimal of exactly a double", Decimal128.fromString("0.1"), Decimal128.fromString("0.10"), true],
  ["zero and minus zero", 0, new Double(-0), true],
  ["minus zero and a decimal zero", new Double(-0), Decimal128.fromString("0E+10"), true],
  ["NaN of two types", Double.fromString("NaN"), Decimal128.fromString("NaN"), true],
  ["infinity of two types", new Double(Infinity), Decimal128.fromString("Infinity"), true],
  ["infinities of two signs", new Double(-Infinity), Decimal128.fromString("Infinity"), false],
  ["objects with numbers of two types", { a: new Int32(1) }, { a: new Double(1) }, true],
  ["objects with keys in another order", { a: 1, b: 2 }, { b: 2, a: 1 }, false],
  ["arrays in arrays", [[1], 2], [[new Double(1)], 2], true],
  ["an array and its element", [1], 1, false],
  ["the same text", "ab", "ab", true],
  ["text of another case", "ab", "aB", false],
  ["a number and its text", 1, "1", false],
  ["true and 1", true, 1, false],
  ["ids", new ObjectId("65a000000000000000000001"), new ObjectId("65a000000000000000000001"), true],
  ["MinKey and MaxKey", new MinKey(), new MaxKey(), false],
])("answers whether it contains an equal value: %s", (_name, listed, value, expected) => {
  expect(has(setOf(listed, "another", 77), fromJs(value))).toBe(expected);
});

test("finds null for null, undefined and missing values", () => {
  const types = [BSON_TYPE.null, BSON_TYPE.undefined, BSON_TYPE.missing];
  const found = (set: ValueSet) => types.map((type) => set.find(type, new Uint8Array(), 0) >= 0);
  expect(found(setOf(null, 1))).toEqual([true, true, true]);
  expect(found(setOf(0, "", false))).toEqual([false, false, false]);
});

test("values that are equal are one, and each has a number of its own", () => {
  const set = setOf(1, new Double(1), "a", "a", null, null, { a: 1 }, { a: new Double(1) }, 2);
  expect(set.size).toBe(5);
  const found = [1, 2, "a", null, { a: 1 }]
    .map(fromJs)
    .map(({ type, bytes, start }) => set.find(type, bytes, start));
  expect(found.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
  expect(setOf().size).toBe(0);
  expect(has(setOf(), fromJs(1))).toBe(false);
});

test("a set of one number finds the numbers that the order calls equal", () => {
  for (const { value: a } of NUMBERS) {
    const set = new ValueSet([a]);
    for (const { value: b } of NUMBERS) {
      expect(has(set, b), `${valueKey(a)} and ${valueKey(b)}`).toBe(compareValues(a, b) === 0);
    }
  }
});

test("finds a value if and only if a value of the list has the same key", () => {
  const seed = startSeed("value set");
  const listable = SCALARS.filter(({ json }) => json !== undefined).map(({ value }) => value);
  const property = fc.property(
    fc.array(fc.constantFrom(...listable), { maxLength: 40 }),
    fc.constantFrom(...SCALARS.map(({ value }) => value)),
    (values, wanted) => {
      const keys = new Set(values.map(valueKey));
      const set = new ValueSet(values);
      expect(set.size).toBe(keys.size);
      expect(has(set, wanted)).toBe(keys.has(valueKey(wanted)));
    },
  );
  fc.assert(property, { numRuns: 3_000, seed });
});

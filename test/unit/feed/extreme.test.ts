import { Decimal128, Double, Int32 } from "mongodb";
import { describe, expect, test } from "vitest";
import { Extreme } from "../../../src/feed/extreme.ts";
import { type BsonValue, fromJs, toBson } from "../../../src/match/bson-value.ts";
import { compareValues } from "../../../src/match/compare.ts";
import { Random } from "../../support/random.ts";

const value = (js: unknown) => fromJs(js);
const shown = (extreme: Extreme) => (extreme.first === null ? null : toBson(extreme.first));

describe("the least and the greatest value", () => {
  test.each([
    [1, 2],
    [-1, 9],
  ] as const)("with the sign %d is %d, and its successor when it leaves", (sign, first) => {
    const extreme = new Extreme(sign);
    for (const number of [5, 2, 9, 7]) extreme.add(value(number));
    expect(Number(shown(extreme))).toBe(first);
    extreme.remove(value(first));
    expect(Number(shown(extreme))).toBe(sign === 1 ? 5 : 7);
  });

  test("does not count null, undefined and missing values", () => {
    const extreme = new Extreme(1);
    for (const none of [null, undefined]) extreme.add(value(none));
    expect(extreme.first).toBeNull();
    extreme.remove(value(null));
    expect(extreme.isExhausted).toBe(false);
  });

  test("is of the same type for equal numbers, whichever came first", () => {
    const numbers = [new Int32(1), new Double(1)];
    for (const order of [numbers, numbers.toReversed()]) {
      const extreme = new Extreme(1);
      for (const number of order) extreme.add(value(number));
      expect(shown(extreme)).toEqual(new Double(1));
    }
  });

  test("is unknown when the document with its spelling has left, and others spell it in another way", () => {
    const [one, other] = [Decimal128.fromString("1.0"), Decimal128.fromString("1.00")];
    const extreme = new Extreme(1);
    for (const number of [one, other, other]) extreme.add(value(number));
    extreme.remove(value(other));
    expect(shown(extreme)).toEqual(one);
    extreme.remove(value(one));
    expect(extreme.isExhausted).toBe(true);
  });

  test("is unknown when the values that were read have left, and known again after the next read", () => {
    const extreme = new Extreme(1);
    extreme.load([value(3)], false);
    extreme.add(value(8));
    extreme.remove(value(8));
    expect(extreme.isExhausted).toBe(false);
    extreme.add(value(1));
    extreme.remove(value(1));
    expect(Number(shown(extreme))).toBe(3);
    extreme.remove(value(3));
    expect(extreme.isExhausted).toBe(true);
    extreme.add(value(4));
    expect(extreme.isExhausted).toBe(true);
    extreme.load([value(4)], true);
    expect(Number(shown(extreme))).toBe(4);
    extreme.remove(value(4));
    expect([extreme.first, extreme.isExhausted]).toEqual([null, false]);
  });
});

test("the memory does not grow with the number of values, nor much with their size", () => {
  const extreme = new Extreme(1);
  for (let n = 0; n < 10_000; n++) extreme.add(value(n));
  expect(extreme.heldBytes).toBeLessThan(8_192);
  const large = new Extreme(1);
  for (let n = 0; n < 50; n++) large.add(value(`${String.fromCharCode(65 + n)}${"x".repeat(3_000)}`));
  expect(large.heldBytes).toBeLessThan(10_000);
});

test("of random values it is either exact or unknown", () => {
  const random = new Random(5);
  for (let round = 0; round < 200; round++) {
    const sign = random.pick([1, -1] as const);
    const all = Array.from({ length: random.int(0, 100) }, () => value(random.int(0, 60)));
    const order = (a: BsonValue, b: BsonValue) => sign * compareValues(a, b);
    const extreme = new Extreme(sign);
    const read = random.int(1, 5);
    extreme.load(all.toSorted(order).slice(0, read), read >= all.length);
    for (let step = 0; step < 200; step++) {
      if (random.chance(0.5) || all.length === 0) {
        const one = value(random.int(0, 60));
        all.push(one);
        extreme.add(one);
      } else {
        const [one] = all.splice(random.int(0, all.length - 1), 1);
        extreme.remove(one!);
      }
      if (extreme.isExhausted) {
        const reread = random.int(1, 40);
        extreme.load(all.toSorted(order).slice(0, reread), reread >= all.length);
      }
      const expected = all.toSorted(order)[0];
      expect(shown(extreme)).toEqual(expected === undefined ? null : toBson(expected));
    }
  }
});

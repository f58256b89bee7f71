import { BSON, Decimal128 } from "mongodb";
import { describe, expect, test } from "vitest";
import type { BsonValue } from "../../../src/match/bson-value.ts";
import { nearestDecimal, nearestDouble } from "../../../src/match/rounding.ts";
import { Random } from "../../support/random.ts";

const textOf = ({ bytes }: BsonValue) => new Decimal128(bytes).toString();

/** The nearest double by the engine's own parser, which rounds exactly. */
const parsed = (coefficient: bigint, places: number) => Number(`${coefficient}e-${places}`);

describe("the nearest double", () => {
  test.each([
    [{ coefficient: 0n, exponent: 5 }, 1n, 0],
    [{ coefficient: 1n, exponent: -1074 }, 1n, 5e-324],
    [{ coefficient: 1n, exponent: -1075 }, 1n, 0],
    [{ coefficient: 3n, exponent: -1075 }, 1n, 1e-323],
    [{ coefficient: 1n, exponent: 1023 }, 1n, 2 ** 1023],
    [{ coefficient: 1n, exponent: 1024 }, 1n, Number.POSITIVE_INFINITY],
    [{ coefficient: -(2n ** 60n), exponent: 970 }, 1n, Number.NEGATIVE_INFINITY],
    [{ coefficient: 2n ** 53n + 1n, exponent: 0 }, 1n, 2 ** 53],
    [{ coefficient: 2n ** 53n + 3n, exponent: 0 }, 1n, 2 ** 53 + 4],
    [{ coefficient: 1n, exponent: 0 }, 3n, 1 / 3],
    [{ coefficient: -5n, exponent: 0 }, 3n, -5 / 3],
  ])("of %o / %s is %d", (scaled, divisor, expected) => {
    expect(nearestDouble(scaled, divisor)).toBe(expected);
  });

  test("agrees with the parser of numbers on random fractions", () => {
    const random = new Random(20_261);
    for (let i = 0; i < 2_000; i++) {
      const places = random.int(0, 319);
      const coefficient = BigInt(random.int(0, 2 ** 31)) ** BigInt(random.int(1, 6));
      expect(nearestDouble({ coefficient, exponent: 0 }, 10n ** BigInt(places))).toBe(
        parsed(coefficient, places),
      );
    }
  });
});

describe("the nearest Decimal128", () => {
  test.each([
    [{ coefficient: 0n, exponent: -3 }, 1n, "0"],
    [{ coefficient: 330n, exponent: -2 }, 1n, "3.3"],
    [{ coefficient: 3n, exponent: 3 }, 1n, "3000"],
    [{ coefficient: -15n, exponent: -1 }, 1n, "-1.5"],
    [{ coefficient: 1n, exponent: 0 }, 3n, "0.3333333333333333333333333333333333"],
    [{ coefficient: 2n, exponent: 0 }, 3n, "0.6666666666666666666666666666666667"],
    [{ coefficient: 10n ** 34n - 1n, exponent: 6111 }, 1n, "9.999999999999999999999999999999999E+6144"],
    [{ coefficient: 10n ** 35n, exponent: 6111 }, 1n, "Infinity"],
    [{ coefficient: -(10n ** 35n), exponent: 6111 }, 1n, "-Infinity"],
    [{ coefficient: 1n, exponent: -6176 }, 1n, "1E-6176"],
    [{ coefficient: 5n, exponent: -6177 }, 1n, "0"],
    [{ coefficient: 6n, exponent: -6177 }, 1n, "1E-6176"],
    [{ coefficient: 10n ** 34n * 10n - 1n, exponent: 0 }, 1n, "1E+35"],
    [{ coefficient: 1n, exponent: 6144 }, 1n, "1.000000000000000000000000000000000E+6144"],
    [
      { coefficient: 12345678901234567890123456789012345n, exponent: 0 },
      1n,
      "1.234567890123456789012345678901234E+34",
    ],
  ])("of %o / %s is %s", (scaled, divisor, expected) => {
    expect(textOf(nearestDecimal(scaled, divisor))).toBe(expected);
  });
});

test("a Decimal128 is written as the driver writes it", () => {
  const written = BSON.serialize({ v: Decimal128.fromString("-12.5") }).subarray(7, 23);
  expect(Buffer.from(nearestDecimal({ coefficient: -125n, exponent: -1 }).bytes)).toEqual(
    Buffer.from(written),
  );
});

import { expect, test } from "vitest";
import { bytes, count, duration, rate } from "../../../src/console/ui/numbers.ts";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1_000, "1.0 KiB"],
  [1_536, "1.5 KiB"],
  [200 * 1_048_576, "200 MiB"],
])("%i bytes are %s", (amount, text) => expect(bytes(amount)).toBe(text));

test.each([
  [12.4, "12 ms"],
  [999, "999 ms"],
  [3_400, "3.4 s"],
  [59_999, "60.0 s"],
  [300_000, "5 min"],
  [5_400_000, "1.5 h"],
  [4 * 86_400_000, "4 d"],
])("%i ms are %s", (ms, text) => expect(duration(ms)).toBe(text));

test.each([
  [0, "0/s"],
  [0.24, "0.2/s"],
  [1_250, "1,250/s"],
])("a rate of %i is %s", (perSecond, text) => expect(rate(perSecond)).toBe(text));

test("a number has the singular or the plural of its unit", () => {
  expect([count(1, "query", "queries"), count(0, "query", "queries"), count(1_200, "row")]).toEqual([
    "1 query",
    "0 queries",
    "1,200 rows",
  ]);
});

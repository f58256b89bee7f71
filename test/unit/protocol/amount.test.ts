import { expect, test } from "vitest";
import { parseSort } from "../../../src/match/sort.ts";
import { amount } from "../../../src/protocol/amount.ts";

test.each([
  [0, "0 groups"],
  [1, "1 group"],
  [2, "2 groups"],
] as const)("%i with its noun is %s", (number, text) => {
  expect(amount(number, "group")).toBe(text);
  expect(amount(number, "x", "groups")).toBe(number === 1 ? "1 x" : text);
});

test("a limit of 1 is in the singular", () => {
  expect(() =>
    parseSort(
      [
        ["a", 1],
        ["b", 1],
      ],
      1,
    ),
  ).toThrow("a sort has at most 1 path");
});

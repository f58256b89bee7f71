import { expect, test } from "vitest";
import { RuleTimes } from "../../../src/gateway/rights/rule-times.ts";
import type { RuleSet } from "../../../src/rules/compile-rules.ts";

const rulesOf = (...identities: readonly string[]) =>
  ({
    collections: new Map([["items", { rules: identities.map((identity) => ({ identity })) }]]),
  }) as unknown as RuleSet;

test("a rule keeps its time as long as it is in force without a break, and no time is made up for another rule", () => {
  const times = new RuleTimes(
    rulesOf("a", "b"),
    new Map([
      ["a", 5n],
      ["gone", 1n],
    ]),
    10n,
  );
  expect(times.sinceOf("a")).toBe(5n);
  expect(times.sinceOf("b")).toBe(10n);
  // A time that is too early would admit cursors and snapshots from before the rule.
  expect(() => times.sinceOf("gone")).toThrow("a rule that is not in force");
  times.replace(rulesOf("b", "c"), 20n);
  expect([times.sinceOf("b"), times.sinceOf("c")]).toEqual([10n, 20n]);
  expect(() => times.sinceOf("a")).toThrow("a rule that is not in force");
  times.replace(rulesOf("a", "b"), 30n, (identity) => identity === "b");
  expect([times.sinceOf("a"), times.sinceOf("b")]).toEqual([30n, 30n]);
});

import { expect, test } from "vitest";
import { compileRules, type RuleSet } from "../../../src/rules/compile-rules.ts";
import { sameRule } from "../../../src/rules/same-rule.ts";
import { testConfig, toConfig } from "../../support/service.ts";

const STAFF = { name: "staff", when: { "%%user.roles": "staff" } };
const OWN = { name: "own", filter: { owner: "%%user.sub" } };
const RECENT = { name: "recent", filter: { until: { $gt: "%%now" } } };

const setOf = (
  rules: readonly object[],
  more: { collection?: object; evaluation?: Record<string, unknown> } = {},
) =>
  compileRules(
    toConfig(
      testConfig("mongodb://127.0.0.1", "shop", {
        collections: { items: { rules, ...more.collection } },
        rules: more.evaluation ?? {},
      }),
    ),
  );

/** The name of the rule of the second set that is the same as the last rule of the first set. */
function sameOf(from: RuleSet, to: RuleSet): string | null {
  const rule = from.collections.get("items")?.rules.at(-1);
  if (rule === undefined) throw new Error("the set has rules");
  return sameRule(rule, from, to, "items")?.name ?? null;
}

test("finds the rule that grants the same, also under another name and after a change of others", () => {
  expect(sameOf(setOf([STAFF, OWN]), setOf([STAFF, { ...OWN, name: "mine" }]))).toBe("mine");
  expect(sameOf(setOf([STAFF, OWN]), setOf([{ ...STAFF, filter: { open: true } }, OWN]))).toBe("own");
});

test("finds none if the rule, the users of an earlier one, or the collection is another", () => {
  const from = setOf([STAFF, OWN]);
  expect(sameOf(from, setOf([STAFF, { ...OWN, filter: { owner: "%%user.id" } }]))).toBeNull();
  expect(sameOf(from, setOf([{ ...STAFF, when: { "%%user.roles": "admin" } }, OWN]))).toBeNull();
  expect(sameOf(from, setOf([OWN]))).toBeNull();
  expect(sameOf(from, setOf([STAFF, OWN], { collection: { collection: "others" } }))).toBeNull();
  expect(sameOf(from, { ...from, collections: new Map() })).toBeNull();
});

test("a rule that depends on the time is the same only with the same step", () => {
  const from = setOf([RECENT]);
  expect(sameOf(from, setOf([RECENT]))).toBe("recent");
  expect(sameOf(from, setOf([RECENT], { evaluation: { nowStep: "2m" } }))).toBeNull();
  expect(sameOf(setOf([OWN]), setOf([OWN], { evaluation: { nowStep: "2m" } }))).toBe("own");
});

import { expect, test } from "vitest";
import { interruptedRules } from "../../../src/node/interrupted-rules.ts";
import type { SavedRuleSet } from "../../../src/source/rule-set-store.ts";
import { draftOf } from "../../support/rule-sets.ts";

/** Sets in which each letter is a rule, by their numbers. Set 3 lost against set 4, and has no child. */
const SETS: Readonly<Record<number, { parent: number; rules: string | null }>> = {
  1: { parent: 0, rules: "abc" },
  2: { parent: 1, rules: "ac" },
  4: { parent: 2, rules: "abc" },
  5: { parent: 4, rules: "abcd" },
};

const setOf = (number: number): SavedRuleSet => ({ ...draftOf({}, SETS[number]?.parent ?? 0), number });

function ask(
  number: number,
  known: Readonly<Record<string, number>>,
  without: { readonly gone?: number; readonly broken?: number } = {},
) {
  const read: number[] = [];
  const answer = interruptedRules(setOf(number), SETS[number]?.rules ?? "", (rule) => known[rule] ?? 0, {
    load: async (earlier) => {
      read.push(earlier);
      return earlier === without.gone ? null : setOf(earlier);
    },
    identities: async ({ number: earlier }) =>
      earlier === without.broken ? null : new Set(SETS[earlier]?.rules),
  });
  return answer.then((interrupted) => ({ interrupted: [...interrupted].join(""), read }));
}

test("reads nothing if every rule was known in the set itself", async () => {
  expect(await ask(5, { a: 5, b: 5, c: 5, d: 5 })).toEqual({ interrupted: "", read: [] });
});

test("reads the sets back to the one in which each rule was known", async () => {
  expect(await ask(5, { a: 4, b: 4, c: 4, d: 4 })).toEqual({ interrupted: "", read: [] });
  expect(await ask(5, { a: 2, b: 4, c: 4, d: 5 })).toEqual({ interrupted: "", read: [4] });
});

test("a rule that a set in between lacks was interrupted, also if it is unknown", async () => {
  expect(await ask(5, { a: 1, b: 1, c: 1, d: 5 })).toEqual({ interrupted: "b", read: [4, 2] });
  expect(await ask(5, {})).toEqual({ interrupted: "db", read: [4, 2, 1] });
});

test("all rules count as interrupted that depend on a set which is gone or cannot be compiled", async () => {
  expect((await ask(5, { a: 4, b: 1, c: 1, d: 5 }, { gone: 2 })).interrupted).toBe("bc");
  expect((await ask(5, { a: 1, b: 4, c: 4, d: 5 }, { broken: 4 })).interrupted).toBe("a");
});

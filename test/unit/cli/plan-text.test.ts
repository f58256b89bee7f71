import { expect, test } from "vitest";
import type { EditPlan } from "../../../src/admin/plan-edit.ts";
import { liveText } from "../../../src/cli/plan-text.ts";

type Affected = EditPlan["live"]["affected"];

function textOf(affected: Affected): string {
  const live = { connections: 3, subscriptions: 3, newLiveQueries: 1, collections: [], affected };
  return liveText({ generation: 1, diff: { limits: [], collections: [] }, live });
}

const user = { sub: "ada", isAnonymous: false, collection: "orders", from: "staff", to: "staff" } as const;

test("names a sample of the affected users with the effect, the collection and the rules", () => {
  const text = textOf([
    { ...user, effect: "ends", to: null },
    { ...user, effect: "loses", sub: null, isAnonymous: true, from: null },
    { ...user, effect: "gains", sub: null },
  ]);
  expect(text).toContain(`  a sample of the affected users:
    ends       "ada" on orders, staff → no rule
    loses      anonymous on orders, no rule → staff
    gains      a token without sub on orders, staff
`);
  expect(textOf([])).not.toContain("sample");
});

test("escapes the characters of a sub that a terminal would obey", () => {
  const text = textOf([{ ...user, effect: "ends", sub: 'a"\u001b[2J\u009b31m\u202e\nb' }]);
  expect(text).toContain('ends       "a\\"\\u001b[2J\\u{9b}31m\\u{202e}\\nb" on orders');
});

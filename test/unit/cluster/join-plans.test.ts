import { expect, test } from "vitest";
import type { EditPlan } from "../../../src/admin/plan-edit.ts";
import { joinPlans } from "../../../src/cluster/join-plans.ts";

const effects = (counts: object) => {
  return { unchanged: 0, gains: 0, loses: 0, changes: 0, ends: 0, unknown: 0, ...counts };
};
const plan = (live: EditPlan["live"]): EditPlan => {
  return { generation: 2, diff: { limits: [], collections: [] }, live };
};
const affected = (...subs: readonly string[]): EditPlan["live"]["affected"] =>
  subs.map((sub) => ({
    sub,
    isAnonymous: false,
    collection: "orders",
    effect: "ends",
    from: "x",
    to: null,
  }));
const ofOrders = (from: string | null, counts: object) => ({
  collection: "orders",
  effects: effects(counts),
  rules: [{ from, to: "staff", effects: effects(counts) }],
});

test("counts add up by collection and by rule", () => {
  const things = { collection: "a", effects: effects({ ends: 1 }), rules: [] };
  const first = {
    connections: 1,
    subscriptions: 2,
    newLiveQueries: 1,
    collections: [ofOrders("x", { gains: 2 })],
    affected: affected("ada", "ben"),
  };
  const second = {
    connections: 2,
    subscriptions: 4,
    newLiveQueries: 0,
    collections: [ofOrders("x", { gains: 1, ends: 1 }), things],
    affected: affected("ben", "cyd"),
  };
  const third = {
    connections: 0,
    subscriptions: 1,
    newLiveQueries: 0,
    collections: [ofOrders(null, { gains: 1 })],
    affected: [],
  };
  expect(joinPlans([plan(first), plan(second), plan(third)])).toEqual(
    plan({
      connections: 3,
      subscriptions: 7,
      newLiveQueries: 1,
      collections: [
        things,
        {
          collection: "orders",
          effects: effects({ gains: 4, ends: 1 }),
          rules: [
            { from: "x", to: "staff", effects: effects({ gains: 3, ends: 1 }) },
            { from: null, to: "staff", effects: effects({ gains: 1 }) },
          ],
        },
      ],
      // A user with connections to two workers is named once.
      affected: affected("ada", "ben", "cyd"),
    }),
  );
});

test("the sample of many workers is no larger than that of one", () => {
  const plans = [0, 1, 2].map((worker) => {
    const subs = Array.from({ length: 20 }, (_, index) => `u${worker * 20 + index}`);
    return plan({
      connections: 0,
      subscriptions: 0,
      newLiveQueries: 0,
      collections: [],
      affected: affected(...subs),
    });
  });
  expect(joinPlans(plans)).toMatchObject({
    live: { affected: affected(...Array.from({ length: 20 }, (_, index) => `u${index}`)) },
  });
});

test("reports the problems of an edit once", () => {
  const wrong = { problems: [{ line: 1, column: 1, path: "rules", message: "missing" }] };
  const live = { connections: 0, subscriptions: 0, newLiveQueries: 0, collections: [], affected: [] };
  expect(joinPlans([wrong, wrong])).toEqual(wrong);
  expect(joinPlans([plan(live), wrong])).toEqual(wrong);
});

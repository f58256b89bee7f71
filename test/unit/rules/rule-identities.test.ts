import { expect, test } from "vitest";
import { Collections, Limits } from "../../../src/config/config-schema.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";

/** The identities of the rules of each collection, as the file would configure them. */
function identitiesOf(collections: object, database = "shop"): Record<string, string[]> {
  const source = {
    mongodb: { database },
    collections: Collections.parse(collections),
    limits: Limits.parse({}),
  };
  return Object.fromEntries(
    [...compileRules(source).collections].map(([name, { rules }]) => [
      name,
      rules.map(({ identity }) => identity),
    ]),
  );
}

const RULES = [{ name: "own", filter: { owner: "%%user.sub" } }, { name: "rest" }];

test("equal rules of two collections have different identities, however the collections are named", () => {
  const { orders, invoices, bills, archive } = identitiesOf({
    orders: { rules: RULES },
    invoices: { rules: RULES },
    bills: { collection: "oldInvoices", rules: RULES },
    archive: { database: "archive", collection: "orders", rules: RULES },
  });
  const all = [orders, invoices, bills, archive].flatMap((identities) => identities ?? []);
  expect(new Set(all).size).toBe(8);
});

test("equal rules of one collection of MongoDB have one identity, whatever clients call the collection", () => {
  const { orders, all, elsewhere } = identitiesOf({
    orders: { rules: RULES },
    all: { collection: "orders", rules: RULES },
    elsewhere: { database: "shop", collection: "orders", rules: RULES },
  });
  expect(all).toEqual(orders);
  expect(elsewhere).toEqual(orders);
});

test("the identity stays the same when a name is written that was the default before", () => {
  const before = identitiesOf({ orders: { rules: RULES } });
  expect(identitiesOf({ orders: { collection: "orders", rules: RULES } })).toEqual(before);
  expect(identitiesOf({ orders: { database: "shop", rules: RULES } }, "other")).toEqual(before);
  expect(identitiesOf({ orders: { rules: RULES } }, "other")).not.toEqual(before);
});

test("an identity covers the lookups and the conditions of the earlier rules, and no names of rules", () => {
  const [, rest] = identitiesOf({ orders: { rules: RULES } })["orders"] ?? [];
  const restAfter = (first: object, more: object = {}) =>
    identitiesOf({ orders: { rules: [{ name: "first", ...first }, { name: "second" }], ...more } })[
      "orders"
    ]?.[1];
  expect(restAfter({})).toBe(rest);
  expect(restAfter({ filter: { x: 1 } })).toBe(rest);
  expect(restAfter({ when: { "%%user.x": 1 } })).not.toBe(rest);
  expect(restAfter({ anonymous: true })).not.toBe(rest);
  const lookups = { mine: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } };
  expect(restAfter({}, { lookups })).not.toBe(rest);
});

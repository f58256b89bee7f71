import { expect, test } from "vitest";
import { namesWantedAt } from "../../../src/console/rules/names-wanted.ts";

const RULE = "collections:\n  orders:\n    rules:\n      - name: a\n        ";
const field = (word: string, isKey: boolean, below = "") => ({
  kind: "field",
  word,
  collection: "orders",
  below,
  isKey,
});

test.each([
  ["a key of a filter in brackets", `${RULE}filter: { cus`, field("cus", true)],
  ["a later key", `${RULE}filter: { courier: "%%user.sub", st`, field("st", true)],
  ["a path with dots", `${RULE}filter: { customer.na`, field("customer.na", true)],
  ["a quoted key", `${RULE}filter: { "cus`, field("cus", true)],
  ["a key after a nested value", `${RULE}filter: { a: { $in: [1, 2] }, st`, field("st", true)],
  ["a branch of $or", `${RULE}filter: { $or: [{ a: 1 }, { st`, field("st", true)],
  ["an element of an array", `${RULE}filter: { items: { $elemMatch: { sk`, field("sk", true, "items.")],
  ["a key of a filter in a block", `${RULE}filter:\n          cus`, field("cus", true)],
  ["a branch of $or in a block", `${RULE}filter:\n          $or:\n            - st`, field("st", true)],
  ["included fields", `${RULE}fields: { include: [status, cu`, field("cu", false)],
  [
    "excluded fields in a block",
    `${RULE}fields:\n          exclude:\n            - mar`,
    field("mar", false),
  ],
  ["a list after its key", `${RULE}fields:\n          exclude: [mar`, field("mar", false)],
  ["fields to sort by", `${RULE}allow: { sort: [a, at`, field("at", false)],
  ["a rule in brackets", "collections:\n  orders:\n    rules: [{ name: a, filter: { cus", field("cus", true)],
  ["a rule in brackets in a list", `${RULE.slice(0, -18)}- { name: a, filter: { cus`, field("cus", true)],
  ["a draft in one line", "collections: { orders: { rules: [{ name: a, filter: { cus", field("cus", true)],
] as const)("wants fields at %s", (_, before, expected) => {
  expect(namesWantedAt(before)).toEqual(expected);
});

const claim = (word: string, conversion = "") => ({ kind: "claim", word, conversion });

test.each([
  ["a value in quotes", `${RULE}filter: { customer: "%%us`, claim("%%us")],
  ["a value without quotes", `${RULE}filter: { customer: %%`, claim("%%")],
  ["a key of a when", `${RULE}when: { "%%user.ro`, claim("%%user.ro")],
  ["a value in a block", `${RULE}filter:\n          customer: "%%user.org.i`, claim("%%user.org.i")],
  ["a conversion", `${RULE}filter: { _id: "%%oid:user.`, claim("%%oid:user.", "oid:")],
  [
    "a filter of a lookup",
    'collections:\n  orders:\n    lookups:\n      x: { filter: { u: "%%us',
    claim("%%us"),
  ],
] as const)("wants claims at %s", (_, before, expected) => {
  expect(namesWantedAt(before)).toEqual(expected);
});

test.each([
  ["values of a filter", `${RULE}filter: { customer: cus`],
  ["operators", `${RULE}filter: { customer: { $i`],
  ["options of a rule", `${RULE}fil`],
  ["the fields themselves", `${RULE}fields: { inc`],
  ["a when, which has no documents", `${RULE}when: { cus`],
  ["lookups, which read another collection", "collections:\n  orders:\n    lookups:\n      x: { filter: { u"],
  ["other sections", "limits: { filter: { cus"],
  ["placeholders of other sections", 'log: { level: "%%us'],
  ["comments", `${RULE}# filter: { cus`],
  ["an open quote", `${RULE}filter: { a: "x, cus`],
  ["closed brackets", `${RULE}filter: { a: 1 } cus`],
])("wants nothing at %s", (_, before) => {
  expect(namesWantedAt(before)).toBeNull();
});

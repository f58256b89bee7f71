import { expect, test } from "vitest";
import {
  describeNeed,
  missingPrivileges,
  type Need,
  type Privilege,
} from "../../../src/source/privileges.ts";

const followShop: Need = {
  resource: { db: "shop", collection: "" },
  actions: ["find", "changeStream"],
  purpose: "follow its collections",
};
const both = ["find", "changeStream"];

test.each<[string, Privilege[]]>([
  ["the database itself", [{ resource: { db: "shop", collection: "" }, actions: both }]],
  ["every database", [{ resource: { db: "", collection: "" }, actions: both }]],
  ["anything at all", [{ resource: { anyResource: true }, actions: ["anyAction"] }]],
  [
    "two roles, each with a part",
    both.map((action) => ({ resource: { db: "shop", collection: "" }, actions: [action] })),
  ],
])("rights on %s suffice to follow a database", (_name, privileges) => {
  expect(missingPrivileges([followShop], privileges)).toEqual([]);
});

test.each<[string, Privilege[]]>([
  ["none", []],
  ["another database", [{ resource: { db: "other", collection: "" }, actions: both }]],
  ["one collection of it", [{ resource: { db: "shop", collection: "orders" }, actions: both }]],
  ["the cluster", [{ resource: {}, actions: both }]],
])("rights on %s do not", (_name, privileges) => {
  expect(missingPrivileges([followShop], privileges)).toEqual([followShop]);
});

test("names only the actions that are missing", () => {
  const [missing] = missingPrivileges(
    [followShop],
    [{ resource: { db: "shop", collection: "" }, actions: ["find"] }],
  );
  expect(missing && describeNeed(missing)).toBe(
    "the user lacks changeStream on database shop, needed to follow its collections; " +
      'grant { resource: { db: "shop", collection: "" }, actions: ["changeStream"] }',
  );
});

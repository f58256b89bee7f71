import { expect, test } from "vitest";
import { readRules } from "../../../src/config/load-rules.ts";
import { diffRules, isSameRules, type PartDiff } from "../../../src/rules/diff-rules.ts";

const rules = (text: string) => readRules(`mongodb: { database: shop }\n${text}`, "t.yaml", {}).source;

const BASE = `
collections:
  orders:
    rules:
      - { name: staff, when: { "%%user.roles": { $in: [admin, support] } } }
      - { name: customer, filter: { customerId: "%%user.sub" }, fields: { exclude: [margin] } }
  messages:
    lookups:
      rooms: { collection: members, filter: { userId: "%%user.sub", banned: { $ne: true } }, value: roomId }
    rules:
      - name: member
        filter: { roomId: { $in: "%%lookup.rooms" } }
        allow: { sort: [at], maxLimit: 100 }
`;

const partsOf = (parts: readonly PartDiff[] = []) => parts.map(({ part, effect }) => `${part}: ${effect}`);

/** The one rule that differs after replacing `from` by `to`. */
function ruleAfter(from: string, to: string) {
  expect(BASE).toContain(from);
  const { collections } = diffRules(rules(BASE), rules(BASE.replace(from, to)));
  expect(collections).toHaveLength(1);
  const [diff] = collections;
  expect(diff?.rules).toHaveLength(1);
  return { collection: diff?.collection, ...diff?.rules[0], parts: partsOf(diff?.rules[0]?.parts) };
}

test("reports no change for the same rules in another notation", () => {
  const rewritten = BASE.replace(
    '{ customerId: "%%user.sub" }',
    '{ $and: [{ customerId: { $in: ["%%user.sub"] } }] }',
  )
    .replace("[admin, support]", "[support, admin]")
    .replace("database: shop", "database: shop");
  expect(isSameRules(diffRules(rules(BASE), rules(rewritten)))).toBe(true);
});

test.each([
  ["fewer users", "[admin, support]", "[admin]", "when: fewer users"],
  ["more users", "[admin, support]", "[admin, support, sales]", "when: more users"],
  [
    "fewer documents",
    '{ customerId: "%%user.sub" }',
    '{ customerId: "%%user.sub", open: true }',
    "filter: fewer documents",
  ],
  ["all documents", '{ customerId: "%%user.sub" }', "{}", "filter: more documents"],
  [
    "by another claim",
    '{ customerId: "%%user.sub" }',
    '{ customerId: "%%user.org" }',
    "filter: other documents",
  ],
  ["fewer fields", "[margin]", "[margin, notes]", "fields: fewer fields"],
  ["more fields", "fields: { exclude: [margin] }", "", "fields: more fields"],
  [
    "anonymous users",
    "fields: { exclude",
    "anonymous: true, fields: { exclude",
    "anonymous: anonymous users, too",
  ],
  ["a smaller limit", "maxLimit: 100", "maxLimit: 50", "allow.maxLimit: less may be asked"],
  ["no limit", ", maxLimit: 100", "", "allow.maxLimit: more may be asked"],
  [
    "an index required",
    "maxLimit: 100",
    "maxLimit: 100, requireIndex: true",
    "allow.requireIndex: an index has to serve the snapshot",
  ],
  [
    "no snapshots",
    "maxLimit: 100",
    "maxLimit: 100, snapshot: false",
    "allow.snapshot: snapshots are forbidden",
  ],
  ["other sorts", "sort: [at]", "sort: [at, author]", "allow.sort: other sorts may be asked"],
] as const)("a rule that shows or allows %s", (_name, from, to, part) => {
  expect(ruleAfter(from, to)).toMatchObject({ change: "changed", parts: [part] });
});

test("shows the old and the new value of each changed part as the file has it", () => {
  const { collections } = diffRules(rules(BASE), rules(BASE.replace("[margin]", "[margin, notes]")));
  expect(collections[0]?.rules[0]?.parts).toEqual([
    { part: "fields", effect: "fewer fields", from: "all but margin", to: "all but margin, notes" },
  ]);
});

test("an added rule appears among the others, a removed rule is named", () => {
  const added = ruleAfter(
    "      - { name: customer",
    "      - { name: auditor, when: {} }\n      - { name: customer",
  );
  expect(added).toMatchObject({ rule: "auditor", change: "added", note: "before customer" });
  const line = BASE.split("\n").find((text) => text.includes("name: staff")) ?? "";
  expect(ruleAfter(`${line}\n`, "")).toMatchObject({ rule: "staff", change: "removed", note: null });
});

test("reports a rule with another name as renamed, not as removed and added", () => {
  expect(ruleAfter("name: customer", "name: buyer")).toMatchObject({
    change: "renamed",
    note: "it was customer",
  });
});

test("reports a changed order of rules", () => {
  const [staff = "", customer = ""] = BASE.split("\n").filter((text) => /name: (staff|customer)/.test(text));
  const swapped = BASE.replace(`${staff}\n${customer}`, `${customer}\n${staff}`);
  const [diff] = diffRules(rules(BASE), rules(swapped)).collections;
  expect(diff?.rules).toEqual([]);
  expect(diff?.parts).toMatchObject([{ part: "order", from: "staff, customer", to: "customer, staff" }]);
});

test("a lookup that finds fewer documents changes every rule that uses it", () => {
  const [diff] = diffRules(rules(BASE), rules(BASE.replace("banned:", "left: null, banned:"))).collections;
  expect(partsOf(diff?.parts)).toEqual(["lookups.rooms: fewer values"]);
  expect(partsOf(diff?.rules[0]?.parts)).toEqual(["filter: other documents, by its lookup"]);
});

test("a lookup by another name that finds the same changes no rule", () => {
  const [diff] = diffRules(rules(BASE), rules(BASE.replaceAll("rooms", "places"))).collections;
  expect(partsOf(diff?.parts)).toEqual(["lookups.places: new", "lookups.rooms: removed"]);
  expect(diff?.rules).toEqual([]);
});

test("a claim for a single value differs from the list of the same name", () => {
  const list = BASE.replace('"%%user.sub" }, fields', '{ $in: "%%user.sub" } }, fields');
  expect(partsOf(diffRules(rules(BASE), rules(list)).collections[0]?.rules[0]?.parts)).toEqual([
    "filter: other documents",
  ]);
});

test("reports collections that were added, removed or moved, and changed limits", () => {
  const edited = `${BASE.replace("  orders:\n", "  invoices:\n").replace("  messages:\n", "  messages:\n    database: chat\n")}
limits: { windowSize: 500 }`;
  const { collections, limits } = diffRules(rules(BASE), rules(edited));
  expect(collections.map(({ collection, change }) => [collection, change])).toEqual([
    ["invoices", "added"],
    ["messages", "changed"],
    ["orders", "removed"],
  ]);
  expect(collections[1]?.parts).toContainEqual({
    part: "collection",
    effect: "other documents",
    from: "shop.messages",
    to: "chat.messages",
  });
  expect(limits).toMatchObject([
    { part: "limits.windowSize", effect: "less may be asked", from: "1000", to: "500" },
  ]);
});

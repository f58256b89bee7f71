/** Apps of Atlas App Services as rules: the exact conversions, and the parts that grant no access and are reported. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { importApp } from "../../../src/app-services/import-app.ts";
import { runCommand } from "../../support/command.ts";
import { exportedApp, importRules } from "../../support/exported-app.ts";

const readAll = { read: true, write: false, insert: false, delete: false };
/** A role that reads all of what it applies to. */
const role = (name: string, applyWhen: unknown, more: object = readAll) => ({
  name,
  apply_when: applyWhen,
  ...more,
});
const OWNER = { owner_id: "%%user.id" };
const own = { owner_id: "%%user.sub" };

test("the preset roles of App Services become the rules that one would write", async () => {
  const { rules, told, claims } = await importRules({
    roles: [
      role("admin", { "%%user.custom_data.role": "admin" }, { read: true, write: true }),
      role("owner", {}, { document_filters: { read: OWNER, write: OWNER }, read: true, write: true }),
    ],
  });
  expect(rules).toEqual([
    { name: "admin", when: { "%%user.custom_data.role": "admin" } },
    { name: "owner", filter: own },
  ]);
  expect(told).toEqual([]);
  expect(claims).toEqual(["custom_data.role", "sub"]);
});

test("roles that apply by document are one rule, as a user of ours has one rule only", async () => {
  const { rules, told } = await importRules({
    roles: [role("owner", OWNER), role("public", { visibility: "public" })],
  });
  expect(rules).toEqual([{ name: "owner+public", filter: { $or: [own, { visibility: "public" }] } }]);
  expect(told).toEqual([]);
});

test("an earlier role that shows less takes its documents from the later ones", async () => {
  const { rules, told } = await importRules({
    roles: [role("sealed", { sealed: true }, { read: false, write: false }), role("all", {})],
  });
  expect(rules).toEqual([{ name: "all", filter: { $nor: [{ sealed: true }] } }]);
  expect(told).toEqual([]);
});

test("a claim that some users lack does not withdraw access that needs no claim", async () => {
  const { rules } = await importRules({
    roles: [role("owner", OWNER), role("team", { team: { $in: "%%user.custom_data.teams" } })],
  });
  expect(rules).toEqual([
    {
      name: "owner+team",
      when: { "%%user.custom_data.teams": { $exists: true } },
      filter: { $or: [own, { team: { $in: "%%user.custom_data.teams" } }] },
    },
    { name: "owner", filter: own },
  ]);
});

test.each([
  [{ owner_id: "%%user.id" }, { owner_id: "%%user.sub" }],
  [{ "%%root.owner_id": "%%user.id" }, { owner_id: "%%user.sub" }],
  [{ owner: { "%stringToOid": "%%user.id" } }, { owner: "%%oid:user.sub" }],
  [{ "%%user.id": { "%oidToString": "%%root._id" } }, { _id: "%%oid:user.sub" }],
  [{ "%%root._id": { "%stringToOid": "%%user.id" } }, { _id: "%%oid:user.sub" }],
  [{ email: "%%user.data.email" }, { email: "%%user.data.email" }],
  [{ score: { $gt: 5, $lte: 9 } }, { score: { $gt: 5, $lte: 9 } }],
  [
    { score: { "%and": [{ $gte: 1 }, { "%or": [{ $lt: 3 }, 7] }] } },
    { score: { $gte: 1 }, $or: [{ score: { $lt: 3 } }, { score: 7 }] },
  ],
  [{ "%or": [OWNER, { shared: "%%true" }] }, { $or: [own, { shared: true }] }],
  [{ "%%user.id": { $in: "%%root.members" } }, { members: { $elemMatch: { $eq: "%%user.sub" } } }],
  [{ region: { $in: ["eu", "%%user.data.region"] } }, { region: { $in: ["eu", "%%user.data.region"] } }],
  [{ at: { $gte: { $date: "2024-01-01T00:00:00Z" } } }, { at: { $gte: { $date: "2024-01-01T00:00:00Z" } } }],
  [{ region: "%%values.home" }, { region: "eu" }],
  [{ region: { $in: "%%values.regions" } }, { region: { $in: ["eu", "us"] } }],
  [{ "%%environment.tag": "production", open: true }, { open: true }],
  [{ region: "%%environment.values.region" }, { region: "us" }],
  [{ price: "${PRICE}" }, { price: "${PRICE}" }],
] as const)("the expression %j is taken over", async (applyWhen, filter) => {
  const files = {
    "values/home.json": { name: "home", value: "eu", from_secret: false },
    "values/regions.json": { name: "regions", value: ["eu", "us"] },
    "environments/production.json": { values: { region: "us" } },
  };
  const { rules, told } = await importRules(
    { roles: [role("r", applyWhen)] },
    { environment: "production" },
    files,
  );
  expect(told).toEqual([]);
  expect(rules).toEqual([{ name: "r", filter }]);
});

test.each([
  [{ "%%true": { "%function": { name: "isMember", arguments: [] } } }, /%function: a function decides/],
  [{ "%%prevRoot.owner": "%%user.id" }, /%%prevRoot\.owner is not known here/],
  [{ "%%request.remoteIPAddress": "10.0.0.1" }, /%%request\.remoteIPAddress is not known here/],
  [{ "%%environment.tag": "production" }, /needs --environment NAME/],
  [{ token: "%%values.secret" }, /not among the exported values/],
  [{ parent: "%%root.owner" }, /two fields of the document are compared/],
  [{ "%%user.id": "%%user.custom_data.boss" }, /two fields of the user are compared/],
  [{ owner_id: null }, /null, which a missing field may or may not be/],
  [{ tags: ["a", "b"] }, /a list where a single value is supported/],
  [{ owner_id: "x-%%user.id" }, /an expansion inside a longer text/],
  [{ place: { $near: [1, 2] } }, /\$near is not understood/],
  ["yes", /not an expression/],
  [undefined, /missing: the role applies to nobody/],
])("the expression %j grants nothing to any user, and is reported", async (applyWhen, why) => {
  const files = { "values/secret.json": { name: "secret", value: "the-name", from_secret: true } };
  const { rules, told } = await importRules({ roles: [role("r", applyWhen)] }, {}, files);
  expect(rules).toEqual([]);
  expect(told.join("\n")).toMatch(why);
  expect(told.join("\n")).toContain("nobody may read it: left out");
});

test("what is not understood in one part of an expression takes away that part alone", async () => {
  const fn = { "%%true": { "%function": { name: "f" } } };
  const either = await importRules({ roles: [role("r", { "%or": [OWNER, fn] })] });
  expect(either.rules).toEqual([{ name: "r", filter: own }]);
  const both = await importRules({ roles: [role("r", { "%and": [OWNER, fn] })] });
  expect(both.rules).toEqual([]);
  const neither = await importRules({ roles: [role("r", { open: true, "%%false": fn })] });
  expect(neither.rules).toEqual([]);
});

test("a condition on a field that no rule can speak of is not lost: the collection is left out", async () => {
  const text = `{ "roles": [{ "name": "r", "apply_when": { "__proto__": "x", "a": 1 }, "read": true }] }`;
  const folder = await exportedApp({ "data_sources/a/rules/orders/rules.json": text });
  const { config, problems } = await importApp(folder);
  expect(config).toBeUndefined();
  expect(problems[0]?.message).toBe("no rule can speak of a field __proto__; rename the field. Left out");
});

test("a role that cannot be understood and shows less stops the ones after it, which would be too much", async () => {
  const fn = { "%%true": { "%function": { name: "isBanned" } } };
  const { rules, told } = await importRules({
    roles: [role("banned", fn, { read: false }), role("all", {})],
  });
  expect(rules).toEqual([]);
  expect(told.join("\n")).toContain('role "all": follows a role that may apply as well');
  const moderator = await importRules({ roles: [role("moderator", fn), role("owner", OWNER)] });
  expect(moderator.rules).toEqual([{ name: "owner", filter: own }]);
});

test("users without access get a rule that says so, not the next one", async () => {
  const { rules } = await importRules({
    roles: [role("banned", { "%%user.custom_data.banned": true }, { read: false }), role("all", {})],
  });
  expect(rules).toEqual([
    { name: "nothing", when: { "%%user.custom_data.banned": true }, filter: { _id: { $in: [] } } },
    { name: "all" },
  ]);
});

test.each([
  [
    { fields: { _id: { read: true }, a: { read: true }, b: { write: true }, c: {} } },
    { include: ["a", "b"] },
  ],
  [{ fields: { margin: { read: false } }, additional_fields: { read: true } }, { exclude: ["margin"] }],
  [{ fields: { margin: {} }, additional_fields: { write: true } }, { exclude: ["margin"] }],
  [
    { fields: { _id: { read: true }, a: { fields: { b: { read: true }, c: { read: false } } } } },
    { include: ["a.b"] },
  ],
  [{ additional_fields: { read: true } }, undefined],
])("the rights on fields %j are those that show", async (more, fields) => {
  const { rules } = await importRules({ roles: [role("r", {}, more)] });
  expect(rules).toEqual([{ name: "r", ...(fields && { fields }) }]);
});

test("a role that hides _id shows nothing, unless that is allowed", async () => {
  const rules = { roles: [role("r", {}, { fields: { title: { read: true } } })] };
  const strict = await importRules(rules);
  expect(strict.rules).toEqual([]);
  expect(strict.told.join("\n")).toContain("--allow-id accepts that");
  expect((await importRules(rules, { allowId: true })).rules).toEqual([
    { name: "r", fields: { include: ["title"] } },
  ]);
});

test.each([
  [{ document_filter: { read: OWNER } }, /document_filter is not known/],
  [{ document_filters: { reads: OWNER } }, /document_filters\.reads is not known/],
  [{ document_filters: false }, /have to be objects/],
  [{ fields: ["margin"], additional_fields: { read: true } }, /have to be objects/],
])("a role with %j gives nothing: what is not understood might be what narrows it", async (more, why) => {
  const { rules, told } = await importRules({ roles: [role("r", {}, { ...readAll, ...more })] });
  expect(rules).toEqual([]);
  expect(told.join("\n")).toMatch(why);
});

test("fields that only some roles of a user show are hidden, and reported", async () => {
  const { rules, told } = await importRules({
    roles: [
      role("owner", OWNER),
      role("public", {}, { fields: { margin: {} }, additional_fields: { read: true } }),
    ],
  });
  expect(rules).toEqual([{ name: "owner+public", fields: { exclude: ["margin"] } }]);
  expect(told.join("\n")).toContain("roles of one user show different fields");
});

test("document filters stand before all rights; the right to write is one to read", async () => {
  const filtered = (document_filters: object, more: object) =>
    importRules({ roles: [role("r", {}, { document_filters, ...more })] }).then(
      ({ rules }) => rules[0]?.filter,
    );
  expect(await filtered({ read: { open: true }, write: OWNER }, { read: true })).toEqual({ open: true });
  expect(await filtered({ read: false, write: OWNER }, { read: true, write: true })).toEqual(own);
  expect(await filtered({ read: { open: true }, write: OWNER }, { read: true, write: true })).toEqual({
    $or: [{ open: true }, own],
  });
  expect(await filtered({ read: { open: true } }, { write: true })).toEqual({ open: true });
  const onlyInserts = { write: { "%%prevRoot": { "%exists": false } }, insert: true };
  expect(await filtered({}, onlyInserts)).toBeUndefined();
});

test("filters take away from every role, for whom they apply", async () => {
  const { rules } = await importRules({
    roles: [role("owner", OWNER)],
    filters: [
      { name: "guests", apply_when: { "%%user.custom_data.guest": true }, query: { open: true } },
      { name: "live", apply_when: true, query: { deleted: { $ne: true } }, projection: { margin: 0 } },
    ],
  });
  const fields = { exclude: ["margin"] };
  expect(rules).toEqual([
    {
      name: "owner",
      when: { "%%user.custom_data.guest": true },
      filter: { ...own, open: true, deleted: { $ne: true } },
      fields,
    },
    { name: "owner-2", filter: { ...own, deleted: { $ne: true } }, fields },
  ]);
});

test.each([
  [{ query: { $where: "true" } }, /Left out/],
  [{ query: { a: "%%request.remoteIPAddress" } }, /its users see nothing/],
  [{ where: { a: 1 } }, /where is not known/],
  [{ query: [] }, /its users see nothing/],
  [{ projection: { a: { $slice: 1 } } }, /not a list of paths/],
  [{ projection: { _id: 0, a: 1 } }, /hides _id/],
  [{ projection: { owner_id: 0 } }, /hides owner_id, which roles use in conditions/],
])("the filter %j cannot be applied, so nobody sees anything", async (filter, why) => {
  const { rules, told } = await importRules({
    roles: [role("owner", OWNER)],
    filters: [{ name: "f", apply_when: {}, ...filter }],
  });
  expect(rules).toEqual([]);
  expect(told.join("\n")).toMatch(why);
});

test("filters that both show and hide fields show nothing, as in App Services", async () => {
  const filter = (name: string, projection: object) => ({ name, apply_when: true, projection });
  const { rules, told } = await importRules({
    roles: [role("all", {})],
    filters: [filter("f", { _id: 1, a: 1 }), filter("g", { b: 0 })],
  });
  expect(rules).toEqual([]);
  expect(told.join("\n")).toContain('"f and g": projection: some show and some hide fields');
});

test("a filter whose condition is not understood applies to everybody", async () => {
  const { rules, told } = await importRules({
    roles: [role("all", {})],
    filters: [{ name: "f", apply_when: { "%%true": { "%function": { name: "f" } } }, query: { open: true } }],
  });
  expect(rules).toEqual([{ name: "all", filter: { open: true } }]);
  expect(told.join("\n")).toContain("the filter is applied to everybody");
});

test("claims go by the names that the token gives them", async () => {
  const { rules, claims } = await importRules(
    { roles: [role("team", { team: "%%user.custom_data.team", "%%user.data.role": "member" })] },
    {
      claims: new Map([
        ["custom_data", "app"],
        ["data.role", "role"],
      ]),
    },
  );
  expect(rules).toEqual([
    { name: "team", when: { "%%user.role": "member" }, filter: { team: "%%user.app.team" } },
  ]);
  expect(claims).toEqual(["app.team", "role"]);
});

test("collections without roles have the default ones; two of one name bear their database's", async () => {
  const folder = await exportedApp({
    "data_sources/atlas/default_rule.json": { roles: [role("owner", OWNER)] },
    "data_sources/atlas/shop/orders/rules.json": { database: "shop", collection: "orders", roles: [] },
    "data_sources/atlas/shop/items/schema.json": {},
    "data_sources/atlas/old/orders/rules.json": {
      database: "old",
      collection: "orders",
      roles: [role("all", {})],
    },
  });
  const { config, problems } = await importApp(folder);
  expect(config).toContain("old_orders:");
  expect(config).toContain("shop_orders:");
  expect(config).toContain("items:");
  expect(problems.map(({ file }) => file)).toEqual(["data_sources/atlas/default_rule.json"]);
});

test.each([
  ["that is not JSON", "{ roles"],
  ["whose roles are no list", { roles: { name: "r" } }],
  ["with a role that is none", { roles: [role("all", {}), "owner"] }],
  ["with a filter that is none", { roles: [role("all", {})], filters: [1] }],
])("a file %s gives nothing, not even the default roles", async (_name, rules) => {
  const folder = await exportedApp({
    "data_sources/a/default_rule.json": { roles: [role("all", {})] },
    "data_sources/a/shop/orders/rules.json": rules,
    "data_sources/a/shop/items/schema.json": {},
  });
  const { config, problems } = await importApp(folder);
  expect(config).toContain("items:");
  expect(config).not.toContain("orders:");
  expect(problems.map(({ file }) => file)).toContain("data_sources/a/shop/orders/rules.json");
});

test("of two files for one collection neither counts", async () => {
  const folder = await exportedApp({
    "data_sources/a/shop/orders/rules.json": { roles: [role("all", {})] },
    "data_sources/a/rules/shop.orders.json": { roles: [role("owner", OWNER)] },
  });
  const { config, problems } = await importApp(folder);
  expect(config).toBeUndefined();
  expect(problems.filter(({ message }) => message.includes("another file"))).toHaveLength(2);
});

test("of several clusters one has to be chosen; the layout of before is read too", async () => {
  const folder = await exportedApp({
    "data_sources/one/shop/orders/rules.json": { roles: [role("all", {})] },
    "services/two/config.json": { type: "mongodb-atlas" },
    "services/two/rules/shop.things.json": {
      database: "shop",
      collection: "things",
      roles: [role("owner", OWNER)],
    },
  });
  await expect(importApp(folder)).rejects.toThrow("Choose one with --data-source: one, two");
  expect((await importApp(folder, { dataSource: "two" })).config).toContain("things:");
});

test("an environment that is misspelt is refused: other roles would apply in it", async () => {
  const rules = { roles: [role("r", { "%%environment.tag": { $ne: "production" } })] };
  await expect(importRules(rules, { environment: "prodution" })).rejects.toThrow(
    "there is no environment prodution",
  );
  expect((await importRules(rules, { environment: "production" })).rules).toEqual([]);
  expect((await importRules(rules, { environment: "no-environment" })).rules).toEqual([{ name: "r" }]);
});

test("roles that need more than 64 rules give no rules", async () => {
  const roles = Array.from({ length: 7 }, (_, n) => role(`r${n}`, { [`%%user.data.f${n}`]: true, kind: n }));
  const { rules, told } = await importRules({ roles });
  expect(rules).toEqual([]);
  expect(told.join("\n")).toContain("more than 64 rules");
});

const IO = {
  env: { MONGODB_URI: "mongodb://127.0.0.1:1/?replicaSet=rs0", TIDEWIRE_JWT_SECRET: "x".repeat(32) },
  now: () => 0,
};

function run(...argv: string[]) {
  return runCommand(["import-app-services", ...argv], IO);
}

test("the command writes a configuration that `check` accepts, and reports what is missing", async () => {
  const folder = await exportedApp({
    "data_sources/a/shop/orders/rules.json": { roles: [role("owner", OWNER)] },
    "data_sources/a/shop/logs/rules.json": { roles: [role("f", { "%%true": { "%function": {} } })] },
  });
  const file = join(folder, "tidewire.yaml");
  const { code, out, err } = await run(folder, "--out", file);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toContain(
    'data_sources/a/shop/logs/rules.json: shop.logs: role "f": apply_when.%%true.%function',
  );
  expect(err).toContain("Tokens need the claims: sub");
  expect((await runCommand(["check", "--config", file], IO)).code).toBe(0);
  expect(await readFile(file, "utf8")).toContain('filter: { owner_id: "%%user.sub" }');
  const again = await run(folder, "--out", file);
  expect(again.code).toBe(2);
  expect(again.err).toContain("is there already; name another one");
  const json = await run(folder, "--out", `${file}.json`, "--json");
  expect(JSON.parse(json.out)).toHaveLength(2);
});

test.each([
  [[], /one folder is needed/],
  [["/nowhere/at-all"], /there is no folder/],
  [[".", "--claim", "x"], /--claim takes PATH=CLAIM/],
  [[".", "--json"], /--json needs --out/],
])("%j is a wrong command line", async (argv, text) => {
  const { code, err } = await run(...argv);
  expect(code).toBe(2);
  expect(err).toMatch(text);
});

test("where everything is taken over, the exit code is 0 and the configuration goes to standard output", async () => {
  const folder = await exportedApp({
    "data_sources/a/shop/orders/rules.json": { roles: [role("owner", OWNER)] },
  });
  const { code, out } = await run(folder);
  expect(code).toBe(0);
  expect(out).toMatch(/^# From an app of Atlas App Services/);
});

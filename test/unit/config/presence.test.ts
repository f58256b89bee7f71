// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
/** The section `presence`: its collection, the checks of its rules, and the names of the service's own collections. */
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";
import { namesOf, statePrefixOf } from "../../../src/config/namespaces.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";

const env = { SECRET: "0123456789abcdef0123456789abcdef" };
const AUTH = 'auth: { jwt: { algorithms: [HS256], secret: "${SECRET}" } }';

const parse = (text: string, mongodb = "database: shop") =>
  parseConfig(`mongodb: { ${mongodb} }\n${AUTH}\n${text}`, "t.yaml", env);

function parsed(text: string, mongodb?: string) {
  const result = parse(text, mongodb);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config;
}

function problemsOf(text: string) {
  const result = parse(text);
  return result.ok ? [] : result.problems.map(({ path, message }) => `${path}: ${message}`);
}

const PRESENCE = `
presence:
  rules: [{ name: member, filter: { room: { $in: "%%lookup.rooms" } }, allow: { dataBytes: 2KiB } }]
  lookups: { rooms: { collection: members, filter: { user: "%%user.sub" }, value: room } }
`;

test("the collection presence is the one in the state database, and the lookups are in that of the application", () => {
  const config = parsed(`${PRESENCE}
collections:
  orders: { rules: [{ name: all }] }
  presence:
    lookups: { mine: { collection: friends, filter: { user: "%%user.sub" }, value: friend } }
    rules: [{ name: all, fields: { exclude: [since] } }]
`);
  expect(config.presence).toMatchObject({
    ttlMs: 15_000,
    rules: [{ allow: { dataBytes: 2_048, rooms: 20 } }],
  });
  expect(statePrefixOf(config)).toBe("");
  expect(namesOf(config).sort()).toEqual([
    "shop.friends",
    "shop.members",
    "shop.orders",
    "tidewire.presence",
  ]);
  const { collections, presence } = compileRules(config);
  expect(collections.get("presence")).toMatchObject({ database: "tidewire", collectionName: "presence" });
  const shown = collections.get("presence")?.rules[0]?.projection.fields ?? [];
  expect(Array.from(shown, ([name]) => name).sort()).toEqual(["node", "since"]);
  expect(presence?.entries.lookups.get("rooms")).toMatchObject({ database: "shop" });
});

test("in a database with other collections it has their prefix", () => {
  const config = parsed(
    `${PRESENCE}collections: { orders: { rules: [{ name: all }] } }`,
    "database: shop, stateDatabase: shop",
  );
  expect(statePrefixOf(config)).toBe("tidewire.");
  expect(namesOf(config)).toContain("shop.tidewire.presence");
});

test("without the section, presence is a collection like any other", () => {
  const config = parsed("collections: { presence: { rules: [{ name: all }] } }");
  expect(namesOf(config)).toEqual(["shop.presence"]);
});

test("faults of its rules are found at their lines", () => {
  const found = problemsOf(`
presence:
  rules:
    - { name: a, filter: { room: { $where: "1" } } }
    - { name: a, when: { "%%user.roles": "x" } }
    - { name: b, filter: { room: { $in: "%%lookup.nothing" } } }
    - { name: c, fields: { include: [room] } }
collections: { orders: { rules: [{ name: all }] } }
`);
  expect(found).toEqual([
    expect.stringMatching(/^presence\.rules\[0\]\.filter\.room/),
    expect.stringMatching(/^presence\.rules\[1\]\.name: a second rule "a"/),
    expect.stringMatching(/^presence\.rules\[2\]\.filter\.room\["\$in"\]: there is no lookup/),
    expect.stringMatching(/^presence\.rules\[3\]\.fields: unknown key "fields"/),
  ]);
});

test("neither its collection nor its lookups may be elsewhere in the state database", () => {
  expect(
    problemsOf(`
presence:
  rules: [{ name: all }]
  lookups: { keys: { database: tidewire, collection: keys, filter: {}, value: key } }
collections: { presence: { database: other, collection: entries, rules: [{ name: all }] } }
`),
  ).toEqual([
    expect.stringMatching(/^presence\.lookups\.keys\.database: found tidewire/),
    expect.stringMatching(/^collections\.presence\.database: found other/),
    expect.stringMatching(/^collections\.presence\.collection: found entries/),
  ]);
});

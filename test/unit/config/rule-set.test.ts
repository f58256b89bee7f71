// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax itself is the subject.
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { readConfigText } from "../../../src/config/config-text.ts";
import { readRuleSet, termsOf } from "../../../src/config/rule-set.ts";
import { collectionsText, ruleSetFile, testsText } from "../../../src/config/rule-set-text.ts";
import { testConfig, toConfig } from "../../support/service.ts";

const CONFIG = toConfig(testConfig("mongodb://127.0.0.1", "shop", { collections: { a: { rules: [] } } }));
const read = (text: string) => readRuleSet(text, "rule set 5", termsOf(CONFIG));
const taken = (text: string, env: NodeJS.ProcessEnv = {}) =>
  collectionsText(text, readConfigText(text, "file", env).value);

const FILE = `# who sees what
collections:
  # the orders of the shop
  orders:
    rules:
      - name: own # their own
        filter: { customerId: "%%user.sub", "lines.0.sku": { $gt: "b" } }
server: { port: 1 }
`;

test("takes the collections out of a file with their comments, and a node reads the same collections", () => {
  const text = taken(FILE);
  expect(text).toContain("# the orders of the shop");
  expect(text).toContain("# their own");
  expect(text).not.toContain("server");
  const collections = read(text);
  expect(collections).toMatchObject({
    ok: true,
    collections: { orders: { rules: [{ name: "own", filter: { "lines.0.sku": { $gt: "b" } } }] } },
  });
});

test("a file that is written for an admin and read again is the same set", () => {
  const tests =
    "# the tests\ngiven: { members: [] }\ntests:\n  - { name: a, as: { sub: u }, collection: orders, expect: allowed }\n";
  const file = ruleSetFile({ number: 5, collections: taken(FILE), tests }, " by ada");
  expect(file).toMatch(/^# by ada\n/);
  expect(readConfigText(file, "file", {}).value).toMatchObject({ parent: 5, collections: { orders: {} } });
  expect(taken(file)).toBe(taken(FILE));
  expect(testsText(file, readConfigText(file, "file", {}).value)).toBe(tests);
});

test("writes anchors and variables out, because a node has neither the rest of the file nor the same environment", () => {
  const file = [
    "x-own: &own { customerId: '%%user.sub' }",
    "collections:",
    "  orders: { rules: [{ name: own, filter: { <<: *own, region: '${REGION}' } }] }",
    "  other: { rules: [{ name: text, filter: { a: '$${literal}' } }] }",
  ].join("\n");
  const collections = read(taken(file, { REGION: "eu${x}" }));
  expect(collections).toMatchObject({
    ok: true,
    collections: {
      orders: { rules: [{ filter: { customerId: "%%user.sub", region: "eu${x}" } }] },
      other: { rules: [{ filter: { a: "${literal}" } }] },
    },
  });
});

test("reports every fault of a set with its location, and the contradictions with the node's configuration", () => {
  expect(
    read(
      stringify({
        orders: {
          rules: [
            { name: "a", filtr: {} },
            { name: "b", filter: { $where: "1" } },
          ],
        },
      }),
    ),
  ).toMatchObject({
    ok: false,
    problems: [
      { file: "rule set 5", path: "collections.orders.rules[0].filtr" },
      { path: 'collections.orders.rules[1].filter["$where"]' },
    ],
  });
  expect(read("orders: { database: shop-state, rules: [] }")).toMatchObject({
    ok: false,
    problems: [{ message: expect.stringContaining("mongodb.stateDatabase") }],
  });
  expect(read("{}")).toMatchObject({
    ok: false,
    problems: [{ message: expect.stringContaining("at least one") }],
  });
  expect(read("a: [")).toMatchObject({ ok: false });
});

test("the tests of a text without tests are empty", () => {
  expect(testsText("collections: {}", { collections: {} })).toBe("");
});

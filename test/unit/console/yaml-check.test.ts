import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkYaml } from "../../../src/console/rules/yaml-check.ts";
import { ROOT } from "../../support/build.ts";

test.each(["demo.yaml", "tidewire.yaml"])("finds nothing in config/%s", (name) => {
  expect(checkYaml(readFileSync(join(ROOT, "config", name), "utf8"))).toEqual([]);
});

const HEAD = "mongodb: { database: shop }\nauth: { jwt: { algorithms: [HS256], secret: x } }\n";

test("reports an unknown option at its key", () => {
  const text = `${HEAD}collections:\n  orders:\n    rules:\n      - nam: a\n`;
  expect(checkYaml(text)).toEqual(
    expect.arrayContaining([
      { line: 6, column: 9, path: "collections.orders.rules.0.nam", message: "there is no option nam here" },
    ]),
  );
});

test("reports a value of the wrong type", () => {
  const [problem] = checkYaml(`${HEAD}collections: { orders: { rules: 3 } }\n`);
  expect(problem).toMatchObject({ line: 3, path: "collections.orders.rules" });
});

test("reports a text that is no YAML, and nothing else", () => {
  const [problem, ...others] = checkYaml("mongodb: [\n");
  expect(problem?.line).toBeGreaterThan(0);
  expect(others).toEqual([]);
});

test("reports an empty text", () => expect(checkYaml("")).toHaveLength(1));

test("accepts a configuration of 2,000 rules", () => {
  const rules = Array.from(
    { length: 2_000 },
    (_, at) => `      - name: rule${at}\n        filter: { a: ${at} }\n`,
  );
  const text = `${HEAD}collections:\n  orders:\n    rules:\n${rules.join("")}`;
  expect(checkYaml(text)).toEqual([]);
});

test("a draft of rules needs no other section, and of a rule set only the collections are checked", () => {
  const rules = "collections:\n  orders:\n    rules: [{ name: a }]\n";
  expect(checkYaml(rules)).toEqual([]);
  const set = `parent: 4\ntests: []\nserver: { nonsense: 1 }\n${rules}`;
  expect(checkYaml(set)).not.toEqual([]);
  expect(checkYaml(set, true)).toEqual([]);
  expect(checkYaml(set.replace("name: a", "nam: a"), true)).toMatchObject([
    { path: "collections.orders.rules.0" },
    { path: "collections.orders.rules.0.nam" },
  ]);
  expect(checkYaml("collections: 3\n", true)).toMatchObject([{ path: "collections" }]);
});

import { expect, test } from "vitest";
import { proposalsAt } from "../../../src/console/rules/complete.ts";

const labelsAt = (before: string) => proposalsAt(before).map(({ label }) => label);

test("proposes the sections of the configuration, with their explanation", () => {
  expect(labelsAt("")).toEqual(expect.arrayContaining(["mongodb", "collections", "limits"]));
  const [port] = proposalsAt("server:\n  ").filter(({ label }) => label === "port");
  expect(port?.info).toMatch(/\S/);
});

test("proposes the options of a rule, whatever the name of its collection", () => {
  const before = "collections:\n  orders:\n    rules:\n      - name: a\n        ";
  expect(labelsAt(before)).toEqual(expect.arrayContaining(["when", "filter", "fields", "allow"]));
});

test("proposes the values of an option that has few", () => {
  expect(labelsAt("log:\n  level: ")).toEqual(expect.arrayContaining(["info", "warn"]));
  expect(labelsAt("server:\n  admin:\n    console: ")).toEqual(["true", "false"]);
});

test("proposes nothing where the schema knows nothing", () => {
  expect(labelsAt("nonsense:\n  ")).toEqual([]);
  expect(labelsAt("server:\n  host: ")).toEqual([]);
});

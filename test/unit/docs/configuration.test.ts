import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { configReference } from "../../../src/config/reference.ts";
import { ROOT } from "../../support/build.ts";

test("docs/configuration.md is current (if not: npm run generate)", () => {
  expect(readFileSync(join(ROOT, "docs", "configuration.md"), "utf8")).toBe(configReference());
});

test("every option of the reference has a description and its accepted values", () => {
  const rows = configReference()
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split(/(?<!\\) \| /));
  expect(rows.length).toBeGreaterThan(60);
  for (const [option = "", value, takes, what] of rows) {
    expect([value, takes, what].includes(""), option).toBe(false);
    expect(takes, option).not.toContain("another value");
  }
});

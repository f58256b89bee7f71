/** The tables of the benchmark in docs/performance.md. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../../support/build.ts";

interface Run {
  readonly machine: string;
  readonly names: readonly string[];
  readonly command?: string;
}

// The benchmark is plain JavaScript, without types.
const { intoPage } = (await import(join(ROOT, "bench", "lib", "report.mjs"))) as {
  intoPage: (page: string, results: readonly object[], run: Run) => string;
};
const { scenarios } = (await import(join(ROOT, "bench", "scenarios.mjs"))) as {
  scenarios: (isQuick: boolean) => readonly { readonly name: string }[];
};

const result = (name: string, value: number) => ({
  name,
  about: `about ${name}`,
  unit: "µs",
  reference: "a",
  rows: [{ name: "a", value, ratio: 1 }],
  targets: [],
});
const names = ["first", "second", "third"];
const EMPTY = "# Page\n\n<!-- bench -->\n<!-- /bench -->\n\nThe end.\n";
const titles = (page: string) => [...page.matchAll(/^### (.*)/gm)].map(([, title]) => title);

test("a run of all scenarios writes all tables in their order, and the machine above them", () => {
  const results = [result("third", 3), result("first", 1), result("second", 2)];
  const page = intoPage(EMPTY, results, { machine: "a machine.", names });
  expect(titles(page)).toEqual(names);
  expect(page).toContain("<!-- bench -->\n\na machine.\n\n### first\n\nabout first.\n\n|  | µs | × a |");
  expect(page.endsWith("\n\n<!-- /bench -->\n\nThe end.\n")).toBe(true);
});

test("a run of one scenario replaces or adds its table alone, and says how it was measured", () => {
  const before = intoPage(EMPTY, [result("first", 1), result("third", 3)], { machine: "a machine.", names });
  const run = { machine: "another machine.", names, command: "npm run bench -- --docs --only second" };
  const added = intoPage(before, [result("second", 2)], run);
  expect(titles(added)).toEqual(names);
  expect(added).toContain("Measured by `npm run bench -- --docs --only second`, another machine.");
  expect(added.replace(/### second\n[^#]*/, "")).toBe(before);
  const again = intoPage(added, [result("second", 4)], run);
  expect(again).toBe(added.replace("| a | 2.00 |", "| a | 4.00 |"));
});

test("docs/performance.md has the table of every scenario", async () => {
  const page = await readFile(join(ROOT, "docs", "performance.md"), "utf8");
  const [, block = ""] = /<!-- bench -->([\s\S]*)<!-- \/bench -->/.exec(page) ?? [];
  expect(titles(block)).toEqual(scenarios(false).map(({ name }) => name));
});

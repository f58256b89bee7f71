/** The page about capacity shows what its script computes. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/build.ts";

const script = join(ROOT, "scripts", "capacity.mjs");
const run = (...args: string[]) => execFileSync(process.execPath, [script, ...args], { encoding: "utf8" });

test("docs/capacity.md and its picture are those of scripts/capacity.mjs: run it with --docs after an edit", () => {
  const page = readFileSync(join(ROOT, "docs", "capacity.md"), "utf8");
  const [sizes = "", limits = "", costs = ""] = run().trim().split("\n\n");
  expect(page).toContain(`<!-- sizes -->\n\n${sizes}\n\n<!-- /sizes -->`);
  expect(page).toContain(`<!-- limits -->\n\n${limits}\n\n<!-- /limits -->`);
  expect(page).toContain(`<!-- costs -->\n\n${costs}\n\n<!-- /costs -->`);
  expect(readFileSync(join(ROOT, "docs", "capacity.svg"), "utf8")).toBe(run("--picture"));
});

test("the numbers follow the load: twice the connections on each node are twice the writes", () => {
  const writes = (...args: string[]) =>
    /^\| writes a second \|(.*)\|$/m
      .exec(run(...args))?.[1]
      ?.split("|")
      .map((text) => Number(text.replaceAll(",", "")));
  expect(writes("--connections", "10000")).toEqual([20, 60, 200, 1_000, 10_000]);
  expect(writes("--connections", "20000")).toEqual([40, 120, 400, 2_000, 20_000]);
});

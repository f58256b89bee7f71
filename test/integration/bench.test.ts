/** That the benchmark runs and delivers everything; what it measures is not judged here. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { ROOT } from "../support/build.ts";
import { endWithUs, exited } from "../support/guard.ts";
import { KEEPS_IMAGES } from "../support/server-features.ts";

interface Results {
  readonly results: readonly {
    readonly name: string;
    readonly rows: readonly { readonly name: string; readonly value: number }[];
    readonly targets: readonly { readonly measured: number }[];
  }[];
}

/** Those that need nothing but what the product itself does. */
const CONTENDERS = "limit-ws,limit-route,tidewire,tidewire-in-process";
const SCENARIOS = ["fan-out in bursts", "growth", "sorted", "a rule for each user", "resumption"];

test("the benchmark runs: every contender delivers, and every figure is one", async ({ skip }) => {
  skip(!KEEPS_IMAGES, "the benchmark measures with images, which MongoDB 5.0 does not keep");
  const directory = await mkdtemp(join(tmpdir(), "tidewire-bench-test-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, "results.json");
  const only = SCENARIOS.flatMap((name) => ["--only", name]);
  const args = ["--quick", "--no-install", "--contenders", CONTENDERS, "--mongodb", inject("mongodbUri")];
  const bench = spawn(process.execPath, [join(ROOT, "bench/run.mjs"), ...args, ...only, "--json", file], {
    cwd: directory,
    stdio: ["ignore", "ignore", "inherit"],
  });
  endWithUs(bench);
  expect(await exited(bench)).toEqual({ code: 0, signal: null });
  const { results } = JSON.parse(await readFile(file, "utf8")) as Results;
  expect(results.map(({ name }) => name)).toEqual(SCENARIOS);
  for (const { rows, targets } of results) {
    for (const { name, value } of rows) expect(value, name).toBeGreaterThan(0);
    for (const { measured } of targets) expect(measured).toBeGreaterThan(0);
  }
});

test("the benchmark of rule edits runs: every plan, check and replay covers all subscriptions and requests", async () => {
  const args = ["--quick", "--mongodb", inject("mongodbUri")];
  const bench = spawn(process.execPath, [join(ROOT, "bench/rules.mjs"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  endWithUs(bench);
  const printed: string[] = [];
  bench.stdout.on("data", (data) => printed.push(String(data)));
  expect(await exited(bench)).toEqual({ code: 0, signal: null });
  const table = printed.join("");
  for (const row of ["plan, one rule edited", "replay, one rule edited", "delivery to a bystander"])
    expect(table).toContain(row);
});

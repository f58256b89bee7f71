/** That the benchmark runs and delivers everything; what it measures is not judged here. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { ROOT } from "../support/build.ts";
import { endWithUs, exited } from "../support/guard.ts";
import { installed, skipWithout } from "../support/installed.ts";
import { sharedMongod } from "../support/mongod.ts";
import { Random } from "../support/random.ts";
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
/** Those that are run, because each starts a server for each contender: two that a seed chooses; `npm run soak` runs all. */
const chosen = new Random(startSeed("bench")).sample(SCENARIOS, FUZZ_FACTOR > 1 ? SCENARIOS.length : 2);
const CHOSEN = SCENARIOS.filter((name) => chosen.includes(name));

test("the benchmark runs: every contender delivers, and every figure is one", async ({ skip }) => {
  skip(!KEEPS_IMAGES, "the benchmark measures with images, which MongoDB 5.0 does not keep");
  const directory = await mkdtemp(join(tmpdir(), "tidewire-bench-test-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, "results.json");
  const only = CHOSEN.flatMap((name) => ["--only", name]);
  const args = ["--quick", "--no-install", "--contenders", CONTENDERS, "--mongodb", sharedMongod()];
  const bench = spawn(process.execPath, [join(ROOT, "bench/run.mjs"), ...args, ...only, "--json", file], {
    cwd: directory,
    stdio: ["ignore", "ignore", "inherit"],
  });
  endWithUs(bench);
  expect(await exited(bench)).toEqual({ code: 0, signal: null });
  const { results } = JSON.parse(await readFile(file, "utf8")) as Results;
  expect(results.map(({ name }) => name)).toEqual(CHOSEN);
  for (const { rows, targets } of results) {
    for (const { name, value } of rows) expect(value, name).toBeGreaterThan(0);
    for (const { measured } of targets) expect(measured).toBeGreaterThan(0);
  }
});

test("the benchmark of rule edits runs: every plan, check and replay covers all subscriptions and requests", async () => {
  const table = await tableOf("bench/rules.mjs");
  for (const row of ["plan, one rule edited", "replay, one rule edited", "delivery to a bystander"])
    expect(table).toContain(row);
});

test("the benchmark of fleets runs: every node receives every change, from a stream of its own and from the tail", async ({
  skip,
}) => {
  skip(!KEEPS_IMAGES, "the benchmark measures with images, which MongoDB 5.0 does not keep");
  if (installed("redis-server") === undefined) return skipWithout(skip, "redis-server is not installed");
  const table = await tableOf("bench/fleet.mjs");
  for (const row of ["| 1, a stream each |", "| 3, a stream each |", "| 1, the tail |", "| 3, the tail |"])
    expect(table).toContain(row);
});

test("the benchmark of idle connections runs: everybody comes back, and nothing is lost", async () => {
  const table = await tableOf("bench/idle.mjs");
  for (const row of ["RSS of each connection", "back after a cut"]) expect(table).toContain(row);
});

/** Runs a benchmark quickly, and returns its output. */
async function tableOf(program: string): Promise<string> {
  const args = ["--quick", "--mongodb", sharedMongod()];
  const bench = spawn(process.execPath, [join(ROOT, program), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  endWithUs(bench);
  const printed: string[] = [];
  bench.stdout.on("data", (data) => printed.push(String(data)));
  expect(await exited(bench)).toEqual({ code: 0, signal: null });
  return printed.join("");
}

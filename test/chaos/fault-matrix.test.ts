/**
 * [G2] Whatever befalls MongoDB, whatever the service is doing: each cell of the matrix ends ready, with all that `find`
 * gives and nothing lost, and soon after MongoDB takes writes again. In CI a third of it; `npm run soak` runs all.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Limiter } from "../../src/feed/limiter.ts";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { isWithout } from "../support/installed.ts";
import { Random } from "../support/random.ts";
import { FAULTS, FROZEN_25, HUNG_THEN_KILLED, TOPOLOGIES, type Topology } from "./fault-deployment.ts";
import { type Outcome, type Run, run } from "./fault-run.ts";

/** The service promises 5 s. In CI the machine does much else at the same time. */
const BACK_WITHIN_MS = FUZZ_FACTOR > 1 ? 5_000 : 15_000;
/** They mostly wait. */
const AT_A_TIME = 4;

const seed = startSeed("fault matrix");
const random = new Random(seed);
const only = process.env["TIDEWIRE_FAULT"] ?? "";
const all: readonly Run[] = (Object.keys(TOPOLOGIES) as Topology[]) // its own keys
  .flatMap((topology) =>
    FAULTS.filter(({ on }) => on.includes(topology)).map((fault) => ({ topology, fault })),
  )
  .filter(({ fault }) => fault.via !== "tls-proxy" || !isWithout("openssl"))
  .filter(({ topology, fault }) => `${topology}: ${fault.name}`.includes(only))
  .map((cell) => ({ ...cell, seed: random.int(0, 2 ** 31) }));
const runs = FUZZ_FACTOR > 1 || only !== "" ? all : chosen(all);

/** A third, and always those two that a stream never came back from. */
function chosen(all: readonly Run[]): readonly Run[] {
  const always = all.filter(
    ({ topology, fault }) =>
      topology === "single node" && (fault === FROZEN_25 || fault === HUNG_THEN_KILLED),
  );
  const others = all.filter((run) => !always.includes(run));
  return [...always, ...random.sample(others, Math.ceil(all.length / 3))];
}

const outcomes = new Map<Run, Promise<Outcome>>();
let directory: string;

// All at once, as most of the time is spent waiting; each test waits for its own.
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tidewire-faults-"));
  const limiter = new Limiter({ most: AT_A_TIME });
  for (const each of runs) {
    const outcome = limiter.run(async () => run(each, await mkdtemp(join(directory, "run-"))));
    outcome.catch(() => {}); // Its test will see.
    outcomes.set(each, outcome);
  }
});
afterAll(async () => {
  await Promise.allSettled(outcomes.values());
  await rm(directory, { recursive: true, force: true });
});

test.each(runs.map((each) => ({ ...each, name: each.fault.name, each })))(
  "[G2] $topology, $name: ready again soon after MongoDB, equal to find, nothing lost",
  async ({ topology, name, each }) => {
    let outcome = judge(await outcomes.get(each), topology, name);
    // Other work of the machine may have begun during the fault. Alone, a service that is really late is late again.
    if (outcome.late.length > 0)
      outcome = judge(await run(each, await mkdtemp(join(directory, "again-"))), topology, name);
    expect(outcome.late).toEqual([]);
  },
);

/** Expects that nothing was lost. @returns The situations in which the service was back too late, with their times. */
function judge(outcome: Outcome | undefined, topology: string, name: string): { late: [string, number][] } {
  const { backAfterMs, startMs, problems } = outcome ?? { backAfterMs: {}, startMs: 0, problems: {} };
  const times = `back after (ms) ${JSON.stringify(backAfterMs)}, a start takes ${startMs}`;
  console.log(`fault matrix: ${topology}, ${name}: ${times}`);
  expect(Object.entries(problems).filter(([, found]) => found.length > 0)).toEqual([]);
  // The duration of a start shows how busy the machine is, and a node that starts has all of its start left when MongoDB is back.
  const withinMs = BACK_WITHIN_MS + 3 * startMs;
  return { late: Object.entries(backAfterMs).filter(([, ms]) => ms >= withinMs) };
}

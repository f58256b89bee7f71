/**
 * Strict clients of several users, with rules, filters, projections and transactions, through everything that may
 * befall nodes and MongoDB under load: each counts what it misses, and in the end all are compared with `find`.
 */
import { setTimeout as pause } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { type ReplicaSet, startReplicaSet, testDatabase } from "../support/mongod.ts";
import { Random } from "../support/random.ts";
import { testConfig } from "../support/service.ts";
import { type SpawnedService, spawnService } from "../support/spawn-service.ts";
import { COLLECTIONS, describeCounts, FLAWLESS, Fleet } from "./fleet.ts";

/** For each way of catching up. */
const KILLS = 10 * FUZZ_FACTOR;
/** Each kill has to fall into a load: the writers write at least so much for each. */
const WRITES_PER_KILL = 100;
const DRAINS = 2 * FUZZ_FACTOR;
const FAILOVERS = 3 * FUZZ_FACTOR;
const PATIENCE = { timeout: 60_000, interval: 50 };

const urlOf = (service: SpawnedService) => `${service.url.replace("http", "ws")}/v1/ws`;

/** A node on this database; several share its state. */
function startNode(uri: string, database: string, window = "5s"): Promise<SpawnedService> {
  const { mongodb, ...file } = testConfig(uri, database, {
    collections: COLLECTIONS,
    server: { heartbeat: "1s", drainTimeout: "5s" },
    history: { window },
  });
  // `testConfig` gives every section of the file.
  const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
  return spawnService({ config });
}

const untilFollowing = (fleet: Fleet) =>
  expect.poll(() => fleet.clients.every((client) => client.isFollowing), PATIENCE).toBe(true);

/** A kill at a random moment: while clients come back, while they follow, or before the node is even there. */
async function killAndStart(service: SpawnedService, fleet: Fleet, random: Random): Promise<number> {
  if (random.chance(0.6)) await untilFollowing(fleet);
  await pause(random.int(0, 500));
  await service.kill("SIGKILL");
  if (!random.chance(0.3)) {
    await service.start();
    return 1;
  }
  const starting = service.start().catch(() => {}); // it may not live to say that it listens
  await pause(random.int(50, 700));
  await expect.poll(() => service.pid, PATIENCE).toBeDefined();
  await service.kill("SIGKILL");
  await starting;
  await service.start();
  return 2;
}

/** Waits until clients get changes of after now. */
async function untilGoingOn(fleet: Fleet): Promise<void> {
  const before = fleet.changes;
  await expect.poll(() => fleet.changes, PATIENCE).toBeGreaterThan(before + 100);
}

/** Nothing went wrong, and nobody had to begin again. */
async function judge(fleet: Fleet, what: string, seed: number): Promise<Record<string, unknown>> {
  const counts = await fleet.settle();
  console.log(`fleet: seed ${seed}: ${what}, ${describeCounts(counts)}`);
  expect(counts).toMatchObject(FLAWLESS);
  expect(counts["versions"], "versions seen").toBeGreaterThan(1_000);
  const starts = Object.keys(counts["starts"] as object); // a count for each kind
  expect(starts.filter((start) => start !== "snapshot" && start !== "resumed")).toEqual([]);
  return counts;
}

test.each([
  ["out of the history", "5m"],
  ["out of the oplog", "0s"],
])(
  "[G2] loses nothing and repeats nothing when the node is killed at any moment, also while it starts; caught up %s",
  async (_where, window) => {
    const seed = startSeed("kills");
    const random = new Random(seed);
    const { name: database, uri } = await testDatabase();
    const node = await startNode(uri, database, window);
    const fleet = await Fleet.start({ uri, database, url: () => urlOf(node), random });
    let kills = 0;
    await untilFollowing(fleet);
    while (kills < KILLS) kills += await killAndStart(node, fleet, random);
    const counts = await judge(fleet, `kills ${kills}, window ${window}`, seed);
    // Per kill instead of per second, which would depend on the machine.
    expect(counts["writes"], "writes that the kills fell into").toBeGreaterThan(WRITES_PER_KILL * kills);
    expect((counts["starts"] as Record<string, number>)["resumed"]).toBeGreaterThan(KILLS);
  },
);

test("[3.2] loses nothing and repeats nothing when nodes drain in turn, whether clients go in time or not", async () => {
  const seed = startSeed("drains");
  const random = new Random(seed);
  const { name: database, uri } = await testDatabase();
  const nodes = [await startNode(uri, database), await startNode(uri, database)] as const;
  let serving = 0;
  const url = () => urlOf(nodes[serving % 2 === 0 ? 0 : 1]);
  const fleet = await Fleet.start({ uri, database, url, random });
  for (let drain = 0; drain < DRAINS; drain++) {
    await untilFollowing(fleet);
    const leaving = nodes[serving % 2 === 0 ? 0 : 1];
    serving++;
    expect(await leaving.kill("SIGTERM"), "it ends in good order").toEqual({ code: 0, signal: null });
    await leaving.start();
  }
  const counts = await judge(fleet, `drains ${DRAINS}`, seed);
  expect(counts["closes"], "clients that went by themselves").toHaveProperty("left");
});

async function stepDown(set: ReplicaSet): Promise<void> {
  await set.stepDown();
}

async function killPrimary(set: ReplicaSet): Promise<void> {
  const primary = await set.primary();
  await primary.kill("SIGKILL");
  await set.primary();
  await primary.start();
}

test("[G2] loses nothing and repeats nothing when the primary steps down or is killed, and no client has to reconnect", async () => {
  const seed = startSeed("failovers");
  const set = await startReplicaSet();
  onTestFinished(() => set.stop());
  const node = await startNode(set.uri, "shop");
  const url = () => urlOf(node);
  const fleet = await Fleet.start({ uri: set.uri, database: "shop", url, random: new Random(seed) });
  await untilGoingOn(fleet);
  for (let failover = 0; failover < FAILOVERS; failover++) {
    for (const blow of [stepDown, killPrimary]) {
      await blow(set);
      await untilGoingOn(fleet);
    }
  }
  const counts = await judge(fleet, `step-downs and kills ${FAILOVERS} each`, seed);
  expect(counts["starts"]).toEqual({ snapshot: fleet.subscriptions });
});

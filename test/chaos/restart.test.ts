/** The service is killed, MongoDB's primary steps down or dies: clients that resume lose nothing and get nothing twice. */
import { setTimeout as delay } from "node:timers/promises";
import { type Db, MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { startReplicaSet, testDatabase } from "../support/mongod.ts";
import { signToken, testConfig } from "../support/service.ts";
import { type ServiceConfig, type SpawnedService, spawnService } from "../support/spawn-service.ts";
import { sumOfFaults, type Versioned, VersionWatch, VersionWriter } from "../support/version-watch.ts";

const COLLECTIONS = {
  things: { rules: [{ name: "group", filter: { group: "%%user.group" } }] },
};
const PATIENCE = { timeout: 60_000, interval: 50 };

/** The log says where the service listens. The file is one configuration; its type only says what tests look at. */
const spawned = (file: Record<string, unknown>) =>
  ({ ...file, log: { level: "info" } }) as unknown as ServiceConfig;

/** A client that tries to come back may hold the very port for a moment: the system gave it as its own end. */
async function startAgain(service: SpawnedService): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await service.start();
    } catch (error) {
      if (attempt === 20 || !String(error).includes("EADDRINUSE")) throw error;
      await delay(250);
    }
  }
}

/** Half of the clients may see one half of the documents each. */
async function startWatches(urlOf: () => string, count: number): Promise<VersionWatch[]> {
  const watches: VersionWatch[] = [];
  for (let index = 0; index < count; index++) {
    const token = await signToken({ sub: `u${index}`, group: index % 2 });
    // Different filters, so different live queries, all with the same result.
    watches.push(new VersionWatch(urlOf, token, index % 4 < 2 ? {} : { v: { $gte: 0 } }));
  }
  onTestFinished(async () => {
    await Promise.all(watches.map((watch) => watch.stop()));
  });
  await expect.poll(() => watches.every((watch) => watch.state.size > 0), PATIENCE).toBe(true);
  return watches;
}

async function startWriters(db: Db, perSecond: number): Promise<VersionWriter[]> {
  const writers = [0, 1].map((first) => new VersionWriter(db, 1_000_000 * (first + 1) + first));
  for (const writer of writers) writer.start(perSecond / writers.length);
  onTestFinished(async () => {
    await Promise.all(writers.map((writer) => writer.stop()));
  });
  await expect.poll(() => writers.every(({ written }) => written > 30), PATIENCE).toBe(true);
  return writers;
}

/** Waits until every client holds what the server's own `find` gives, and counts what went wrong on the way. */
async function judge(db: Db, watches: readonly VersionWatch[], what: string, written: number): Promise<void> {
  const things = db.collection<Versioned>("things");
  const all = await things.find({}, { readConcern: "majority" }).toArray();
  const wanted = (group: number) =>
    JSON.stringify(all.filter((doc) => doc.group === group).sort((a, b) => a._id - b._id));
  const held = (watch: VersionWatch) =>
    JSON.stringify([...watch.state.values()].sort((a, b) => a._id - b._id));
  const expected = [wanted(0), wanted(1)];
  await expect
    .poll(() => watches.every((watch, index) => held(watch) === expected[index % 2]), PATIENCE)
    .toBe(true);
  const faults = sumOfFaults(watches);
  const changes = watches.reduce((sum, watch) => sum + watch.changes, 0);
  const resumed = watches.reduce((sum, watch) => sum + watch.resumed, 0);
  console.log(
    `${what}: ${written} writes, ${changes} changes, ${resumed} resumptions, ${JSON.stringify(faults)}`,
  );
  expect(faults).toEqual({ lost: 0, duplicated: 0, outOfOrder: 0, resets: 0 });
}

test.each([
  ["catching up out of the history", "5m", 20],
  ["catching up out of the oplog", "0s", 12],
])(
  "the service is killed with -9 again and again, %s",
  async (name, window, kills) => {
    const { db, name: database, uri } = await testDatabase();
    const config = spawned(testConfig(uri, database, { collections: COLLECTIONS, history: { window } }));
    const writers = await startWriters(db, 300);
    const service = await spawnService({ config });
    const watches = await startWatches(() => `${service.url.replace("http", "ws")}/v1/ws`, 8);
    for (let kill = 0; kill < kills; kill++) {
      await delay(100 + Math.random() * 500);
      await service.kill("SIGKILL");
      await startAgain(service);
    }
    await Promise.all(writers.map((writer) => writer.stop()));
    const written = writers.reduce((sum, writer) => sum + writer.written, 0);
    await judge(db, watches, `${kills} kills, ${name}`, written);
  },
  300_000,
);

test("the primary steps down, and dies, again and again", async () => {
  const set = await startReplicaSet({ members: 3 });
  onTestFinished(() => set.stop());
  const client = await new MongoClient(set.uri, { serverSelectionTimeoutMS: 30_000 }).connect();
  onTestFinished(() => client.close());
  const db = client.db("chaos");
  const config = spawned(testConfig(set.uri, "chaos", { collections: COLLECTIONS }));
  await db.createCollection("things");
  const writers = await startWriters(db, 200);
  const service = await spawnService({ config });
  const watches = await startWatches(() => `${service.url.replace("http", "ws")}/v1/ws`, 6);
  const progress = async () => {
    const before = watches.map(({ changes }) => changes);
    await expect
      .poll(() => watches.every(({ changes }, index) => changes > before[index]! + 20), PATIENCE)
      .toBe(true);
  };
  for (let round = 0; round < 5; round++) {
    await set.stepDown();
    await progress();
    const primary = await set.primary();
    await primary.kill("SIGKILL");
    await progress();
    await primary.start();
  }
  await Promise.all(writers.map((writer) => writer.stop()));
  const written = writers.reduce((sum, writer) => sum + writer.written, 0);
  await judge(db, watches, "5 step-downs, 5 primaries killed", written);
}, 300_000);

/** The service's position in the change stream: saved, lost, and never further than what was accepted. */
import { type Binary, BSON, MongoClient, Timestamp } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { ChangeSource } from "../../../src/source/change-source.ts";
import { Deployment } from "../../../src/source/deployment.ts";
import { EpochStore } from "../../../src/source/epoch-store.ts";
import type { CommitBatch } from "../../../src/source/read-commits.ts";
import { identifyDeployment } from "../../../src/source/topology.ts";
import { metricOf } from "../../support/metric.ts";
import { startReplicaSet, testDatabase, until } from "../../support/mongod.ts";
import { recordingLog, startNode } from "../../support/node.ts";
import { KEEPS_IMAGES, NO_IMAGES } from "../../support/server-features.ts";
import { signToken } from "../../support/service.ts";
import { type Received, WsClient } from "../../support/ws-client.ts";

const COLLECTIONS = { things: { rules: [{ name: "all" }] } };

interface SavedCheckpoint {
  _id: string;
  token: Binary;
  clusterTime: Timestamp;
  epoch: string;
}

async function connect(url: string): Promise<WsClient> {
  const client = await WsClient.connect(url, { token: await signToken({ sub: "u1" }) });
  onTestFinished(() => client.socket.terminate());
  return client;
}

const subscribe = (client: WsClient, position: object = {}) =>
  client.ask({ type: "subscribe", id: "a", collection: "things", ...position });
const lastSnapshot = (client: WsClient) =>
  client.until(({ type, last }) => type === "snapshot" && last === true);
const positionOf = ({ cursor, ticket }: Received) => ({ cursor, ticket });

test("[3.3] a saved position that the oplog no longer reaches is logged and counted, and every earlier cursor is history-lost", async () => {
  const set = await startReplicaSet({ members: 1, args: ["--oplogSize", "2", "--syncdelay", "1"] });
  onTestFinished(() => set.stop());
  const client = await new MongoClient(set.uri).connect();
  onTestFinished(() => client.close());
  const options = { collections: COLLECTIONS };
  const first = await startNode(set.uri, "shop", options);
  const things = client.db("shop").collection<{ _id: number; n: number }>("things");
  await things.insertOne({ _id: 1, n: 1 });
  const before = await connect(first.url);
  const position = positionOf(await subscribe(before));
  await lastSnapshot(before);
  await first.service.stop();

  await things.updateOne({ _id: 1 }, { $set: { n: 2 } });
  const checkpoint = await client
    .db("shop-state")
    .collection<SavedCheckpoint>("checkpoints")
    .findOne({ _id: "default" });
  const oplog = client.db("local").collection<{ ts: Timestamp }>("oplog.rs");
  const padding = "x".repeat(1_000_000);
  await until("an oplog that begins later", async () => {
    await client.db("shop").collection("unwatched").insertOne({ padding });
    const oldest = await oplog.findOne({}, { sort: { $natural: 1 } });
    return oldest?.ts.greaterThan(checkpoint!.clusterTime);
  });

  const { log, errors } = recordingLog();
  const second = await startNode(set.uri, "shop", options, log);
  expect(errors()).toEqual([expect.stringContaining("no longer reaches back")]);
  expect(await metricOf(second.service, "tidewire_position_lost_total")).toBe(1);
  const after = await connect(second.url);
  expect(await subscribe(after, position)).toMatchObject({ start: "reset", reason: "history-lost" });
  expect((await lastSnapshot(after))?.["docs"]).toEqual([{ _id: 1, n: 2 }]);
  await things.updateOne({ _id: 1 }, { $set: { n: 3 } });
  expect(await after.until(({ type }) => type === "changed")).toMatchObject({ doc: { _id: 1, n: 3 } });
});

test("[3.3] a saved position in the future begins another epoch, and cursors of the old one are history-lost", async () => {
  const { client, db, name, uri } = await testDatabase();
  onTestFinished(async () => {
    await client.db(`${name}-state`).dropDatabase();
  });
  const options = { collections: COLLECTIONS };
  const first = await startNode(uri, name, options);
  const things = db.collection<{ _id: number }>("things");
  await things.insertOne({ _id: 1 });
  const before = await connect(first.url);
  const position = positionOf(await subscribe(before));
  await first.service.stop();

  const checkpoints = client.db(`${name}-state`).collection<SavedCheckpoint>("checkpoints");
  const saved = await checkpoints.findOne({ _id: "default" });
  const future = new Timestamp({ t: Math.floor(Date.now() / 1_000) + 3_600, i: 1 });
  await checkpoints.updateOne({ _id: "default" }, { $set: { clusterTime: future } });

  const { log, errors } = recordingLog();
  const second = await startNode(uri, name, options, log);
  expect(errors()).toEqual([expect.stringContaining("in the future")]);
  expect(await metricOf(second.service, "tidewire_position_lost_total")).toBe(1);
  const after = await connect(second.url);
  expect(await subscribe(after, position)).toMatchObject({ start: "reset", reason: "history-lost" });
  expect((await lastSnapshot(after))?.["docs"]).toEqual([{ _id: 1 }]);
  await things.insertOne({ _id: 2 });
  expect(await after.until(({ type }) => type === "added")).toMatchObject({ doc: { _id: 2 } });
  // The position of the new epoch replaces the impossible one.
  await expect
    .poll(async () => (await checkpoints.findOne({ _id: "default" }))?.clusterTime.lessThan(future))
    .toBe(true);
  expect((await checkpoints.findOne({ _id: "default" }))?.epoch).not.toBe(saved?.epoch);
});

type Database = Awaited<ReturnType<typeof testDatabase>>;

/** A source whose sink keeps what it is given, and that saves its position very often. */
async function startSource(images: boolean, whileStarting = async (_database: Database) => {}) {
  const database = await testDatabase({ monitorCommands: true });
  const { client, db, name, uri } = database;
  let toDo: () => Promise<void> = () => whileStarting(database);
  await db.createCollection("things", images ? { changeStreamPreAndPostImages: { enabled: true } } : {});
  const stateDatabase = client.db(`${name}-state`);
  const deployment = new Deployment(client, new EpochStore(stateDatabase), async () => {
    await toDo();
    toDo = async () => {};
    return (await identifyDeployment(client)).id;
  });
  const accepted: string[] = [];
  let through = 0n;
  const sink = {
    lost: () => {},
    prepare: async () => {},
    begin: async (_epoch: unknown, from: bigint) => {
      through = from;
    },
    accept: async (batch: CommitBatch) => {
      accepted.push(...batch.commits.map(({ identity }) => identity));
      if (batch.through > through) through = batch.through;
    },
  };
  /** The saved position, and the number of commits that were accepted at that time. */
  const saves: { token: string; clusterTime: bigint; through: bigint; accepted: number }[] = [];
  client.on("commandStarted", ({ commandName, command }) => {
    const set = command["update"] === "checkpoints" ? command["updates"][0].u.$set : undefined;
    if (commandName !== "update" || set === undefined) return;
    const token = BSON.deserialize(set.token.value())["_data"];
    saves.push({ token, clusterTime: set.clusterTime.toBigInt(), through, accepted: accepted.length });
  });
  const log = pino({ level: "silent" });
  const source = new ChangeSource(
    {
      uri,
      connectTimeoutMs: 2_000,
      namespaces: [`${name}.things`],
      stateNamespaces: [],
      ruleNamespaces: [],
      startBeforeMs: 0,
      awaitTimeMs: 100,
      progressTimeoutMs: 5_000,
      checkpointIntervalMs: 1,
      images: KEEPS_IMAGES,
      onNotice: () => {},
    },
    {
      client,
      deployment,
      stateDatabase,
      node: "test",
      sink,
      onMissingImage: () => {},
      log,
      metrics: createMetrics(),
    },
  );
  const abort = new AbortController();
  const running = source.run(abort.signal);
  const stop = async () => {
    abort.abort();
    await running;
  };
  onTestFinished(async () => {
    await stop();
    await stateDatabase.dropDatabase();
  });
  await expect.poll(() => source.caughtUp).toBe(true);
  return { client, db, stateDatabase, saves, accepted, stop };
}

test.for([
  ["as it came", true],
  // The documents are read from the server between the batch and its acceptance.
  ["only after its documents were read", false],
] as const)(
  "[I2] the saved position is never ahead of the accepted commits, if a batch is accepted %s",
  async ([, images], { skip }) => {
    skip(images && !KEEPS_IMAGES, NO_IMAGES);
    const { db, saves, accepted, stop } = await startSource(images);
    const things = db.collection<{ _id: number; n: number }>("things");
    await things.insertMany(Array.from({ length: 20 }, (_, _id) => ({ _id, n: 0 })));
    const WRITES = 20;
    for (let n = 0; n < WRITES; n++) {
      await Promise.all([1, 2, 3, 4].map((_id) => things.updateOne({ _id }, { $inc: { n: 1 } })));
    }
    await expect.poll(() => accepted.length, { timeout: 60_000 }).toBe(20 + 4 * WRITES);
    await stop();
    expect(saves.length).toBeGreaterThan(3);
    for (const save of saves) {
      expect(save.clusterTime).toBeLessThanOrEqual(save.through);
      // The order of the tokens' text is that of the stream.
      expect(accepted.slice(save.accepted).filter((token) => token <= save.token)).toEqual([]);
    }
    expect(saves.at(-1)!.token >= accepted.at(-1)!, "the last position is saved on stopping").toBe(true);
  },
);

test("[3.3] a node that starts while another one saves its position does not take that position for the future", async () => {
  const { stateDatabase } = await startSource(KEEPS_IMAGES, async ({ client, db, name, uri }) => {
    await startNode(uri, name, { collections: COLLECTIONS });
    const checkpoints = client.db(`${name}-state`).collection<SavedCheckpoint>("checkpoints");
    await db.collection<{ _id: number }>("things").insertOne({ _id: 1 });
    const { operationTime } = await client.db("admin").command({ ping: 1 });
    await until("the other node's position", async () =>
      (await checkpoints.findOne({ _id: "default" }))?.clusterTime.greaterThanOrEqual(operationTime),
    );
  });
  expect(await stateDatabase.collection("epochs").find().toArray()).toEqual([
    expect.objectContaining({ reason: "first start" }),
  ]);
});

test("the position of an idle stream moves on, so that it does not grow old", async () => {
  const { stateDatabase, accepted } = await startSource(KEEPS_IMAGES);
  const checkpoints = stateDatabase.collection<SavedCheckpoint>("checkpoints");
  const saved = () => checkpoints.findOne({ _id: "default" });
  const first = await until("a first position", async () => (await saved()) ?? undefined);
  const next = await until("a later position", async () => {
    const now = await saved();
    return now?.clusterTime.greaterThan(first.clusterTime) ? now : undefined;
  });
  expect(next.token.toString("hex")).not.toBe(first.token.toString("hex"));
  expect(accepted).toEqual([]);
});

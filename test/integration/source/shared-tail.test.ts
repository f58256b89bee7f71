/** [G2, G3] Nodes that read one change stream through Redis: whatever happens to it, nothing is lost or repeated. */
import type { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { testDatabase } from "../../support/mongod.ts";
import { Redis } from "../../support/redis.ts";
import { KEEPS_IMAGES } from "../../support/server-features.ts";
import { PATIENCE, SourceNode } from "../../support/source-node.ts";
import type { SpawnedService } from "../../support/spawn-service.ts";
import { Fleet, hold, leads, leftCount, startLeader, type Thing, Writer } from "../../support/tail-fleet.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";

/** Each situation makes all nodes leave the tail, and lets them return. */
const SITUATIONS: readonly [
  name: string,
  reasons: RegExp,
  disturb: (fleet: Fleet) => Promise<() => Promise<void>>,
][] = [
  [
    "is frozen",
    /no-answer/,
    async ({ redis }) => {
      redis.signal("SIGSTOP");
      return async () => redis.signal("SIGCONT");
    },
  ],
  [
    "is killed and comes back empty",
    /unreachable/,
    async ({ redis }) => {
      await redis.stop();
      return () => redis.start();
    },
  ],
  [
    "cannot be reached",
    /unreachable/,
    async ({ proxy }) => {
      proxy.cut();
      return () => proxy.resume();
    },
  ],
  [
    "loses an entry",
    /gap/,
    async (fleet) => {
      // Nodes read nothing while they work, so the entries of that time can be removed unread.
      const held = hold(fleet.nodes);
      await held.reached;
      const [key = ""] = await fleet.tailKeys();
      const before = Number(await fleet.redis.ask("XLEN", key));
      const length = async () => Number(await fleet.redis.ask("XLEN", key));
      await expect.poll(length, PATIENCE).toBeGreaterThan(before + 20);
      await fleet.redis.ask("XTRIM", key, "MAXLEN", "1");
      held.release();
      return async () => {};
    },
  ],
  [
    "fails over to a replica that lacks the last entries",
    /unreachable/,
    async ({ redis, proxy, skip, writer }) => {
      const replica = await Redis.start(skip, ["--replicaof", "127.0.0.1", String(redis.port)]);
      const isSynced = async () => String(await replica.ask("INFO", "replication"));
      await expect.poll(isSynced, PATIENCE).toContain("master_link_status:up");
      replica.signal("SIGSTOP");
      const { writes } = writer;
      await expect.poll(() => writer.writes, PATIENCE).toBeGreaterThan(writes + 20);
      await redis.stop();
      replica.signal("SIGCONT");
      return async () => {
        await replica.ask("REPLICAOF", "NO", "ONE");
        proxy.redirect(replica.port);
      };
    },
  ],
  [
    "is flushed while nodes work",
    /gap|silent/,
    async (fleet) => {
      const held = hold(fleet.nodes);
      await held.reached;
      const { writes } = fleet.writer;
      await expect.poll(() => fleet.writer.writes, PATIENCE).toBeGreaterThan(writes + 20);
      await fleet.redis.ask("FLUSHALL");
      held.release();
      return async () => {};
    },
  ],
  [
    "becomes slow",
    /no-answer|slow|silent/,
    async ({ proxy }) => {
      proxy.slowDown(3_000);
      return async () => proxy.slowDown(0);
    },
  ],
  [
    "contains something else",
    /unreadable/,
    async (fleet) => {
      const [key = ""] = await fleet.tailKeys();
      await fleet.redis.ask("XADD", key, "*", "h", "something", "e", "else");
      return async () => void (await fleet.redis.ask("DEL", key));
    },
  ],
  [
    "refuses every command",
    /refused|silent/,
    async ({ redis }) => {
      await redis.ask("ACL", "SETUSER", "default", "-xadd", "-xread", "-xrevrange");
      return async () => void (await redis.ask("ACL", "SETUSER", "default", "+@all"));
    },
  ],
];

test.runIf(KEEPS_IMAGES).for(SITUATIONS)(
  "when Redis %s, every node reads MongoDB from its own position, and returns to the tail later",
  async ([_name, reasons, disturb], { skip }) => {
    const fleet = await Fleet.start(skip);
    const before = await Promise.all(fleet.nodes.map(leftCount));
    const repair = await disturb(fleet);
    await fleet.haveLeft(before);
    const { writes } = fleet.writer;
    await expect.poll(() => fleet.writer.writes, PATIENCE).toBeGreaterThan(writes + 50);
    await repair();
    await fleet.areReading("tail");
    await fleet.judge();
    const left = Object.keys(await (fleet.nodes[0] as SourceNode).switches());
    expect(left.join(" ")).toMatch(reasons);
  },
);

/** Each case writes, and leaves the collection as the nodes must have it. Both sources pass the same cases. */
const CASES: readonly [
  name: string,
  write: (fleet: { client: MongoClient; database: string; nodes: SourceNode[] }) => Promise<void>,
][] = [
  [
    "single writes and transactions",
    async ({ client, database }) => {
      const writer = new Writer(client, database);
      await expect.poll(() => writer.writes, PATIENCE).toBeGreaterThan(150);
      await writer.stop();
    },
  ],
  [
    "a transaction of many megabytes",
    async ({ client, database }) => {
      const things = client.db(database).collection<Thing>("things");
      const text = "x".repeat(200_000);
      const session = client.startSession();
      await session.withTransaction(async () => {
        for (let _id = 0; _id < 40; _id++) await things.insertOne({ _id, v: 1, text }, { session });
        for (let _id = 0; _id < 40; _id++) await things.updateOne({ _id }, { $inc: { v: 1 } }, { session });
      });
      await session.endSession();
      await things.updateMany({}, { $inc: { v: 1 } });
    },
  ],
  [
    "a database that is dropped",
    async ({ client, database, nodes }) => {
      const db = client.db(database);
      const write = async () => {
        await db.createCollection("things", { changeStreamPreAndPostImages: { enabled: true } });
        await db.collection<Thing>("things").insertMany([1, 2, 3].map((_id) => ({ _id, v: 1 })));
      };
      await db.collection<Thing>("things").insertOne({ _id: 1, v: 1 });
      for (let round = 1; round <= 3; round++) {
        await db.dropDatabase();
        for (const node of nodes)
          await expect.poll(() => node.replacements, PATIENCE).toBeGreaterThanOrEqual(round);
        await write();
      }
    },
  ],
  [
    "another set of collections",
    async ({ client, database, nodes }) => {
      const writer = new Writer(client, database);
      await expect.poll(() => writer.writes, PATIENCE).toBeGreaterThan(50);
      for (const node of nodes) node.source.watch([`${database}.things`, `${database}.others`]);
      const { writes } = writer;
      await expect.poll(() => writer.writes, PATIENCE).toBeGreaterThan(writes + 50);
      await writer.stop();
    },
  ],
];

test
  .runIf(KEEPS_IMAGES)
  .for(CASES.flatMap(([name, write]) => ["mongodb", "tail"].map((source) => [name, source, write] as const)))(
  "%s: every node has what find returns, read from %s",
  async ([_name, source, write], { skip }) => {
    const redis = source === "tail" ? await Redis.start(skip) : undefined;
    const { client, name, uri, db } = await testDatabase();
    onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
    await db.createCollection("things", { changeStreamPreAndPostImages: { enabled: true } });
    const options = { client, uri, database: name, redisUrl: redis?.url };
    const nodes = [await SourceNode.start(options), await SourceNode.start(options)];
    const areReading = async () => {
      for (const node of nodes) await expect.poll(() => node.reads(), PATIENCE).toBe(source);
    };
    await areReading();
    await write({ client, database: name, nodes });
    for (const node of nodes) await node.equalsFind(client, name);
    await areReading();
    const things = db.collection<Thing>("things");
    await things.updateMany({}, { $inc: { v: 1 } });
    for (const node of nodes) await node.equalsFind(client, name);
  },
);

test.runIf(KEEPS_IMAGES)(
  "the tail keeps at most its bytes, and a node that is further behind reads MongoDB before it joins",
  async ({ skip }) => {
    const bytes = 1024 * 1024;
    const fleet = await Fleet.start(skip, bytes);
    const startedAtMs = Date.now();
    fleet.writer.useBytes(20_000);
    const leader = await fleet.leader();
    const appended = async () => (await leader.metrics.tailAppendedBytes.get()).values[0]?.value ?? 0;
    await expect.poll(appended, PATIENCE).toBeGreaterThan(5 * bytes);
    const [key = ""] = await fleet.tailKeys();
    const used = Number(await fleet.redis.ask("MEMORY", "USAGE", key, "SAMPLES", "0"));
    expect(used).toBeGreaterThan(bytes / 2);
    expect(used).toBeLessThan(1.5 * bytes);
    const { values } = await leader.metrics.tailBytes.get();
    expect(values[0]?.value).toBeLessThanOrEqual(bytes);
    const startBeforeMs = Date.now() - startedAtMs;
    const late = await SourceNode.start({ ...fleet.options, startBeforeMs });
    await fleet.areReading("tail", [late]);
    expect(Object.keys(await late.switches())).toEqual(["mongodb start", "tail returned"]);
    fleet.nodes.push(late);
    await fleet.judge();
  },
);

test.runIf(KEEPS_IMAGES)(
  "a leader that stops is followed by another one, and the tail goes on",
  async ({ skip }) => {
    const fleet = await Fleet.start(skip);
    const leader = await fleet.leader();
    await leader.stop();
    fleet.nodes.splice(fleet.nodes.indexOf(leader), 1);
    expect(await fleet.leader()).not.toBe(leader);
    await fleet.areReading("tail");
    await fleet.judge();
  },
);

test.runIf(KEEPS_IMAGES)(
  "nodes with another key have a tail and a leader of their own, beside the others",
  async ({ skip }) => {
    const fleet = await Fleet.start(skip);
    const other = await SourceNode.start({ ...fleet.options, key: `other-${fleet.key}` });
    await fleet.areReading("tail", [other]);
    expect(await other.isLeader()).toBe(true);
    fleet.nodes.push(other);
    await fleet.judge();
    await fleet.areReading("tail");
  },
);

test.runIf(KEEPS_IMAGES)(
  "when the process of the leader is killed, nodes read MongoDB until another one leads",
  async ({ skip }) => {
    let leader: SpawnedService | undefined;
    const fleet = await Fleet.start(skip, undefined, async (options) => {
      leader = await startLeader(options);
    });
    for (let round = 0; round < 3; round++) {
      const before = await Promise.all(fleet.nodes.map(leftCount));
      if (round === 0) await leader?.kill();
      else {
        const node = await fleet.leader();
        await node.stop();
        fleet.nodes.splice(fleet.nodes.indexOf(node), 1, await SourceNode.start(fleet.options));
      }
      if (round === 0) await fleet.haveLeft(before);
      await fleet.leader();
      await fleet.areReading("tail");
    }
    await fleet.judge();
  },
);

test.runIf(KEEPS_IMAGES)(
  "a leader that was frozen, and goes on appending after another one has taken over, does no harm",
  async ({ skip }) => {
    let frozen: SpawnedService | undefined;
    const fleet = await Fleet.start(skip, undefined, async (options) => {
      frozen = await startLeader(options);
    });
    const stale = frozen as unknown as SpawnedService; // assigned before any node has started
    for (let round = 0; round < 2; round++) {
      const before = await Promise.all(fleet.nodes.map(leftCount));
      stale.signal("SIGSTOP");
      await fleet.haveLeft(before);
      await fleet.leader();
      await fleet.areReading("tail");
      stale.signal("SIGCONT");
      await expect.poll(() => leads(stale), PATIENCE).toBe(false);
      // Only the process can lead again.
      for (const node of fleet.nodes.splice(0)) await node.stop();
      await expect.poll(() => leads(stale), PATIENCE).toBe(true);
      for (let i = 0; i < 2; i++) fleet.nodes.push(await SourceNode.start(fleet.options));
      await fleet.areReading("tail");
    }
    await fleet.judge();
  },
);

test.runIf(KEEPS_IMAGES)(
  "a leader whose own connection to MongoDB has failed gives way to a node that can read",
  async ({ skip }) => {
    const redis = await Redis.start(skip);
    const { client, name, uri, db } = await testDatabase();
    onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
    await db.createCollection("things", { changeStreamPreAndPostImages: { enabled: true } });
    const proxy = await TcpProxy.start(Number(new URL(uri).port));
    const options = { client, uri, database: name, redisUrl: redis.url };
    // Its lease does not use this connection.
    const failing = await SourceNode.start({
      ...options,
      uri: `mongodb://127.0.0.1:${proxy.port}/?directConnection=true`,
    });
    await expect.poll(() => failing.isLeader(), PATIENCE).toBe(true);
    const other = await SourceNode.start(options);
    // A tail that the next leader begins would begin after the position of this node.
    await expect.poll(() => failing.reads(), PATIENCE).toBe("tail");
    proxy.cut();
    await expect.poll(() => other.isLeader(), PATIENCE).toBe(true);
    expect(await failing.isLeader()).toBe(false);
    await db.collection<Thing>("things").insertOne({ _id: 1, v: 1 });
    for (const node of [failing, other]) await node.equalsFind(client, name);
    expect(await failing.reads(), "its own stream is still cut off").toBe("tail");
  },
);

test.runIf(KEEPS_IMAGES)(
  "a node that leaves the tail because the collections have changed says so",
  async ({ skip }) => {
    const redis = await Redis.start(skip);
    const { client, name, uri } = await testDatabase();
    onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
    const node = await SourceNode.start({ client, uri, database: name, redisUrl: redis.url });
    await expect.poll(() => node.reads(), PATIENCE).toBe("tail");
    node.source.watch([`${name}.things`, `${name}.others`]);
    await expect
      .poll(async () => Object.keys(await node.switches()), PATIENCE)
      .toContain("mongodb collections");
    await expect.poll(() => node.reads(), PATIENCE).toBe("tail");
  },
);

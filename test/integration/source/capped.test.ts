/** Collections that no snapshot can be read of at one cluster time. */
import { expect, onTestFinished, test } from "vitest";
import { QueryFollower } from "../../support/follower.ts";
import { type TestDatabase, testDatabase } from "../../support/mongod.ts";
import { startNode } from "../../support/node.ts";
import { Oracle } from "../../support/oracle.ts";
import { KEEPS_IMAGES } from "../../support/server-features.ts";
import { signToken } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

/** An update there is a reset: its documents are neither sent nor readable at an earlier time. */
const NO_PAST = "MongoDB 5.0 keeps no images, and a capped collection cannot be read as it was";

interface Entry {
  _id: number;
  n: number;
}

async function start({ client, name, uri }: TestDatabase) {
  onTestFinished(async () => {
    await client.db(`${name}-state`).dropDatabase();
  });
  const { url } = await startNode(uri, name, {
    collections: { entries: { rules: [{ name: "all" }] } },
    // How long a read may take is not the subject here, and a busy machine is slow.
    limits: { snapshotTime: "2m" },
  });
  const oracle = new Oracle(client, `${name}-state`);
  await oracle.learnEpoch();
  const follow = (filter: object) => QueryFollower.start(url, oracle, { collection: "entries", filter });
  /** Waits until the service has read whatever has happened. */
  const settle = async () => {
    const other = await WsClient.connect(url, { token: await signToken({ sub: "u2" }) });
    onTestFinished(() => other.socket.terminate());
    await other.fence((await client.db("admin").command({ ping: 1 }))["operationTime"]);
  };
  return { follow, settle };
}

test("[G1] a snapshot of a capped collection that is being written is exact, and continues to equal find", async ({
  skip,
}) => {
  skip(!KEEPS_IMAGES, NO_PAST);
  const database = await testDatabase();
  const { db } = database;
  const entries = await db.createCollection<Entry>("entries", { capped: true, size: 16 * 1_024 * 1_024 });
  const { follow } = await start(database);
  let writing = true;
  let next = 0;
  const write = async () => {
    while (writing) {
      const _id = next++;
      await entries.insertOne({ _id, n: _id % 5 });
      await entries.updateOne({ _id: _id >> 1 }, { $set: { n: (_id + 1) % 5 } });
    }
  };
  const writers = Promise.all([write(), write()]);
  const followers: QueryFollower[] = [];
  try {
    for (let round = 0; round < 12; round++) {
      followers.push(await follow(round % 2 === 0 ? {} : { n: { $lt: 1 + (round % 4) } }));
    }
  } finally {
    // Also after a failure, as the database goes away under writers that go on.
    writing = false;
    await writers;
  }
  await entries.insertOne({ _id: -1, n: 0 });
  for (const follower of followers) {
    await follower.equalsFind(db);
    expect(follower.held.changes).toBeGreaterThan(0);
    expect(follower.starts, "never started over").toEqual({ snapshot: 1 });
  }
});

test("[G1] a snapshot of a capped collection is exact, however short the history and however long the read", async ({
  skip,
}) => {
  skip(!KEEPS_IMAGES, NO_PAST);
  const database = await testDatabase();
  const { db, client } = database;
  const entries = await db.createCollection<Entry>("entries", { capped: true, size: 16 * 1_024 * 1_024 });
  await entries.insertMany(Array.from({ length: 700 }, (_, _id) => ({ _id, n: 0 })));
  const { follow, settle } = await start(database);
  await settle();
  // The read takes longer than the history reaches back here (`history.window` is 0s in tests).
  const data = { failCommands: ["getMore"], namespace: entries.namespace, blockConnection: true };
  const slow = (mode: object | string) =>
    client.db("admin").command({
      configureFailPoint: "failCommand",
      mode,
      ...(mode === "off" ? {} : { data: { ...data, blockTimeMS: 2_500 } }),
    });
  await slow({ times: 1 });
  onTestFinished(async () => {
    await slow("off");
  });
  const following = follow({});
  let isDone = false;
  following.then(
    () => {
      isDone = true;
    },
    () => {
      isDone = true;
    },
  );
  for (let n = 0; !isDone; n++) await entries.updateOne({ _id: n % 700 }, { $inc: { n: 1 } });
  const follower = await following;
  await follower.equalsFind(db);
  expect(follower.starts, "never started over").toEqual({ snapshot: 1 });
});

test("[3.2] an update in a capped collection is a reset where the server keeps no images, and an insert is not", async ({
  skip,
}) => {
  skip(KEEPS_IMAGES, "this server keeps images");
  const database = await testDatabase();
  const { db } = database;
  const entries = await db.createCollection<Entry>("entries", { capped: true, size: 16 * 1_024 * 1_024 });
  await entries.insertOne({ _id: 1, n: 1 });
  const { follow } = await start(database);
  const follower = await follow({});
  await entries.insertOne({ _id: 2, n: 1 });
  await follower.equalsFind(db);
  expect(follower.starts, "an insert").toEqual({ snapshot: 1 });
  await entries.updateOne({ _id: 1 }, { $set: { n: 2 } });
  await follower.equalsFind(db);
  expect(follower.starts, "an update").toEqual({ snapshot: 1, "reset, history-lost": 1 });
});

test("[3.3] a missing collection gives an empty snapshot, and then its first document", async () => {
  const database = await testDatabase();
  const { db } = database;
  const { follow, settle } = await start(database);
  await db.dropCollection("entries");
  await settle();
  const everything = await follow({});
  const some = await follow({ n: { $gt: 2 } });
  expect(everything.held.documents.size).toBe(0);
  const entries = db.collection<Entry>("entries");
  await entries.insertOne({ _id: 1, n: 1 });
  await entries.insertOne({ _id: 2, n: 3 });
  for (const follower of [everything, some]) {
    await follower.equalsFind(db);
    expect(follower.starts, "never started over").toEqual({ snapshot: 1 });
  }
  const added = everything.model.client.received.filter(({ type }) => type === "added");
  expect(added.map(({ doc }) => (doc as Entry)._id)).toEqual([1, 2]);
});

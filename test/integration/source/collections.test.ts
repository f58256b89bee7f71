/** The effect on subscribers of a collection that is dropped, replaced or created again (docs/rules.md, section 3). */
import type { Db, MongoClient } from "mongodb";
import { expect, test } from "vitest";
import type { Feed } from "../../../src/feed/feed.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { QueryFollower } from "../../support/follower.ts";
import { Oracle } from "../../support/oracle.ts";
import { follow } from "../../support/recorder.ts";
import { KEEPS_IMAGES } from "../../support/server-features.ts";
import { startTestService } from "../../support/service.ts";

interface Thing {
  _id: number;
  n: number;
}

const RULES = { rules: [{ name: "all" }] };

async function start() {
  const service = await startTestService({ collections: { things: RULES, others: RULES } });
  const oracle = new Oracle(service.client, `${service.name}-state`);
  await oracle.learnEpoch();
  const { db, url } = service;
  await db.collection<Thing>("things").insertMany([1, 2, 3, 4].map((_id) => ({ _id, n: _id })));
  await db.collection<Thing>("others").insertOne({ _id: 1, n: 1 });
  await db.collection<Thing>("unwatched").insertMany([3, 4, 5].map((_id) => ({ _id, n: _id * 2 })));
  const everything = await QueryFollower.start(url, oracle, { collection: "things" });
  const some = await QueryFollower.start(url, oracle, { collection: "things", filter: { n: { $gt: 2 } } });
  const others = await QueryFollower.start(url, oracle, { collection: "others" });
  return { ...service, everything, some, others };
}

async function imagesOf(db: Db, name: string): Promise<unknown> {
  const [found] = await db.listCollections({ name }).toArray();
  return found !== undefined && "options" in found
    ? found.options?.["changeStreamPreAndPostImages"]?.enabled
    : undefined;
}

type Replace = (db: Db) => Promise<unknown>;

const REPLACEMENTS: [string, Replace][] = [
  ["dropped", (db) => db.collection("things").drop()],
  [
    "dropped and created again",
    (db) =>
      db
        .collection("things")
        .drop()
        .then(() => db.createCollection("things")),
  ],
  ["renamed away", (db) => db.renameCollection("things", "gone")],
  ["replaced by a rename onto it", (db) => db.renameCollection("unwatched", "things", { dropTarget: true })],
  [
    "replaced by a rename of another watched one",
    (db) => db.renameCollection("others", "things", { dropTarget: true }),
  ],
  [
    "replaced by $out",
    (db) =>
      db
        .collection("unwatched")
        .aggregate([{ $out: "things" }])
        .toArray(),
  ],
  ["gone with its database", (db) => db.dropDatabase()],
];

test.each(REPLACEMENTS)(
  "[3.2] a collection that is %s: subscribers are reset, equal find again, and go on",
  async (_name, replace) => {
    const { db, everything, some, others } = await start();
    const things = db.collection<Thing>("things");
    await replace(db);
    for (const follower of [everything, some]) {
      await expect.poll(() => follower.starts["reset, history-lost"] ?? 0).toBeGreaterThan(0);
    }
    for (const follower of [everything, some, others]) await follower.equalsFind(db);
    await things.insertMany([10, 11].map((_id) => ({ _id, n: _id })));
    await things.updateOne({ _id: 10 }, { $set: { n: 1 } });
    await things.updateOne({ _id: 11 }, { $inc: { n: 1 } });
    await things.deleteOne({ _id: 10 });
    await db.collection<Thing>("others").insertOne({ _id: 2, n: 2 });
    for (const follower of [everything, some, others]) await follower.equalsFind(db);
    await expect.poll(() => imagesOf(db, "things")).toBe(KEEPS_IMAGES ? true : undefined);
    expect(everything.held.documents.get("11")).toBe('{"_id":11,"n":12}');
  },
);

test("[G2] a client that was away while the collection was replaced receives a reset, not a mixture", async () => {
  const { db, url, everything } = await start();
  everything.model.client.socket.terminate();
  await db
    .collection("unwatched")
    .aggregate([{ $out: "things" }])
    .toArray();
  await db.collection<Thing>("things").insertOne({ _id: 9, n: 9 });
  await everything.connect(url);
  await everything.equalsFind(db);
  expect(Object.keys(everything.starts).filter((start) => start.includes("history-lost"))).toHaveLength(1);
});

test("[3.2] a collection that is created again as a view ends its subscriptions, and no others", async ({
  skip,
}) => {
  skip(!KEEPS_IMAGES, "MongoDB 5.0 reports no event of a created view");
  const { db, everything, some, others } = await start();
  await db.collection("things").drop();
  await db.createCollection("things", { viewOn: "unwatched", pipeline: [] });
  for (const { model } of [everything, some]) {
    expect(await model.client.until(({ type }) => type === "unsubscribed")).toEqual({
      type: "unsubscribed",
      id: "q",
      reason: "collection-dropped",
    });
  }
  await db.collection<Thing>("others").insertOne({ _id: 2, n: 2 });
  await others.equalsFind(db);
  expect(others.model.client.received.filter(({ type }) => type === "unsubscribed")).toEqual([]);
});

/** Waits until everything written so far has been handed on. */
async function settled(feed: Feed, client: MongoClient) {
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  await feed.timeline.reached(operationTime.toBigInt(), 120_000);
  await new Promise((resolve) => setImmediate(resolve));
}

test("[G1] until images are on again in a collection that was created again, every event is still exact", async () => {
  // Nobody switches images on in this service without its keeper.
  const { client, db, feed, metrics, spec } = await startFeed();
  const things = db.collection<Thing>("things");
  await things.insertOne({ _id: 1, n: 5 });
  const { sink } = await follow(feed, spec({ n: { $gt: 2 } }));
  await things.drop();
  await things.insertOne({ _id: 1, n: 3 });
  await settled(feed, client);
  await expect.poll(() => [...sink.state.values()]).toEqual([{ _id: 1, n: 3 }]);
  expect(await imagesOf(db, "things")).not.toBe(true);
  const from = sink.messages.length;
  await things.updateOne({ _id: 1 }, { $set: { n: 4 } });
  await things.updateOne({ _id: 1 }, { $set: { n: 1 } });
  await things.updateOne({ _id: 1 }, { $set: { n: 6 } });
  await things.deleteOne({ _id: 1 });
  await things.insertOne({ _id: 2, n: 0 });
  await things.replaceOne({ _id: 2 }, { n: 1 });
  await things.deleteOne({ _id: 2 });
  await settled(feed, client);
  expect(sink.messages.slice(from).map(({ type, cause, doc }) => [type, cause, doc])).toEqual([
    ["changed", "update", { _id: 1, n: 4 }],
    ["removed", "update", undefined],
    ["added", "update", { _id: 1, n: 6 }],
    ["removed", "delete", undefined],
  ]);
  const missing = await metrics.registry.getSingleMetric("tidewire_images_missing_total")?.get();
  expect(missing?.values[0]?.value).toBe(6);
});

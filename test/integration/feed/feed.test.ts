import type { ClientSession, Db, MongoClient } from "mongodb";
import { BSON, Timestamp } from "mongodb";
import { expect, test, vi } from "vitest";
import type { Feed } from "../../../src/feed/feed.ts";
import { Rights } from "../../../src/feed/rights.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { follow, headCursorOf, Recorder } from "../../support/recorder.ts";
import { KEEPS_IMAGES, NO_IMAGES } from "../../support/server-features.ts";

/** The result of the server's own `find` at the cluster time of a cursor. */
async function oracle(feed: Feed, db: Db, cursor: string, filter: object) {
  const position = feed.timeline.codec.decode(cursor);
  if (typeof position === "string") throw new Error(position);
  const { cursor: answer } = await db.command({
    find: "things",
    filter,
    batchSize: 100_000,
    readConcern: { level: "snapshot", atClusterTime: new Timestamp(position.clusterTime) },
  });
  const documents = BSON.EJSON.serialize(answer.firstBatch) as unknown as { _id: unknown }[];
  return new Map(documents.map((doc) => [JSON.stringify(doc._id), doc]));
}

/** Waits until everything written so far has been handed on. */
async function settled(feed: Feed, client: MongoClient) {
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  await feed.timeline.reached(operationTime.toBigInt(), 120_000);
  await new Promise((resolve) => setImmediate(resolve));
}

test("brings a snapshot, then every change, and equals find", async () => {
  const { client, db, feed, spec } = await startFeed();
  const things = db.collection<{ _id: number; n: number; s?: string }>("things");
  await things.insertMany([
    { _id: 1, n: 1 },
    { _id: 2, n: 5 },
  ]);
  const { sink, started } = await follow(feed, spec({ n: { $gt: 2 } }));
  expect(started.start).toBe("snapshot");
  await things.updateOne({ _id: 1 }, { $set: { n: 7 } });
  await things.updateOne({ _id: 2 }, { $set: { s: "x" } });
  await things.deleteOne({ _id: 2 });
  await things.insertOne({ _id: 3, n: 0 });
  await settled(feed, client);
  expect(sink.messages.map(({ type, cause }) => [type, cause])).toEqual([
    ["snapshot", undefined],
    ["added", "update"],
    ["changed", "update"],
    ["removed", "delete"],
  ]);
  expect(sink.state).toEqual(await oracle(feed, db, headCursorOf(feed), { n: { $gt: 2 } }));
});

test.for([
  ["with images", true],
  ["without images", false],
] as const)(
  "joins at any moment of a stream of writes without a gap and without an overlap, %s",
  async ([, images], { skip }) => {
    skip(images && !KEEPS_IMAGES, NO_IMAGES);
    const { client, db, feed, spec } = await startFeed({ images });
    const things = db.collection<{ _id: number; n: number; v: number }>("things");
    let writing = true;
    const writer = async (from: number) => {
      for (let i = 0; writing; i++) {
        const _id = from + (i % 20);
        if (i % 7 === 6) await things.deleteOne({ _id });
        else await things.updateOne({ _id }, { $inc: { v: 1 }, $set: { n: i % 5 } }, { upsert: true });
      }
    };
    const writers = [writer(0), writer(1_000), writer(2_000)];
    const sinks: { sink: Recorder; filter: object }[] = [];
    for (let round = 0; round < 60; round++) {
      const { sink } = await follow(feed, spec(round % 2 === 0 ? {} : { n: { $lt: (round % 5) + 1 } }));
      sinks.push({ sink, filter: round % 2 === 0 ? {} : { n: { $lt: (round % 5) + 1 } } });
    }
    // Some are slow meanwhile, and make up for it.
    for (const { sink } of sinks.slice(0, 20)) sink.hasRoom = false;
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const { sink } of sinks) sink.drain();
    writing = false;
    await Promise.all(writers);
    await settled(feed, client);
    await expect.poll(() => sinks.every(({ sink }) => sink.live > 0)).toBe(true);
    await settled(feed, client);
    for (const { sink, filter } of sinks) {
      expect(sink.errors).toEqual([]);
      expect(sink.state).toEqual(await oracle(feed, db, headCursorOf(feed), filter));
    }
  },
);

test("starts over when the collection is dropped and created again", async () => {
  const { client, db, feed, spec } = await startFeed();
  await db.collection("things").insertMany([{ n: 1 }, { n: 2 }]);
  const { sink } = await follow(feed, spec());
  await expect.poll(() => sink.state.size).toBe(2);
  await db.collection("things").drop();
  await expect.poll(() => sink.state.size).toBe(0);
  await db.collection("things").insertOne({ n: 3 });
  await db.collection("things").updateOne({ n: 3 }, { $set: { n: 4 } });
  await settled(feed, client);
  await expect
    .poll(() => JSON.stringify([...sink.state.values()].map((doc) => (doc as { n: number }).n)))
    .toBe("[4]");
  expect(sink.errors).toEqual([]);
});

test("resumes from a cursor, out of the history or out of the oplog", async () => {
  const { client, db, feed, spec } = await startFeed({ history: { bytes: 1_048_576 } });
  const things = db.collection<{ _id: number; pad?: string }>("things");
  const { sink, delivery } = await follow(feed, spec());
  await things.insertOne({ _id: 1 });
  await settled(feed, client);
  const { cursor } = sink;
  feed.unsubscribe(delivery);
  await things.insertOne({ _id: 2 });
  await things.deleteOne({ _id: 1 });
  await settled(feed, client);
  const resume = async () => {
    const position = feed.timeline.codec.decode(cursor);
    if (typeof position === "string") throw new Error(position);
    const again = new Recorder();
    for (const [key, doc] of sink.state) again.state.set(key, doc);
    const { started } = await follow(feed, spec(), again, {
      snapshot: true,
      resumeFrom: position,
      refused: null,
    });
    expect(started.start).toBe("resumed");
    await expect.poll(() => again.live).toBe(1);
    return again;
  };
  expect((await resume()).messages.map((message) => message.type)).toEqual(["added", "removed"]);
  for (let i = 10; i < 30; i++) await things.insertOne({ _id: i, pad: "x".repeat(100_000) });
  await settled(feed, client);
  const old = await resume();
  expect(old.messages.map((message) => message.type).slice(0, 3)).toEqual(["added", "removed", "added"]);
  expect(old.state).toEqual(await oracle(feed, db, headCursorOf(feed), {}));
});

test("does not send a snapshot from after a withdrawal that the stream has not reached yet", async () => {
  const { client, db, feed, gate, spec } = await startFeed({ collections: ["things", "members"] });
  const members = db.collection<{ _id: number; user: string; room: string }>("members");
  const things = db.collection<{ _id: number; room: string }>("things");
  await members.insertOne({ _id: 1, user: "u1", room: "a" });
  await settled(feed, client);
  const set = await feed.lookups.acquire({
    ...spec({ user: "u1" }, undefined, "members"),
    value: "room",
  });
  gate.hold();
  await members.deleteOne({ _id: 1 });
  await things.insertOne({ _id: 7, room: "a" });
  const { sink, delivery } = await follow(
    feed,
    spec({ room: "a" }),
    undefined,
    undefined,
    new Rights(0n, [set]),
  );
  set.holders.add({ lookupChanged: () => feed.unsubscribe(delivery), lookupLost: () => {}, fail: () => {} });
  await client.db("admin").command({ ping: 1 }); // time enough for what must not be sent
  await gate.release();
  await settled(feed, client);
  expect(sink.messages).toEqual([]);
});

test.each([
  ["a snapshot", false],
  ["a change from the oplog", true],
])(
  "%s from a time that the stream has not reached is sent only to a consumer that may read ahead",
  async (_what, resumes) => {
    const { client, db, feed, gate, spec } = await startFeed({ history: { bytes: 1_048_576 } });
    const things = db.collection<{ _id: number; pad?: string }>("things");
    await things.insertOne({ _id: 1 });
    await settled(feed, client);
    const { head } = feed.timeline;
    // The history no longer holds what follows the head, so that a resumption reads the oplog.
    for (let _id = 10; _id < 30; _id++) await things.insertOne({ _id, pad: "x".repeat(100_000) });
    await settled(feed, client);
    const start = resumes ? { snapshot: true, resumeFrom: head, refused: null } : undefined;
    gate.hold();
    await things.insertOne({ _id: 7 });
    // The last cluster time of a large answer from the oplog is held back until the rest of it has been read.
    await things.insertOne({ _id: 8 });
    const asked: Recorder[] = [];
    const join = async (mayRead: boolean) => {
      const sink = new Recorder();
      sink.mayReadAhead = async () => {
        asked.push(sink);
        return mayRead;
      };
      const { started } = await follow(feed, spec(), sink, start);
      expect(started.start).toBe(resumes ? "resumed" : "snapshot");
      await expect.poll(() => asked).toContain(sink);
      return sink;
    };
    const [ahead, waiting] = [await join(true), await join(false)];
    await expect.poll(() => [...ahead.state.keys()]).toContain("7");
    expect([...waiting.state.keys()]).not.toContain("7");
    await gate.release();
    await settled(feed, client);
    await expect.poll(() => waiting.live).toBe(1);
    expect([...waiting.state.keys()]).toContain("7");
  },
);

test("a snapshot that has been read leaves nothing open, however it ends", async () => {
  const { client, db, feed, spec } = await startFeed();
  const started = vi.spyOn(client, "startSession");
  const things = db.collection<{ _id: number; n: number }>("things");
  // More than one batch of the server's answer.
  await things.insertMany(Array.from({ length: 1_200 }, (_, _id) => ({ _id, n: _id })));
  const sorted = (limit: number) => spec({}, undefined, "things", { sort: [["n", 1]], limit });
  for (const one of [spec({ n: { $lt: 5 } }), spec({ n: -1 }), spec(), sorted(10), sorted(1_000)]) {
    const { sink } = await follow(feed, one);
    await expect.poll(() => sink.live).toBe(1);
  }
  const { delivery } = await follow(feed, spec({ n: { $gte: 0 } }));
  feed.unsubscribe(delivery);
  expect(started.mock.results.length).toBeGreaterThanOrEqual(6);
  const open = () => started.mock.results.filter(({ value }) => !(value as ClientSession).hasEnded).length;
  await expect.poll(open).toBe(0);
});

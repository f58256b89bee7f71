/** Changes that are larger than one event or one batch can be. */
import { BSON, type Db, type MongoClient } from "mongodb";
import { expect, test } from "vitest";
import { BEFORE } from "../../../src/feed/cursor.ts";
import type { Feed } from "../../../src/feed/feed.ts";
import { includeProjection } from "../../../src/match/projection.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { FRESH, follow, type Message, Recorder } from "../../support/recorder.ts";
import { KEEPS_IMAGES } from "../../support/server-features.ts";

const MIB = 1_024 * 1_024;
const PATIENCE_MS = 30_000;

interface Thing {
  _id: number;
  n: number;
  payload?: string;
}

/** Waits until everything written so far has been handed on. */
async function settled(feed: Feed, client: MongoClient) {
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  await feed.timeline.reached(operationTime.toBigInt(), PATIENCE_MS);
  await new Promise((resolve) => setImmediate(resolve));
}

async function find(db: Db, filter: object, projection: object = {}) {
  const found = await db.collection<Thing>("things").find(filter, { projection }).toArray();
  return new Map(found.map((doc) => [JSON.stringify(doc._id), BSON.EJSON.serialize(doc)]));
}

const briefly = (messages: readonly Message[]) =>
  messages.map(({ type, doc, _id }) => {
    const { _id: id = _id, n } = (doc ?? {}) as Partial<Thing>;
    return [type, id, n];
  });

test("[G1] after an update whose two images exceed 16 MB together, the stream continues, and subscribers equal find", async () => {
  const { client, db, feed, metrics, spec } = await startFeed();
  const things = db.collection<Thing>("things");
  await things.insertMany([
    { _id: 1, n: 1, payload: "a".repeat(9 * MIB) },
    { _id: 2, n: 2 },
  ]);
  const { sink: narrow } = await follow(feed, spec({ n: { $gt: 0 } }, includeProjection(["n"])));
  const { sink: whole } = await follow(feed, spec({ n: { $gt: 0 } }));
  await expect.poll(() => [narrow.live, whole.live], { timeout: PATIENCE_MS }).toEqual([1, 1]);
  const equal = async () => {
    await settled(feed, client);
    expect(narrow.state).toEqual(await find(db, { n: { $gt: 0 } }, { n: 1 }));
    // Compared without the text of a failure that would be of many megabytes.
    const found = await find(db, { n: { $gt: 0 } });
    expect([...whole.state.keys()].sort()).toEqual([...found.keys()].sort());
    for (const [id, doc] of found)
      expect(JSON.stringify(whole.state.get(id)) === JSON.stringify(doc)).toBe(true);
  };
  await things.updateOne({ _id: 1 }, { $inc: { n: 1 } });
  await things.updateOne({ _id: 2 }, { $inc: { n: 1 } });
  await equal();
  await things.updateOne({ _id: 1 }, { $set: { n: 0 } });
  await things.updateOne({ _id: 1 }, { $set: { n: 5, payload: "b".repeat(9 * MIB) } });
  await equal();
  await things.deleteOne({ _id: 1 });
  await things.insertOne({ _id: 3, n: 3 });
  await equal();
  expect(briefly(narrow.messages.slice(1))).toEqual([
    ["changed", 1, 2],
    ["changed", 2, 3],
    ["removed", 1, undefined],
    ["added", 1, 5],
    ["removed", 1, undefined],
    ["added", 3, 3],
  ]);
  expect(narrow.live + whole.live, "never started over").toBe(2);
  const missing = await metrics.registry.getSingleMetric("tidewire_images_missing_total")?.get();
  // Without images none of the five updates and deletes is sent whole.
  const withoutImages = KEEPS_IMAGES ? 3 : 5;
  expect(missing?.values[0]?.value, "events that the server could not send whole").toBe(withoutImages);
  const errors = await metrics.registry.getSingleMetric("tidewire_stream_errors_total")?.get();
  expect(errors?.values.reduce((sum, { value }) => sum + value, 0)).toBe(0);
});

const OPERATIONS = 1_500;

test.each([
  ["history", 64 * MIB],
  ["oplog", 1 * MIB],
])(
  "[G4] a transaction larger than a batch arrives in one piece, and no client resumes inside it, out of the %s",
  async (from, bytes) => {
    const { client, db, feed, metrics, spec } = await startFeed({ history: { bytes } });
    const things = db.collection<Thing>("things");
    const { sink } = await follow(feed, spec({ n: 1 }));
    let writing = true;
    const writer = (async () => {
      for (let _id = 1_000_000; writing; _id++) await things.insertOne({ _id, n: 1 });
    })();
    const payload = "x".repeat(3_000);
    await client.withSession((session) =>
      session.withTransaction(async () => {
        const half = OPERATIONS / 2;
        const documents = Array.from({ length: half }, (_, _id) => ({ _id, n: 0, payload }));
        await things.insertMany(documents, { session });
        await things.updateMany({ _id: { $lt: half } }, { $set: { n: 1 } }, { session });
      }),
    );
    await things.insertOne({ _id: -1, n: 1 });
    writing = false;
    await writer;
    await settled(feed, client);
    await expect.poll(() => sink.state.size).toBe(await things.countDocuments({ n: 1 }));

    const isOwn = ({ doc }: Message) => "payload" in ((doc ?? {}) as object);
    const first = sink.messages.findIndex(isOwn);
    const last = sink.messages.findLastIndex(isOwn);
    const own = sink.messages.slice(first, last + 1);
    expect(own.every(isOwn), "nothing of the query between them").toBe(true);
    expect(own.map(({ doc }) => (doc as Thing)._id)).toEqual(Array.from({ length: own.length }, (_, i) => i));
    const cursors = own.map(({ cursor }) => cursor as string);
    const end = feed.timeline.codec.decode(cursors.at(-1)!);
    if (typeof end === "string") throw new Error(end);
    for (const cursor of new Set(cursors.slice(0, -1))) {
      const position = feed.timeline.codec.decode(cursor);
      if (typeof position === "string") throw new Error(position);
      const isBefore =
        position.clusterTime < end.clusterTime ||
        (position.clusterTime === end.clusterTime && position.within === BEFORE);
      expect(isBefore).toBe(true);
      expect((await resumed(cursor)).slice(0, own.length), "the whole again").toEqual(own);
    }
    const catchUps = await metrics.registry.getSingleMetric("tidewire_catch_ups_total")?.get();
    expect(catchUps?.values.map(({ labels }) => labels["from"])).toContain(from);
    expect(await resumed(cursors.at(-1)!)).toEqual(sink.messages.slice(last + 1));

    /** The changes after a cursor. */
    async function resumed(cursor: string): Promise<Message[]> {
      const resumeFrom = feed.timeline.codec.decode(cursor);
      if (typeof resumeFrom === "string") throw new Error(resumeFrom);
      const recorder = new Recorder();
      const { started, delivery } = await follow(feed, spec({ n: 1 }), recorder, { ...FRESH, resumeFrom });
      expect(started.start).toBe("resumed");
      await expect.poll(() => recorder.live, { timeout: PATIENCE_MS }).toBe(1);
      feed.unsubscribe(delivery);
      return recorder.messages;
    }
  },
);

/** Aggregates of a feed: who reads slowly, what is shared, and when the database is asked again. */
import { afterEach, expect, test, vi } from "vitest";
import { parseAggregate } from "../../../src/match/aggregate.ts";
import { SnapshotCursor } from "../../../src/source/snapshot-cursor.ts";
import { assertRows, groupsAt } from "../../support/aggregate-oracle.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { follow, headCursorOf, Recorder } from "../../support/recorder.ts";

afterEach(() => vi.restoreAllMocks());

const PATIENCE = { timeout: 60_000, interval: 10 };

type World = Awaited<ReturnType<typeof startFeed>>;

async function settled({ client, feed }: World): Promise<bigint> {
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  await feed.timeline.reached(operationTime.toBigInt(), 60_000);
  const position = feed.timeline.codec.decode(headCursorOf(feed));
  if (typeof position === "string") throw new Error(position);
  return position.clusterTime;
}

test("a slow consumer receives the latest rows and not each of their changes, also in many pieces", async () => {
  const world = await startFeed();
  const { db, feed, spec } = world;
  const things = db.collection<{ _id: number; g: string; n: number }>("things");
  // The rows take several chunks of a catch-up.
  const group = (n: number) => `${n} ${"x".repeat(400)}`;
  await things.insertMany(Array.from({ length: 500 }, (_, _id) => ({ _id, g: group(_id), n: 0 })));
  const aggregate = parseAggregate({ by: "g", values: { n: { sum: "n" }, top: { max: "n" } } });
  const { sink, delivery } = await follow(feed, spec({}, undefined, "things", { aggregate }));
  await expect.poll(() => delivery.isLive, PATIENCE).toBe(true);
  const before = sink.messages.length;
  sink.hasRoom = false;
  for (let round = 1; round <= 3; round++) await things.updateMany({}, { $set: { n: round } });
  await things.deleteMany({ _id: { $lt: 10 } });
  await settled(world);
  // The greatest values of groups may still be read. Rows that change by that are sent again.
  await delivery.liveQuery.state.becomesCurrent();
  sink.drain();
  // While the pieces are written, the log grows.
  for (let round = 0; round < 20; round++) await things.updateOne({ _id: 100 + round }, { $inc: { n: 10 } });
  const time = await settled(world);
  await expect.poll(() => delivery.isLive, PATIENCE).toBe(true);
  const changes = sink.messages.slice(before);
  expect(sink.errors).toEqual([]);
  expect(changes.flatMap((message) => (message.type === "reset" ? [message["reason"]] : []))).toEqual([]);
  expect(changes.filter(({ type }) => type === "removed")).toHaveLength(10);
  // Of 1,510 changes: the rows of the moment in which there was room, and the changes that came while it caught up.
  expect(changes.length).toBeLessThanOrEqual(500 + 20);
  assertRows(sink.state.values(), await groupsAt(db, "things", {}, aggregate, time), aggregate, "at the end");
});

test("equal aggregates share one live query, and opening another one moves no documents", async () => {
  const world = await startFeed();
  const { db, feed, spec } = world;
  await db
    .collection("things")
    .insertMany(Array.from({ length: 1_000 }, (_, n) => ({ g: n % 3, text: "x".repeat(1_000) })));
  const aggregate = parseAggregate({ by: "g" });
  const documents = vi.spyOn(SnapshotCursor.prototype, "next");
  const query = spec({}, undefined, "things", { aggregate });
  const followed = await Promise.all([follow(feed, query), follow(feed, query, new Recorder())]);
  await expect.poll(() => followed.every(({ delivery }) => delivery.isLive), PATIENCE).toBe(true);
  expect(feed.liveQueries).toBe(1);
  const read = await Promise.all(documents.mock.results.map(({ value }) => value));
  expect(read.flat()).toHaveLength(3);
  expect(followed[0]?.delivery.liveQuery.state.heldBytes).toBeLessThan(3 * 1_024);
});

test("the least value of a group is read again only when all that are held have left, at the time of that commit", async () => {
  const world = await startFeed();
  const { db, feed, spec } = world;
  const things = db.collection<{ _id: number; g: string; n: number }>("things");
  await things.insertMany(
    Array.from({ length: 200 }, (_, _id) => ({ _id, g: _id % 2 ? "odd" : "even", n: _id })),
  );
  const aggregate = parseAggregate({ by: "g", values: { least: { min: "n" } } });
  const { sink, delivery } = await follow(feed, spec({}, undefined, "things", { aggregate }));
  await expect.poll(() => delivery.isLive, PATIENCE).toBe(true);
  const reads = vi.spyOn(SnapshotCursor, "readAt");
  // From the least on: a group loses its least value a hundred times.
  for (let _id = 0; _id < 200; _id += 2) await things.deleteOne({ _id });
  const time = await settled(world);
  await expect.poll(() => delivery.isLive, PATIENCE).toBe(true);
  assertRows(sink.state.values(), await groupsAt(db, "things", {}, aggregate, time), aggregate, "at the end");
  expect(sink.errors).toEqual([]);
  // The first one, whose successors are unknown, and one for each of the spares that follow.
  expect(reads.mock.calls.length).toBeGreaterThan(1);
  expect(reads.mock.calls.length).toBeLessThanOrEqual(6);
});

test("a row of eight extremes that loses all of them with each write reads many values of each, and seldom", async () => {
  const world = await startFeed({ limits: { snapshotConcurrency: 1 } });
  const { db, feed, spec } = world;
  const names = Array.from("abcdefgh");
  const things = db.collection<{ _id: number }>("things");
  const fieldsOf = (n: number) => Object.fromEntries(names.map((name) => [name, n]));
  await things.insertMany(Array.from({ length: 200 }, (_, _id) => ({ _id, ...fieldsOf(_id) })));
  const values = Object.fromEntries(names.map((name) => [name, { min: name }]));
  const aggregate = parseAggregate({ values });
  const { sink, delivery } = await follow(feed, spec({}, undefined, "things", { aggregate }));
  await expect.poll(() => delivery.isLive, PATIENCE).toBe(true);
  const reads = vi.spyOn(SnapshotCursor, "readAt");
  const deletions = 100;
  for (let _id = 0; _id < deletions; _id++) await things.deleteOne({ _id });
  const time = await settled(world);
  await expect.poll(() => delivery.isLive, PATIENCE).toBe(true);
  assertRows(sink.state.values(), await groupsAt(db, "things", {}, aggregate, time), aggregate, "at the end");
  // Each read gives 32 values of one column.
  expect(reads.mock.calls.length).toBeLessThanOrEqual(names.length * (1 + Math.ceil(deletions / 32)));
  for (const [, query] of reads.mock.calls) expect(query.stages?.at(-1)).toEqual({ $limit: 32 });
});

test("a transaction that takes the extremes of many groups reads them with one query, and leaves other groups alone", async () => {
  const world = await startFeed();
  const { client, db, feed, spec } = world;
  const things = db.collection<{ _id: number; g: number; n: number }>("things");
  await things.insertMany(Array.from({ length: 400 }, (_, _id) => ({ _id, g: _id % 40, n: _id })));
  const aggregate = parseAggregate({ by: "g", values: { least: { min: "n" } } });
  const { sink, delivery } = await follow(feed, spec({}, undefined, "things", { aggregate }));
  await expect.poll(() => delivery.isLive, PATIENCE).toBe(true);
  // Group 39 has its values, and keeps them.
  await things.deleteOne({ _id: 39 });
  await settled(world);
  await expect.poll(() => delivery.isLive, PATIENCE).toBe(true);
  const reads = vi.spyOn(SnapshotCursor, "readAt");
  const check = async () => {
    const time = await settled(world);
    await expect.poll(() => delivery.isLive, PATIENCE).toBe(true);
    assertRows(sink.state.values(), await groupsAt(db, "things", {}, aggregate, time), aggregate, "the rows");
    return reads.mock.calls.length;
  };
  await client.withSession((session) =>
    session.withTransaction(() => things.deleteMany({ _id: { $lt: 30 } }, { session })),
  );
  expect(await check()).toBe(1);
  await things.deleteOne({ _id: 79 });
  expect(await check()).toBe(1);
  await things.deleteOne({ _id: 40 });
  expect(await check()).toBe(2);
});

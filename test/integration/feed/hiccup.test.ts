/** MongoDB fails while what was missed is read: the subscription stands, and its client is brought up to date all the same. */
import { MongoNetworkError, MongoServerError } from "mongodb";
import { afterEach, expect, test, vi } from "vitest";
import { SnapshotCursor } from "../../../src/source/snapshot-cursor.ts";
import { StreamStalledError } from "../../../src/source/stream-errors.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { FRESH, follow, type Recorder } from "../../support/recorder.ts";

const PATIENCE = { timeout: 60_000 };

interface Thing {
  _id: number;
  n: number;
  pad?: string;
}

type Harness = Awaited<ReturnType<typeof startFeed>>;

afterEach(() => {
  vi.restoreAllMocks();
});

async function settled({ feed, client }: Harness) {
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  await feed.timeline.reached(operationTime.toBigInt(), PATIENCE.timeout);
}

/** Comes back with what a recorder has seen last. */
function comeBack({ feed }: Harness, spec: Parameters<typeof follow>[1], sink: Recorder) {
  const resumeFrom = feed.timeline.codec.decode(sink.cursor);
  if (typeof resumeFrom === "string") throw new Error(resumeFrom);
  return follow(feed, spec, sink, { ...FRESH, resumeFrom });
}

/** One who has missed a change that the history has let go of. */
async function missOutOfHistory() {
  const harness = await startFeed({ history: { bytes: 1_048_576 } });
  const { db, feed, source, spec } = harness;
  const things = db.collection<Thing>("things");
  await things.insertOne({ _id: 1, n: 1 });
  const query = spec({ n: { $gt: 0 } });
  const { delivery, sink } = await follow(feed, query);
  await expect.poll(() => sink.live, PATIENCE).toBe(1);
  feed.unsubscribe(delivery);
  await things.insertOne({ _id: 2, n: 2 });
  for (let _id = 3; _id < 7; _id++) await things.insertOne({ _id, n: 0, pad: "x".repeat(400_000) });
  await settled(harness);
  return { harness, source, query, sink };
}

test("[G2] a connection that breaks while the oplog is read loses no missed change, and causes no reset", async () => {
  const { harness, source, query, sink } = await missOutOfHistory();
  const read = source.read.bind(source);
  let reads = 0;
  vi.spyOn(source, "read").mockImplementation(async function* (from, signal) {
    const isFirst = reads++ === 0;
    for await (const batch of read(from, signal)) {
      if (!isFirst) yield batch;
      else {
        yield { ...batch, commits: [], through: from };
        throw new MongoNetworkError("the connection was closed");
      }
    }
  });
  const { started } = await comeBack(harness, query, sink);
  expect(started.start).toBe("resumed");
  await expect.poll(() => sink.live, PATIENCE).toBe(2);
  expect(reads).toBe(2);
  expect(sink.errors).toEqual([]);
  expect(sink.messages.filter(({ type }) => type === "reset")).toEqual([]);
  expect([...sink.state.keys()]).toEqual(["1", "2"]);
});

test("[3.3] a catch-up out of the oplog that takes too long ends in history-lost", async () => {
  const { harness, source, query, sink } = await missOutOfHistory();
  // biome-ignore lint/correctness/useYield: it never reaches a first batch
  vi.spyOn(source, "read").mockImplementation(async function* () {
    throw new StreamStalledError("no answer");
  });
  const { started } = await comeBack(harness, query, sink);
  expect(started).toMatchObject({ start: "reset", reason: "history-lost" });
  await expect.poll(() => sink.live, PATIENCE).toBe(2);
  expect([...sink.state.keys()]).toEqual(["1", "2"]);
});

test("[G2] a window whose past cannot be read any more, halfway to the present, ends in a reset", async () => {
  const harness = await startFeed({ limits: { lingerMs: 0 } });
  const { db, feed, spec } = harness;
  const things = db.collection<Thing>("things");
  await things.insertMany(Array.from({ length: 60 }, (_, _id) => ({ _id, n: _id })));
  const query = spec({}, undefined, "things", { sort: [["n", 1]], limit: 2 });
  const { delivery, sink } = await follow(feed, query);
  await expect.poll(() => sink.live, PATIENCE).toBe(1);
  feed.unsubscribe(delivery);
  await expect.poll(() => feed.liveQueries, PATIENCE).toBe(0);
  await things.deleteMany({ n: { $lt: 50 } });
  await settled(harness);

  const pasts = vi.spyOn(SnapshotCursor, "openAt");
  // The state at the cursor is read, the refill that follows comes too late.
  const refills = vi
    .spyOn(SnapshotCursor, "readAt")
    .mockRejectedValue(new MongoServerError({ message: "SnapshotTooOld", code: 239 }));
  const { started } = await comeBack(harness, query, sink);
  expect(started.start).toBe("resumed");
  await expect.poll(() => sink.live, PATIENCE).toBe(2);
  expect([pasts.mock.calls.length, refills.mock.calls.length]).toEqual([1, 1]);
  expect(sink.errors).toEqual([]);
  expect(sink.messages.find(({ type }) => type === "reset")).toMatchObject({ reason: "history-lost" });
  expect(sink.order).toEqual(["50", "51"]);
});

/** Sorted and limited live queries against the server's own `find().sort().limit()`, at many cluster times. */
import fc from "fast-check";
import { BSON, type Db, Timestamp } from "mongodb";
import { expect, test, vi } from "vitest";
import type { Feed } from "../../src/feed/feed.ts";
import type { SortSpec } from "../../src/protocol/messages.ts";
import { SnapshotCursor } from "../../src/source/snapshot-cursor.ts";
import { startFeed } from "../support/feed-harness.ts";
import { follow, headCursorOf, type Recorder } from "../support/recorder.ts";
import { KEEPS_IMAGES, NO_IMAGES } from "../support/server-features.ts";

const ROUNDS = Number(process.env["TIDEWIRE_WINDOW_ROUNDS"] ?? 20);
const WINDOWS_PER_ROUND = 50;
const seed = Number(process.env["TIDEWIRE_SEED"] ?? Date.now() % 2 ** 31);
console.log(`windows: seed ${seed} (TIDEWIRE_SEED), ${ROUNDS} rounds of ${WINDOWS_PER_ROUND} windows`);

const scalar = fc.oneof(
  fc.integer({ min: 0, max: 6 }),
  fc.constantFrom(null, true, "a", "b", "ab", 1.5, { x: 1 }, new Date(0)),
);
/** Arrays under one path only: the server refuses to sort by two of them. */
const value = fc.oneof(scalar, fc.constantFrom([1, 5], [], ["b", 2], [[0]]));
const paths = fc.constantFrom("n", "v", "o.k", "_id");
const sortSpec = fc.uniqueArray(fc.tuple(paths, fc.constantFrom<1 | -1>(1, -1)), {
  minLength: 1,
  maxLength: 3,
  selector: ([path]) => path,
});
const filter = fc.constantFrom(
  {},
  { n: { $gte: 2 } },
  { n: { $in: [0, 1, 2, 3] } },
  { v: { $ne: null } },
  { g: 1 },
);
const windowOf = fc.record({
  filter,
  sort: sortSpec,
  limit: fc.option(fc.constantFrom(1, 2, 3, 5, 10, 25), { nil: null, freq: 8 }),
});
const id = fc.integer({ min: 0, max: 60 });
const document = fc.record({
  n: scalar,
  v: value,
  g: fc.integer({ min: 0, max: 2 }),
  o: fc.record({ k: scalar }),
});
const write = fc.oneof(
  fc.record({ op: fc.constant("put" as const), id, document }),
  fc.record({ op: fc.constant("set" as const), id, n: scalar }),
  fc.record({ op: fc.constant("inc" as const), id }),
  fc.record({ op: fc.constant("delete" as const), id }),
  fc.record({ op: fc.constant("storm" as const), below: id }),
  fc.record({ op: fc.constant("transaction" as const), id, other: id, n: scalar }),
);
type Write = typeof write extends fc.Arbitrary<infer T> ? T : never;

async function perform(db: Db, step: Write): Promise<void> {
  const things = db.collection<{ _id: number; n?: unknown; touched?: number }>("things");
  if (step.op === "put") await things.replaceOne({ _id: step.id }, step.document, { upsert: true });
  if (step.op === "set") await things.updateOne({ _id: step.id }, { $set: { n: step.n } });
  if (step.op === "inc") await things.updateOne({ _id: step.id }, { $inc: { touched: 1 } });
  if (step.op === "delete") await things.deleteOne({ _id: step.id });
  if (step.op === "storm") await things.deleteMany({ _id: { $lt: step.below, $gte: step.below - 15 } });
  if (step.op !== "transaction") return;
  await db.client.withSession((session) =>
    session.withTransaction(async () => {
      await things.updateOne({ _id: step.id }, { $set: { n: step.n } }, { session });
      await things.updateOne({ _id: step.other }, { $set: { n: step.n } }, { session, upsert: true });
      await things.deleteOne({ _id: (step.id + step.other) % 61 }, { session });
    }),
  );
}

interface Spec {
  readonly filter: object;
  readonly sort: SortSpec;
  readonly limit: number | null;
}

async function oracle(
  feed: Feed,
  db: Db,
  cursor: string,
  { filter: query, sort, limit }: Spec,
): Promise<string[]> {
  const position = feed.timeline.codec.decode(cursor);
  if (typeof position === "string") throw new Error(position);
  const full = new Map<string, 1 | -1>(sort);
  if (!full.has("_id")) full.set("_id", 1);
  const answer = await db.command({
    find: "things",
    filter: query,
    sort: full,
    ...(limit === null ? {} : { limit }),
    batchSize: 10_000,
    singleBatch: true,
    readConcern: { level: "snapshot", atClusterTime: new Timestamp(position.clusterTime) },
  });
  return (BSON.EJSON.serialize(answer["cursor"].firstBatch) as unknown as object[]).map((doc) =>
    JSON.stringify(doc),
  );
}

const held = (sink: Recorder) => sink.order.map((key) => JSON.stringify(sink.state.get(key)));

test.for([
  ["with images", true, "full"],
  ["without images", false, "delta"],
] as const)("windows equal the server's own, %s", async ([name, images, documents], { skip }) => {
  skip(images && !KEEPS_IMAGES, NO_IMAGES);
  const { client, db, feed, spec } = await startFeed({ images });
  let checked = 0;
  for (let round = 0; round < ROUNDS / 2; round++) {
    const roundSeed = seed + round + (images ? 0 : 1_000);
    const [windows] = fc.sample(
      fc.array(windowOf, { minLength: WINDOWS_PER_ROUND, maxLength: WINDOWS_PER_ROUND }),
      {
        numRuns: 1,
        seed: roundSeed,
      },
    ) as unknown as [Spec[]];
    const writes = fc.sample(write, { numRuns: 60, seed: roundSeed });
    const writing = (async () => {
      for (const step of writes) await perform(db, step);
    })();
    const followed = await Promise.all(
      windows.map(async (window) => {
        const at = new Map<string, string[]>();
        const { filter: query, sort, limit } = window;
        const joined = await follow(feed, spec(query, undefined, "things", { sort, limit, documents }));
        joined.sink.onCursor = (cursor) => at.set(cursor, held(joined.sink));
        return { window, at, ...joined };
      }),
    );
    await writing;
    const { operationTime } = await client.db("admin").command({ ping: 1 });
    await feed.timeline.reached(operationTime.toBigInt(), 120_000);
    await expect
      .poll(() => followed.every(({ delivery }) => delivery.isLive), { timeout: 60_000 })
      .toBe(true);
    for (const { window, sink, at, delivery } of followed) {
      const where = `seed ${roundSeed}: ${JSON.stringify(window)}`;
      expect(sink.errors, where).toEqual([]);
      expect(held(sink), where).toEqual(await oracle(feed, db, headCursorOf(feed), window));
      // Some moments on the way, too: the last message of a commit must have made it whole.
      const moments = [...at].filter((_moment, index) => index % 9 === 0).slice(0, 3);
      for (const [cursor, order] of moments) {
        if (sink.messages.filter((message) => message["cursor"] === cursor).length === 0) continue;
        const position = feed.timeline.codec.decode(cursor);
        if (typeof position === "string" || position.within === 0) continue;
        expect(order, `${where} at ${cursor}`).toEqual(await oracle(feed, db, cursor, window));
        checked++;
      }
      feed.unsubscribe(delivery);
    }
  }
  console.log(`windows ${name}: ${(ROUNDS / 2) * WINDOWS_PER_ROUND} windows, ${checked} moments on the way`);
});

test("windows stay exact through storms of deletions, each deeper than the spare, while others write at both ends", async () => {
  // On a busy machine the storms take more of the event loop than the default allows one user.
  const { client, db, feed, spec } = await startFeed({ limits: { workPerUserMs: 1_000 } });
  const reads = vi.spyOn(SnapshotCursor, "readAt");
  const things = db.collection<{ _id: number; n: number }>("things");
  await things.insertMany(Array.from({ length: 1_500 }, (_, _id) => ({ _id, n: _id })));
  const windows: Spec[] = [
    { filter: {}, sort: [["n", 1]], limit: 50 },
    { filter: {}, sort: [["n", -1]], limit: 10 },
    { filter: { n: { $gte: 100 } }, sort: [["n", 1]], limit: 200 },
  ];
  const followed = await Promise.all(
    windows.map(async ({ filter: query, sort, limit }) => {
      const joined = await follow(feed, spec(query, undefined, "things", { sort, limit }));
      return { window: { filter: query, sort, limit }, ...joined };
    }),
  );
  await expect.poll(() => followed.every(({ delivery }) => delivery.isLive), { timeout: 60_000 }).toBe(true);
  reads.mockClear();
  const atEnds = async (round: number) => {
    for (let n = 0; n < 20; n++) {
      const _id = 10_000 + round * 100 + n;
      await things.insertOne({ _id, n: n % 2 === 0 ? -_id : _id });
      if (n % 3 === 0) await things.updateOne({ _id }, { $inc: { n: 1 } });
    }
  };
  for (let round = 0; round < 4; round++) {
    const [lowest] = await things
      .find({ n: { $gte: 0 } })
      .sort({ n: 1 })
      .limit(1)
      .toArray();
    const from = lowest?.n ?? 0;
    await Promise.all([
      things.deleteMany({ n: { $gte: from, $lt: from + 300 } }),
      things.deleteMany({ n: { $lt: 0 } }),
      atEnds(round),
    ]);
    const { operationTime } = await client.db("admin").command({ ping: 1 });
    await feed.timeline.reached(operationTime.toBigInt(), 120_000);
    await expect
      .poll(() => followed.every(({ delivery }) => delivery.isLive), { timeout: 60_000 })
      .toBe(true);
    for (const { window, sink, delivery } of followed) {
      await delivery.liveQuery.state.reaches(feed.timeline.headSeq);
      expect(sink.errors).toEqual([]);
      expect(held(sink), JSON.stringify(window)).toEqual(await oracle(feed, db, headCursorOf(feed), window));
    }
  }
  const refills = reads.mock.calls.filter(([, query]) => query.sort !== undefined).length;
  console.log(`windows, storms: ${refills} refills`);
  expect(refills).toBeGreaterThan(4);
  for (const { sink } of followed) expect(sink.messages.filter(({ type }) => type === "reset")).toEqual([]);
});

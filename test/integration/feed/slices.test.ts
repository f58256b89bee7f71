/** Handing out a commit yields to the event loop, and nothing that runs meanwhile sees half of it. */
import { expect, test } from "vitest";
import type { Delivery } from "../../../src/feed/delivery.ts";
import { Rights } from "../../../src/feed/rights.ts";
import type { SliceClock } from "../../../src/feed/slices.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { Random } from "../../support/random.ts";
import { FRESH, follow, Recorder, terms } from "../../support/recorder.ts";

const PATIENCE = { timeout: 60_000 };

/** Yields for real; what else is to happen then is up to the test. */
function yieldingClock(
  meanwhile: () => void = () => {},
  now: () => number = () => performance.now(),
): SliceClock & { yields: number } {
  const clock = {
    yields: 0,
    now,
    yield: async () => {
      clock.yields++;
      meanwhile();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
  return clock;
}

test("handing out a commit yields between live queries, and between parts of a long transaction", async () => {
  const sliceClock = yieldingClock();
  const { client, db, feed, spec } = await startFeed({ limits: { commitSliceMs: 0 }, sliceClock });
  const things = db.collection<{ _id: number; n: number }>("things");
  const count = 40;
  const sinks: Recorder[] = [];
  for (let n = 0; n < count; n++) sinks.push((await follow(feed, spec({ n: { $gte: -n } }))).sink);
  await expect.poll(() => sinks.every(({ live }) => live === 1), PATIENCE).toBe(true);
  await feed.timeline.reached(
    (await client.db("admin").command({ ping: 1 }))["operationTime"].toBigInt(),
    20_000,
  );
  const before = sliceClock.yields;
  await things.insertOne({ _id: 0, n: 1 });
  await expect.poll(() => sinks.every(({ state }) => state.size === 1), PATIENCE).toBe(true);
  expect(sliceClock.yields - before).toBeGreaterThanOrEqual(count);

  const session = client.startSession();
  const documents = Array.from({ length: 1_000 }, (_, index) => ({ _id: index + 1, n: 1 }));
  const beforeLong = sliceClock.yields;
  await session.withTransaction(async () => {
    await things.insertMany(documents, { session });
  });
  await session.endSession();
  await expect.poll(() => sinks.every(({ state }) => state.size === 1_001), PATIENCE).toBe(true);
  // Ten parts for each live query, and their messages in ten parts as well.
  expect(sliceClock.yields - beforeLong).toBeGreaterThanOrEqual(count * 20);
});

test("a commit whose hand-out takes no longer than the slice is handed out without a pause", async () => {
  const sliceClock = yieldingClock();
  const { db, feed, spec } = await startFeed({ limits: { commitSliceMs: 1_000 }, sliceClock });
  const { sink } = await follow(feed, spec());
  await db.collection<{ _id: number }>("things").insertOne({ _id: 1 });
  await expect.poll(() => sink.state.size, PATIENCE).toBe(1);
  expect(sliceClock.yields).toBe(0);
});

interface Followed {
  readonly filter: object;
  readonly rest: NonNullable<Parameters<Awaited<ReturnType<typeof startFeed>>["spec"]>[3]>;
  readonly sink: Recorder;
  isOver: boolean;
  unsubscribe: () => void;
}

const FILTERS = [{}, { n: { $gte: 2 } }, { n: { $in: [0, 3, 4] } }, { $or: [{ n: 1 }, { m: 2 }] }];
const WINDOWS = [
  {},
  {},
  { sort: [["n", -1]], limit: 3 },
  {
    sort: [
      ["m", 1],
      ["n", 1],
    ],
  },
] as const;

/** On a busy machine the stream may be behind for longer than a subscription waits; clients ask again then. */
async function untilAvailable<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof TidewireError) || error.code !== "unavailable") throw error;
    }
  }
}

test("no client misses or repeats a change, whatever begins, ends, resumes or waits in the middle of a commit", async () => {
  const seed = Number(process.env["TIDEWIRE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`slices: TIDEWIRE_SEED=${seed}`);
  const random = new Random(seed);
  const followed: Followed[] = [];
  const working = new Set<Promise<unknown>>();
  let act: () => void = () => {};
  // Either a pause after each step, or pauses at random steps: then earlier commits wait to be written meanwhile.
  const commitSliceMs = random.chance(0.3) ? 0 : random.int(2, 20);
  const steps = random.fork();
  let nowMs = 0;
  const { client, db, feed, spec } = await startFeed({
    limits: { commitSliceMs, lingerMs: 0 },
    sliceClock: yieldingClock(
      () => act(),
      () => {
        nowMs += steps.int(0, 3);
        return nowMs;
      },
    ),
  });
  const specOf = ({ filter, rest }: Followed) => spec(filter, undefined, "things", rest);
  const run = (work: Promise<unknown>) => {
    const watched = work.finally(() => working.delete(watched));
    working.add(watched);
  };
  const begin = async () => {
    const sink = new Recorder();
    const one: Followed = {
      filter: random.pick(FILTERS),
      rest: random.pick(WINDOWS) as Followed["rest"],
      sink,
      isOver: false,
      unsubscribe: () => {},
    };
    followed.push(one);
    const { delivery } = await follow(feed, specOf(one), sink);
    one.unsubscribe = () => feed.unsubscribe(delivery);
  };
  /** Leaves, and comes back with the cursor of the last commit that arrived whole. */
  const resume = async (one: Followed) => {
    if (one.sink.live === 0 || one.sink.cursor === "" || one.isOver) return;
    one.unsubscribe();
    const position = feed.timeline.codec.decode(one.sink.cursor);
    if (typeof position === "string") throw new Error(position);
    one.sink.live = 0;
    one.unsubscribe = () => {};
    const start = { ...FRESH, resumeFrom: position };
    const { delivery, started } = await untilAvailable(() => follow(feed, specOf(one), one.sink, start));
    expect(started.start, `seed ${seed}`).toBe("resumed");
    one.unsubscribe = () => feed.unsubscribe(delivery);
  };
  const waitForHead = async () => {
    const operationTime = (await client.db("admin").command({ ping: 1 }))["operationTime"];
    await feed.timeline.reached(operationTime.toBigInt(), 120_000);
  };
  act = () => {
    // A resumption pauses as well while it encodes many changes.
    if (feed.timeline.isSettled) return;
    // The cursor that every subscriber has reached lies before the current batch.
    const { position: settled } = feed.cursors.published;
    expect(settled.clusterTime <= feed.timeline.headTime, `seed ${seed}`).toBe(true);
    const chance = random.next();
    if (chance < 0.04 && followed.filter(({ isOver }) => !isOver).length < 25) run(begin());
    else if (chance < 0.05 && followed.length > 0) {
      const one = random.pick(followed);
      one.isOver = one.sink.live > 0;
      if (one.isOver) one.unsubscribe();
    } else if (chance < 0.1 && followed.length > 0) run(resume(random.pick(followed)));
    else if (chance < 0.11) run(waitForHead());
    else if (chance < 0.15 && followed.length > 0) {
      const { sink } = random.pick(followed);
      sink.hasRoom = false;
      setTimeout(() => sink.drain(), random.int(0, 20));
    }
  };
  for (let n = 0; n < 8; n++) await begin();
  const things = db.collection<{ _id: number; n: number; m: number }>("things");
  for (let round = 0; round < 60; round++) {
    const documents = Array.from({ length: random.chance(0.1) ? 150 : random.int(1, 12) }, () =>
      random.int(0, 25),
    );
    const write = (session?: object) =>
      things.bulkWrite(
        documents.map((_id) =>
          random.chance(0.25)
            ? { deleteOne: { filter: { _id } } }
            : {
                replaceOne: {
                  filter: { _id },
                  replacement: { n: random.int(0, 5), m: random.int(0, 5) },
                  upsert: true,
                },
              },
        ),
        { ...session },
      );
    if (random.chance(0.5))
      await client.withSession((session) => session.withTransaction(() => write({ session })));
    else await Promise.all([write(), write()]);
  }
  await expect.poll(() => working.size, PATIENCE).toBe(0);
  for (const { sink } of followed) sink.drain();
  await waitForHead();
  const active = followed.filter(({ isOver }) => !isOver);
  await expect
    .poll(() => active.every(({ sink }) => sink.live > 0), { ...PATIENCE, message: `seed ${seed}` })
    .toBe(true);
  for (const { filter, rest, sink } of active) {
    const sort = new Map([...(rest.sort ?? []), ["_id", 1]] as [string, 1 | -1][]); // `concat` forgets the pairs
    const expected = await things
      .find(filter)
      .sort(sort)
      .limit(rest.limit ?? 0)
      .toArray();
    // A window may still wait for the database when the stream has reached the head.
    const held = () =>
      rest.sort === undefined || rest.sort === null
        ? sorted(sink)
        : sink.order.map((key) => sink.state.get(key));
    const message = `seed ${seed}: ${JSON.stringify({ filter, rest, expected })}`;
    await expect.poll(held, { ...PATIENCE, message }).toEqual(expected);
    expect(sink.errors).toEqual([]);
  }
  expect(active.length).toBeGreaterThan(0);
});

test("a snapshot at the commit that withdraws a right is not sent while that commit is handed out", async () => {
  let meanwhile: () => Promise<void> = async () => {};
  const sliceClock: SliceClock = { now: () => performance.now(), yield: () => meanwhile() };
  const { client, db, name, feed, gate, spec } = await startFeed({
    collections: ["things", "members"],
    limits: { commitSliceMs: 0 },
    sliceClock,
  });
  const things = db.collection<{ _id: string }>("things");
  const members = db.collection<{ _id: string }>("members");
  const isMember = parseFilter({ _id: "eve" }, { regex: "prefix" });
  /** Whether the snapshot is of the very commit: the service itself may have written something after it. */
  const attempt = async (): Promise<boolean> => {
    await members.insertOne({ _id: "eve" });
    const { operationTime } = await client.db("admin").command({ ping: 1 });
    await feed.timeline.reached(operationTime.toBigInt(), 120_000);
    const lookup = { key: "members", database: name, collectionName: "members", filter: isMember };
    const set = await feed.lookups.acquire({ ...lookup, value: "_id" });
    expect(set.values).toHaveLength(1);
    gate.hold();
    const sink = new Recorder();
    const conditional = { ...terms(), rights: new Rights(0n, [set]) };
    const delivery: Delivery = feed.subscribe(spec(), sink, conditional);
    set.holders.add({
      lookupChanged: () => feed.unsubscribe(delivery),
      lookupLost: () => feed.unsubscribe(delivery),
      fail: () => {},
    });
    const session = client.startSession();
    await session.withTransaction(async () => {
      await members.deleteOne({ _id: "eve" }, { session });
      await things.insertOne({ _id: "secret" }, { session });
    });
    const withdrawnAt = session.operationTime?.toBigInt() ?? 0n;
    await session.endSession();
    const { since } = await delivery.open(FRESH);
    meanwhile = async () => {
      if (feed.timeline.headTime === withdrawnAt) delivery.run();
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    };
    await gate.release();
    meanwhile = async () => {};
    feed.unsubscribe(delivery);
    expect(sink.messages).toEqual([]);
    feed.lookups.release(set);
    await things.deleteMany({});
    return since.clusterTime === withdrawnAt;
  };
  let attempts = 0;
  while (!(await attempt())) expect(++attempts).toBeLessThan(50);
});

const sorted = ({ state }: Recorder) => [...state.values()].sort((a, b) => idOf(a) - idOf(b));

const idOf = (document: unknown) => (document as { _id: number })._id;

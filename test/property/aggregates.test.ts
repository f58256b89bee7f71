/** Live counts and groups against the server's own `$group`, at many cluster times. */
import { type Db, Decimal128, Double, Int32, Long, ObjectId, Timestamp } from "mongodb";
import { expect, test } from "vitest";
import type { Feed } from "../../src/feed/feed.ts";
import { type Aggregate, parseAggregate } from "../../src/match/aggregate.ts";
import { assertRows, groupsAt } from "../support/aggregate-oracle.ts";
import { startFeed } from "../support/feed-harness.ts";
import { Random } from "../support/random.ts";
import { follow, headCursorOf, type Recorder } from "../support/recorder.ts";
import { KEEPS_IMAGES, NO_IMAGES } from "../support/server-features.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const ROUNDS = 6 * FUZZ_FACTOR;
const AGGREGATES_PER_ROUND = 25;
const WRITES_PER_ROUND = 80;
const seed = startSeed("aggregates");

const NUMBERS: readonly ((random: Random) => unknown)[] = [
  (random) => new Int32(random.int(-3, 5)),
  (random) => new Int32(random.pick([2 ** 31 - 1, -(2 ** 31), 100])),
  (random) =>
    Long.fromBigInt(random.pick([1n, 2n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, -4_294_967_297n])),
  (random) => new Double(random.int(-20, 20) / random.pick([1, 2, 3, 10])),
  (random) => new Double((random.next() - 0.5) * 2 ** random.int(-1_074, 1_023)),
  (random) => new Double(random.pick([1e308, -1e308, 5e-324, 0, -0, 2 ** 63, 1e15 + 0.3])),
  (random) => Decimal128.fromString(`${random.int(-500, 500)}E${random.int(-3, 0)}`),
  (random) =>
    Decimal128.fromString(
      random.pick([
        "9.999999999999999999999999999999999E+6144",
        "1E-6176",
        "0.1",
        "1.00",
        "-0",
        "1234567890123456789012345678901234E-40",
      ]),
    ),
];
const SPECIALS = [NaN, Infinity, -Infinity].flatMap((value) => [
  new Double(value),
  Decimal128.fromString(String(value)),
]);
const OTHERS: readonly unknown[] = [
  null,
  "a",
  "b",
  true,
  [new Int32(1), "x"],
  [],
  { x: new Int32(1) },
  { x: new Double(1) },
  new ObjectId("0123456789abcdef01234567"),
  new Date(5),
  new Timestamp(5n),
];

const number = (random: Random) => random.pick(NUMBERS)(random);
function value(random: Random): unknown {
  if (random.chance(0.03)) return random.pick(SPECIALS);
  return random.chance(0.75) ? number(random) : random.pick(OTHERS);
}
const GROUPS: readonly unknown[] = [
  "open",
  "late",
  new Int32(1),
  new Double(1),
  Decimal128.fromString("1.0"),
  Long.fromNumber(1),
  null,
  [new Int32(1)],
  [new Double(1)],
  { x: new Int32(1) },
];

function document(random: Random): Record<string, unknown> {
  const doc: Record<string, unknown> = { f: new Int32(random.int(0, 3)) };
  if (random.chance(0.9)) doc["g"] = random.pick(GROUPS);
  if (random.chance(0.9)) doc["v"] = value(random);
  // Mostly plain numbers, as in a collection of orders.
  if (random.chance(0.9))
    doc["p"] = random.chance(0.9) ? new Double(random.int(1, 10_000) / 100) : value(random);
  if (random.chance(0.7))
    doc["h"] = random.pick([
      () => ({ k: value(random) }),
      () => [{ k: value(random) }, { k: number(random) }, { j: 1 }, 5, [{ k: 3 }]],
      () => 5,
      () => ({ 0: { k: 1 }, k: random.pick(GROUPS) }),
    ])();
  return doc;
}

const FILTERS = [{}, { f: { $gte: 2 } }, { f: { $in: [0, 1] } }, { g: { $ne: "late" } }, { v: { $gt: 0 } }];
const PATHS = ["v", "p", "h.k", "g", "_id", "f", "none"];

function aggregateOf(random: Random): Aggregate {
  const by = random.pick<unknown>(["", "g", ["g"], ["g", "h.k"], "h.k", "f", ["f", "none.x"], "h.0.k"]);
  const entries = Array.from({ length: random.int(1, 5) }, (_, i) => {
    const operator = random.pick(["count", "sum", "avg", "min", "max", "sum", "min"]);
    return [`x${i}`, operator === "count" ? { count: true } : { [operator]: random.pick(PATHS) }];
  });
  return parseAggregate({ ...(by === "" ? {} : { by }), values: Object.fromEntries(entries) });
}

async function write(db: Db, random: Random): Promise<void> {
  const things = db.collection<{ _id: number }>("things");
  const _id = random.int(0, 70);
  const what = random.next();
  if (what < 0.45) await things.replaceOne({ _id }, document(random), { upsert: true });
  else if (what < 0.7)
    await things.updateOne(
      { _id },
      { $set: { [random.pick(["v", "p", "g", "f"])]: random.pick([value(random), random.pick(GROUPS)]) } },
    );
  else if (what < 0.78) await things.updateOne({ _id }, { $inc: { seen: 1 } });
  else if (what < 0.88) await things.deleteOne({ _id });
  else if (what < 0.92) await things.deleteMany({ _id: { $lt: _id, $gte: _id - 25 } });
  else if (what < 0.95) await things.updateMany({ _id: { $gt: _id } }, { $set: { g: random.pick(GROUPS) } });
  else
    await db.client.withSession((session) =>
      session.withTransaction(async () => {
        const own = random.fork();
        await things.replaceOne({ _id }, document(own), { session, upsert: true });
        await things.replaceOne({ _id: (_id + 7) % 71 }, document(own), { session, upsert: true });
        await things.updateOne({ _id }, { $set: { v: number(own) } }, { session });
        await things.deleteOne({ _id: (_id + 13) % 71 }, { session });
      }),
    );
}

const positionOf = (feed: Feed, cursor: string) => {
  const position = feed.timeline.codec.decode(cursor);
  if (typeof position === "string") throw new Error(position);
  return position;
};

const held = (sink: Recorder) => [...sink.state.values()];

test.for([
  ["with images", true],
  ["without images", false],
] as const)(
  "aggregates equal the server's own, also on the way and after resumptions, %s",
  async ([_name, images], { skip }) => {
    skip(images && !KEEPS_IMAGES, NO_IMAGES);
    const { client, db, feed, spec } = await startFeed({ images });
    let checked = 0;
    for (let round = 0; round < ROUNDS / 2; round++) {
      const random = new Random(seed + round * 7 + (images ? 0 : 1_000));
      const wanted = Array.from({ length: AGGREGATES_PER_ROUND }, () => ({
        filter: random.pick(FILTERS),
        aggregate: aggregateOf(random),
      }));
      const writing = (async () => {
        for (let i = 0; i < WRITES_PER_ROUND; i++) await write(db, random.fork());
      })();
      const followed = await Promise.all(
        wanted.map(async ({ filter, aggregate }) => {
          const at = new Map<string, unknown[]>();
          const query = spec(filter, undefined, "things", { aggregate });
          const joined = await follow(feed, query);
          joined.sink.onCursor = (cursor) => at.set(cursor, held(joined.sink));
          return { filter, aggregate, query, at, ...joined };
        }),
      );
      // Some leave in the middle, and come back later.
      const away = followed.filter((_, index) => index % 3 === 0);
      await expect.poll(() => away.every(({ delivery }) => delivery.isLive), { timeout: 60_000 }).toBe(true);
      const left = away.map((one) => {
        feed.unsubscribe(one.delivery);
        return { one, cursor: one.sink.cursor };
      });
      await writing;
      for (const { one, cursor } of left) {
        const resumed = await follow(feed, one.query, one.sink, {
          snapshot: true,
          resumeFrom: positionOf(feed, cursor),
          refused: null,
        });
        expect(resumed.started.start).toBe("resumed");
        one.delivery = resumed.delivery;
      }
      const { operationTime } = await client.db("admin").command({ ping: 1 });
      await feed.timeline.reached(operationTime.toBigInt(), 20_000);
      await expect
        .poll(() => followed.every(({ delivery }) => delivery.isLive), { timeout: 60_000 })
        .toBe(true);
      for (const { filter, aggregate, sink, at, delivery } of followed) {
        const where = `seed ${seed}, round ${round}: ${JSON.stringify({ filter, aggregate })}`;
        expect(sink.errors, where).toEqual([]);
        const { clusterTime } = positionOf(feed, headCursorOf(feed));
        const expected = await groupsAt(db, "things", filter, aggregate, clusterTime);
        assertRows(held(sink), expected, aggregate, where);
        const rows = delivery.liveQuery.state.visible?.map(({ document: row }) => row);
        assertRows(rows ?? [], expected, aggregate, `${where}, in the state`);
        const moments = [...at].filter((_moment, index) => index % 7 === 0).slice(0, 4);
        for (const [cursor, rowsThen] of moments) {
          const position = positionOf(feed, cursor);
          if (position.within === 0) continue;
          const then = await groupsAt(db, "things", filter, aggregate, position.clusterTime);
          assertRows(rowsThen, then, aggregate, `${where} at ${position.clusterTime}`);
          checked++;
        }
        feed.unsubscribe(delivery);
      }
    }
    console.log(
      `aggregates: ${(ROUNDS / 2) * AGGREGATES_PER_ROUND} aggregates, ${checked} moments on the way`,
    );
  },
);

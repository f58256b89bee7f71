/** Many users whose rights come from lookups, and the reads and the memory that their lookups take. */
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import { Lookups } from "../../../src/feed/lookups.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { Slices } from "../../../src/feed/slices.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { runThrough } from "../../../src/match/steps.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import {
  ALWAYS_FREE,
  ALWAYS_READ,
  appendTo,
  commitOf,
  eventOf,
  insertOf,
  newTimeline,
  settled,
  startFeed,
} from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const roomsOf = (user: string, filter: object = {}) => ({
  key: `rooms of ${user}`,
  database: "db",
  collectionName: "members",
  filter: parseFilter({ user, ...filter }, { regex: "prefix" }),
  value: "room.id",
});
/** The text is as long as the whole value in BSON, without its five bytes of length and end. */
const member = (_id: number, bytes: number) => ({ _id, user: "ada", room: { id: "r".repeat(bytes - 5) } });
const accounts = (count: number) =>
  Array.from({ length: count }, () => new Account(FeedLimits.parse({}), () => {}));

/** A feed whose reads end in their order, when the test says so. */
async function startSlow() {
  const reader = new ScriptedReader();
  const { feed } = await startFeed(reader);
  const ends: (() => void)[] = [];
  reader.answer = async () => {
    const { promise, resolve } = deferred();
    ends.push(resolve);
    await promise;
    return [];
  };
  const endNext = async () => {
    ends.shift()?.();
    await settled();
  };
  return { feed, reader, endNext };
}

test("[G6] limits.snapshotConcurrency: the lookups of many users who come at once are read in turn", async () => {
  const { feed, reader, endNext } = await startSlow();
  const users = accounts(30);
  const asked = users.map((account, user) => feed.lookups.acquire(roomsOf(`${user}`), account));
  await settled();
  expect(reader.reads).toHaveLength(8);
  for (let ended = 1; ended <= users.length; ended++) {
    await endNext();
    expect(reader.reads).toHaveLength(Math.min(users.length, 8 + ended));
  }
  expect(await Promise.all(asked)).toHaveLength(users.length);
});

test("[G6] limits.snapshotsPerUser: the lookup of one user does not wait for the many of another", async () => {
  const { feed, reader, endNext } = await startSlow();
  const [busy, other] = accounts(2);
  for (let n = 0; n < 30; n++) void feed.lookups.acquire(roomsOf(`busy ${n}`), busy);
  const shared = feed.lookups.acquire(roomsOf("busy 29"), other);
  await settled();
  expect(reader.reads).toHaveLength(5);
  for (let n = 0; n < 5; n++) await endNext();
  await shared;
});

function start(limits: Partial<FeedLimits>) {
  const reader = new ScriptedReader();
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  const metrics = createMetrics();
  const lookups = new Lookups(FeedLimits.parse(limits), {
    reader,
    timeline,
    snapshots: ALWAYS_FREE,
    interest: ALWAYS_READ,
    metrics,
    log: pino({ level: "silent" }),
    newSlices: () => new Slices(50),
  });
  const metric = async (name: string) => (await metrics.registry.getSingleMetric(name)?.get())?.values;
  return { reader, timeline, lookups, metric };
}

test("limits.lookupBytes: a lookup whose documents are larger grants no access, and is read no further", async () => {
  const { reader, lookups, metric } = start({ lookupBytes: 2_048 });
  const refused = { code: "snapshot-too-large", details: { limit: "lookupBytes", value: 2_048 } };
  const taken: number[] = [];
  reader.readAt = async (_query, _at, onDocuments) => {
    for (let n = 0; n < 9; n++) {
      taken.push(n);
      onDocuments?.([new Uint8Array(1_000)]);
    }
    return [];
  };
  await expect(lookups.acquire(roomsOf("ada"))).rejects.toMatchObject(refused);
  expect(taken).toEqual([0, 1, 2]);
  const hits = { labels: { limit: "lookupBytes", outcome: "refused" }, value: 1 };
  expect(await metric("tidewire_limit_hits_total")).toContainEqual(hits);
});

test.each([
  [1_024, false],
  [1_025, true],
])("limits.lookupBytes: a commit that makes the values %i bytes large: lost is %s", async (bytes, isLost) => {
  const { reader, timeline, lookups, metric } = start({ lookupBytes: 1_024 });
  reader.answer = () => [member(1, 24)];
  const set = await lookups.acquire(roomsOf("ada"));
  const holder = { lookupChanged: vi.fn(), lookupLost: vi.fn(), fail: vi.fn() };
  set.holders.add(holder);
  const grown = [insertOf(member(2, bytes - 24), "members")];
  runThrough(lookups.apply(appendTo(timeline, commitOf(2, grown)), () => []));
  expect(holder.lookupLost).toHaveBeenCalledTimes(isLost ? 1 : 0);
  lookups.sweep(Date.now());
  expect(await metric("tidewire_lookup_bytes")).toMatchObject([{ value: isLost ? 0 : bytes }]);
  if (isLost) return;
  const shrunk = [eventOf(member(1, 24), null, "members")];
  runThrough(lookups.apply(appendTo(timeline, commitOf(3, shrunk)), () => []));
  expect(set.bytes).toBe(bytes - 24);
});

test("only those fields of a lookup's documents are read that decide about its values", async () => {
  const { reader, lookups } = start({});
  await lookups.acquire(roomsOf("ada", { "role.name": "admin" }));
  expect(reader.reads[0]?.query.projection).toEqual({ user: 1, role: 1, room: 1 });
});

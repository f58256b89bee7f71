import { MongoNetworkError } from "mongodb";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { Lookups } from "../../../src/feed/lookups.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { Slices } from "../../../src/feed/slices.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { untilPasses } from "../../support/until-passes.ts";
import {
  ALWAYS_FREE,
  ALWAYS_READ,
  appendTo,
  commitOf,
  eventOf,
  FROM,
  insertOf,
  newTimeline,
} from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

/** Rooms of ada. */
const ROOMS = {
  key: "rooms of ada",
  database: "db",
  collectionName: "members",
  filter: parseFilter({ user: "ada" }, { regex: "prefix" }),
  value: "room",
};
const member = (_id: number, room: string) => ({ _id, user: "ada", room });

function start(limits: Partial<FeedLimits> = {}, newSlices = () => new Slices(50)) {
  const reader = new ScriptedReader();
  reader.answer = () => [member(1, "a")];
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  const parts = {
    reader,
    timeline,
    interest: ALWAYS_READ,
    snapshots: ALWAYS_FREE,
    metrics: createMetrics(),
    log: pino({ level: "silent" }),
    newSlices,
  };
  const lookups = new Lookups(FeedLimits.parse(limits), parts);
  /** Hands out a commit. @returns How often earlier changes were written first. */
  const apply = (...[offset, events]: Parameters<typeof commitOf>) => {
    const beforeNotifying = vi.fn(() => []);
    for (const _ of lookups.apply(appendTo(timeline, commitOf(offset, events)), beforeNotifying));
    return beforeNotifying.mock.calls.length;
  };
  const holder = () => ({ lookupChanged: vi.fn(), lookupLost: vi.fn(), fail: vi.fn() });
  return { reader, timeline, lookups, apply, holder };
}

test("equal lookups share one set, read at the head of the stream", async () => {
  const { reader, lookups } = start();
  const [one, two] = await Promise.all([lookups.acquire(ROOMS), lookups.acquire(ROOMS)]);
  expect(two).toBe(one);
  expect(reader.reads).toMatchObject([{ how: "readAt", at: FROM + 1n }]);
  expect(lookups.peek(ROOMS.key)).toHaveLength(1);
});

test("applies commits that arrive during the read of a set", async () => {
  const { reader, lookups, apply } = start();
  const answered = deferred();
  reader.answer = async () => {
    await answered.promise;
    return [member(1, "a")];
  };
  const asked = lookups.acquire(ROOMS);
  expect(lookups.acquireAtOnce([ROOMS])).toBeNull();
  await untilPasses(() => expect(reader.reads).toHaveLength(1));
  apply(2, [eventOf(member(1, "a"), null, "members"), insertOf(member(2, "b"), "members")]);
  answered.resolve();
  const set = await asked;
  expect([set.size, set.sameSince]).toEqual([1, FROM + 2n]);
  expect(lookups.acquireAtOnce([ROOMS])).toEqual([set]);
});

test("every holder of a changed set is informed once, after earlier changes have been written", async () => {
  const { lookups, apply, holder } = start();
  const other = {
    ...ROOMS,
    key: "users of room b",
    filter: parseFilter({ room: "b" }, { regex: "prefix" }),
    value: "user",
  };
  const sets = [await lookups.acquire(ROOMS), await lookups.acquire(other)];
  const both = holder();
  for (const set of sets) set.holders.add(both);
  expect(apply(2, [insertOf(member(2, "b"), "members")])).toBe(1);
  expect(both.lookupChanged).toHaveBeenCalledTimes(1);
  expect(apply(3, [insertOf(member(3, "b"), "members")])).toBe(0);
  expect(apply(4, [insertOf(member(4, "c"))])).toBe(0);
  expect(both.lookupChanged).toHaveBeenCalledTimes(1);
});

test("an error of one holder ends only that holder", async () => {
  const { lookups, apply, holder } = start();
  const set = await lookups.acquire(ROOMS);
  const [broken, other] = [holder(), holder()];
  broken.lookupChanged.mockImplementation(() => {
    throw new Error("broken");
  });
  for (const one of [broken, other]) set.holders.add(one);
  apply(2, [insertOf(member(2, "b"), "members")]);
  expect([broken.fail.mock.calls.length, other.lookupChanged.mock.calls.length]).toEqual([1, 1]);
});

test("a set that cannot be kept up, or grows too large, is lost to its holders", async () => {
  for (const events of [
    [{ operation: "replaced-collection", namespace: "db.members", by: "drop" } as const],
    [{ ...insertOf(member(2, "b"), "members"), after: undefined }],
    [insertOf(member(2, "b"), "members"), insertOf(member(3, "c"), "members")],
  ]) {
    const { lookups, apply, holder } = start({ lookupValues: 2 });
    const one = holder();
    (await lookups.acquire(ROOMS)).holders.add(one);
    apply(2, events);
    expect([one.lookupLost.mock.calls.length, one.lookupChanged.mock.calls.length]).toEqual([1, 0]);
    expect(lookups.peek(ROOMS.key)).toBeNull();
  }
});

test("limits.lookupValues: a lookup that finds more documents grants no access", async () => {
  const { reader, lookups } = start({ lookupValues: 2 });
  reader.answer = () => [member(1, "a"), member(2, "b"), member(3, "c")];
  const refused = { code: "snapshot-too-large", details: { limit: "lookupValues", value: 2 } };
  await expect(lookups.acquire(ROOMS)).rejects.toMatchObject(refused);
  reader.answer = () => [member(1, "a"), member(2, "b")];
  expect((await lookups.acquire(ROOMS)).size).toBe(2);
});

test("a transient failure of MongoDB is tried again, and reported as unavailable in the end", async () => {
  const { reader, lookups } = start();
  reader.answer = () => {
    if (reader.reads.length < 2) throw new MongoNetworkError("gone");
    return [];
  };
  expect((await lookups.acquire(ROOMS)).size).toBe(0);
  expect(reader.reads).toHaveLength(2);
});

test("keeps a set without users for limits.linger", async () => {
  const { lookups } = start({ lingerMs: 1_000 });
  lookups.release(await lookups.acquire(ROOMS));
  const now = Date.now();
  lookups.sweep(now);
  expect(lookups.size).toBe(1);
  lookups.sweep(now + 2_000);
  expect(lookups.size).toBe(0);
});

test("a set that was being read when the order of commits broke is not used", async () => {
  const { reader, lookups } = start();
  const answered = deferred();
  reader.answer = async () => {
    await answered.promise;
    return [member(1, "a")];
  };
  const asked = lookups.acquire(ROOMS);
  lookups.loseAll();
  answered.resolve();
  await expect(asked).rejects.toMatchObject({ code: "unavailable", retry: "later" });
  expect((await lookups.acquire(ROOMS)).values).toHaveLength(1);
});

import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { BEFORE } from "../../../src/feed/cursor.ts";
import { Interest } from "../../../src/feed/interest.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { appendTo, commitOf, FROM, newTimeline } from "./feed-parts.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

const ALL = ["db.a", "db.b"];

function start(unfollowedAfterMs = 1_000) {
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  const metrics = createMetrics();
  const asked: { readonly skipped: string; readonly onRead: () => void }[] = [];
  const interest = new Interest(
    {
      namespaces: ALL,
      unfollowedAfterMs,
      watch: (_all, skipped, onRead) => void asked.push({ skipped: [...skipped].join(), onRead }),
    },
    { timeline, log: pino({ level: "silent" }), metrics },
  );
  const holds = (namespace: string, offset: number) =>
    timeline.history.holds(namespace, { clusterTime: FROM + BigInt(offset), within: BEFORE });
  const read = async () => (await metrics.collectionsRead.get()).values[0]?.value;
  return { timeline, interest, asked, holds, read };
}

test("leaves out a collection that nobody has followed for a while, and none that somebody follows", async () => {
  const { interest, asked, holds, read } = start();
  expect(await read()).toBe(2);
  vi.advanceTimersByTime(1_000);
  interest.sweep(["db.a"]);
  expect(asked, "as long as the limit").toEqual([]);
  vi.advanceTimersByTime(1);
  interest.sweep(["db.a"]);
  expect(asked.map(({ skipped }) => skipped)).toEqual(["db.b"]);
  expect([holds("db.a", 2), holds("db.b", 2), await read()]).toEqual([true, false, 1]);
  expect(interest.ensure("db.a")).toBeUndefined();
});

test("a follower waits until the stream contains its collection, and the history has a gap until there", async () => {
  const { timeline, interest, asked, holds } = start();
  vi.advanceTimersByTime(2_000);
  interest.sweep([]);
  const waiting = Promise.all([interest.ensure("db.b"), interest.ensure("db.b")]);
  expect(asked.map(({ skipped }) => skipped)).toEqual(["db.a,db.b", "db.a"]);
  appendTo(timeline, commitOf(5));
  vi.advanceTimersByTime(5_000);
  interest.sweep([]);
  expect(asked, "a collection that is being opened is not left out").toHaveLength(2);
  asked[1]?.onRead();
  await waiting;
  expect(interest.ensure("db.b")).toBeUndefined();
  expect([holds("db.b", 5), holds("db.b", 6), holds("db.a", 6)]).toEqual([false, true, false]);
});

test("a follower is refused if the stream cannot be opened in time, and the next one waits again", async () => {
  const { interest, asked } = start();
  vi.advanceTimersByTime(2_000);
  interest.sweep([]);
  const refused = expect(interest.ensure("db.a")).rejects.toMatchObject({ code: "unavailable" });
  await vi.advanceTimersByTimeAsync(10_000);
  await refused;
  const next = interest.ensure("db.a");
  asked[1]?.onRead();
  await next;
});

test("with no limit, and while an admin traces, all collections are read", () => {
  const never = start(Number.POSITIVE_INFINITY);
  vi.advanceTimersByTime(1e9);
  never.interest.sweep([]);
  expect(never.asked).toEqual([]);
  const traced = start();
  vi.advanceTimersByTime(2_000);
  traced.interest.sweep([]);
  traced.interest.ensureAll();
  expect(traced.asked.map(({ skipped }) => skipped)).toEqual(["db.a,db.b", ""]);
  vi.advanceTimersByTime(500);
  traced.interest.sweep([]);
  expect(traced.asked).toHaveLength(2);
});

test("collections that an edit adds are complete once the stream contains them", async () => {
  const { interest, asked, holds } = start();
  vi.advanceTimersByTime(2_000);
  interest.sweep(["db.a"]);
  interest.watch(["db.a", "db.b", "db.c"]);
  expect(asked.map(({ skipped }) => skipped)).toEqual(["db.b", "db.b"]);
  const waiting = interest.ensure("db.c");
  asked[1]?.onRead();
  await waiting;
  expect([holds("db.c", 1), holds("db.c", 2)]).toEqual([false, true]);
});

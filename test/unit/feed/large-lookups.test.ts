/** Rights and large documents: whatever is found out about one pauses after each 1,000 values, and rights are the same. */
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { AFTER } from "../../../src/feed/cursor.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import { makeExact } from "../../../src/feed/exact-reading.ts";
import { type GrantMove, readGrantDiff } from "../../../src/feed/grant-diff.ts";
import { LookupSet } from "../../../src/feed/lookup-set.ts";
import { Lookups } from "../../../src/feed/lookups.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { Rights } from "../../../src/feed/rights.ts";
import { Slices } from "../../../src/feed/slices.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { excludeProjection } from "../../../src/match/projection.ts";
import { runThrough, type Steps } from "../../../src/match/steps.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { ChangeEvent } from "../../../src/source/change-event.ts";
import { FRESH, follow, Recorder } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import {
  ALWAYS_FREE,
  ALWAYS_READ,
  appendTo,
  commitOf,
  docOf,
  eventOf,
  FROM,
  insertOf,
  newTimeline,
  settled,
  specOf,
  startFeed,
} from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const COUNT = 5_000;
const PAUSES = COUNT / 1_000 - 1;
const PADDING = "x".repeat(70_000);
const rooms = (from = 0, count = COUNT) => Array.from({ length: count }, (_, i) => `room ${from + i}`);
const member = (room: unknown, user = "ada") => ({ _id: 1, user, room, padding: PADDING });

/** Rooms of ada. */
const ROOMS = {
  key: "rooms of ada",
  database: "db",
  collectionName: "members",
  filter: parseFilter({ user: "ada" }, { regex: "prefix" }),
  value: "room",
};

/** Slices that pause at each opportunity, and count that. */
function countingSlices() {
  let pauses = 0;
  const clock = {
    now: () => performance.now(),
    yield: async () => {
      pauses++;
      await settled();
    },
  };
  return { clock, newSlices: () => new Slices(0, clock), pauses: () => pauses };
}

function start(lookupValues: number) {
  const reader = new ScriptedReader();
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  const { newSlices, pauses } = countingSlices();
  const parts = {
    reader,
    timeline,
    interest: ALWAYS_READ,
    snapshots: ALWAYS_FREE,
    metrics: createMetrics(),
    log: pino({ level: "silent" }),
    newSlices,
  };
  return { reader, timeline, lookups: new Lookups(FeedLimits.parse({ lookupValues }), parts), pauses };
}

function pausesOf(steps: Steps<unknown>): number {
  for (let pauses = 0; ; pauses++) if (steps.next().done === true) return pauses;
}

test("a commit pauses while the values of a large document are found for a lookup", async () => {
  const { reader, timeline, lookups } = start(3 * COUNT);
  const [before, after] = [member(rooms()), member(rooms(1))];
  reader.answer = () => [before];
  const set = await lookups.acquire(ROOMS);
  const holder = { lookupChanged: vi.fn(), lookupLost: vi.fn(), fail: vi.fn() };
  set.holders.add(holder);
  const commit = commitOf(2, [eventOf(before, after, "members")]);
  expect(pausesOf(lookups.apply(appendTo(timeline, commit), () => []))).toBeGreaterThanOrEqual(3 * PAUSES);
  expect([holder.lookupChanged.mock.calls.length, holder.lookupLost.mock.calls.length]).toEqual([1, 0]);
  const keys = set.values.map(({ bytes, end }) => Buffer.from(bytes).toString("utf8", 4, end - 1));
  expect(new Set(keys)).toEqual(new Set(rooms(1)));
});

test("limits.lookupValues: one large document with more values leaves a lookup unknown, with as many it does not", async () => {
  for (const [count, lost] of [
    [4, 0],
    [5, 1],
  ] as const) {
    const { timeline, lookups } = start(4);
    const set = await lookups.acquire(ROOMS);
    const holder = { lookupChanged: vi.fn(), lookupLost: vi.fn(), fail: vi.fn() };
    set.holders.add(holder);
    const commit = commitOf(2, [insertOf(member(rooms(0, count)), "members")]);
    runThrough(lookups.apply(appendTo(timeline, commit), () => []));
    expect(holder.lookupLost.mock.calls.length).toBe(lost);
    expect(lookups.peek(ROOMS.key)?.length).toBe(lost === 0 ? count : undefined);
  }
});

test("a lookup is read with pauses, and those commits applied that came meanwhile", async () => {
  const { reader, timeline, lookups, pauses } = start(3 * COUNT);
  const answered = deferred();
  const read = member(rooms());
  reader.answer = async () => {
    await answered.promise;
    return [read];
  };
  const asked = lookups.acquire(ROOMS);
  await untilPasses(() => expect(reader.reads).toHaveLength(1));
  const commit = commitOf(2, [eventOf(read, member(rooms(2)), "members")]);
  runThrough(lookups.apply(appendTo(timeline, commit), () => []));
  answered.resolve();
  const set = await asked;
  expect(pauses()).toBeGreaterThanOrEqual(3 * PAUSES);
  expect([set.size, set.sameSince]).toEqual([COUNT, FROM + 2n]);
});

test("a lookup that was read too long ago is unavailable, and not prepared for ever", async () => {
  const reader = new ScriptedReader();
  const timeline = newTimeline({ bytes: 1_000 });
  appendTo(timeline, commitOf(1));
  const { newSlices } = countingSlices();
  const parts = {
    reader,
    timeline,
    interest: ALWAYS_READ,
    snapshots: ALWAYS_FREE,
    metrics: createMetrics(),
    log: pino({ level: "silent" }),
    newSlices,
  };
  const lookups = new Lookups(FeedLimits.parse({}), parts);
  reader.answer = () => {
    for (let offset = 2; offset < 9; offset++) appendTo(timeline, commitOf(offset));
    return [];
  };
  await expect(lookups.acquire(ROOMS)).rejects.toMatchObject({ code: "unavailable" });
});

const newSet = () => {
  const set = new LookupSet(ROOMS);
  runThrough(set.loadInSteps([docOf(member(["a", "b"]))], 1n));
  return set;
};

test.each<[string, ChangeEvent, boolean]>([
  ["other values", eventOf(member(["a", "b"]), member(["b", "c"]), "members"), true],
  ["a value less", eventOf(member(["a", "b"]), member(["a"]), "members"), true],
  [
    "the same values in another order",
    eventOf(member(["a", "b"]), member(["b", "a", null, "b"]), "members"),
    false,
  ],
  ["another user", eventOf(member(["a", "b"]), member(["a", "b"], "bob"), "members"), true],
  ["somebody else's values", eventOf(member(["a"], "bob"), member(["b"], "bob"), "members"), false],
  ["values that no filter takes", eventOf(member([]), member([/x/]), "members"), false],
  ["nothing more", eventOf(member(["a", "b"]), null, "members"), true],
])("a large document with %s changes a lookup in steps as it does in one", (_name, event, changes) => {
  const set = newSet();
  expect(set.mayChangeBy([event])).toBe(changes);
  const events = [event];
  runThrough(set.judgeInSteps(events));
  expect(set.mayChangeBy(events)).toBe(changes);
});

test("rights are traced back through a large document with pauses", () => {
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  appendTo(timeline, commitOf(2, [eventOf(member(rooms()), member(rooms().reverse()), "members")]));
  const set = new LookupSet(ROOMS);
  runThrough(set.loadInSteps([], FROM + 2n));
  const rights = new Rights(0n, [set]);
  const at = { clusterTime: FROM + 1n, within: AFTER };
  expect(pausesOf(rights.prepareTrace(at, 1, timeline.history))).toBeGreaterThanOrEqual(3 * PAUSES);
  expect(rights.traceBack(at, 1, timeline.history)).toBe(true);
});

test("a resumption with conditional rights pauses while they are traced back", async () => {
  const { clock, pauses } = countingSlices();
  const { feed, accept } = await startFeed(new ScriptedReader(), {
    limits: { commitSliceMs: 0 },
    sliceClock: clock,
  });
  await accept(commitOf(1));
  await accept(commitOf(2, [eventOf(member(rooms()), member(rooms().reverse()), "members")]));
  await accept(commitOf(3, [insertOf({ _id: 1 })]));
  const set = new LookupSet(ROOMS);
  runThrough(set.loadInSteps([], FROM + 3n));
  const before = pauses();
  const resumed = { ...FRESH, resumeFrom: { clusterTime: FROM + 1n, within: AFTER } };
  const { started, sink } = await follow(feed, specOf(), new Recorder(), resumed, new Rights(0n, [set]));
  await untilPasses(() => expect(sink.live).toBe(1));
  expect([started.start, [...sink.state.values()]]).toEqual(["resumed", [{ _id: 1 }]]);
  expect(pauses() - before).toBeGreaterThanOrEqual(3 * PAUSES);
});

test("a change of rights pauses for the large documents of its commit", async () => {
  const reader = new ScriptedReader();
  const { clock, pauses } = countingSlices();
  const { feed, accept } = await startFeed(reader, { limits: { commitSliceMs: 0 }, sliceClock: clock });
  const projection = excludeProjection(["a.x"]);
  const [from, to] = await Promise.all(
    ["a", "b"].map(async (room) => (await follow(feed, specOf({ room }, { projection }))).delivery.liveQuery),
  );
  if (from === undefined || to === undefined) throw new Error("there are two");
  const stateOf = (room: string, x: number) => ({ _id: 1, a: rooms().map((i) => ({ i, x })), room });
  await accept(commitOf(1, [eventOf(stateOf("a", 1), stateOf("b", 2))]));
  const [entry] = feed.timeline.history.after(0);
  if (entry === undefined) throw new Error("there is one");
  const before = pauses();
  const move: GrantMove = { from, to, at: feed.cursors.grantPoint(entry), held: [] };
  const parts = { timeline: feed.timeline };
  const charged = {
    readAt: (...read: Parameters<typeof reader.readAt>) => reader.readAt(...read),
    keep: () => {},
    newPace: () => to.newPace(),
  };
  expect((await readGrantDiff(charged, move, 10, parts))?.map(({ type }) => type)).toEqual(["changed"]);
  expect(pauses() - before).toBeGreaterThanOrEqual(2 * PAUSES);
});

test("documents that were read while they changed are brought forward with pauses", async () => {
  const { feed, accept } = await startFeed(new ScriptedReader());
  await accept(commitOf(1, [insertOf({ _id: 1, b19: 1, padding: PADDING })]));
  const { delivery } = await follow(
    feed,
    specOf({ $or: Array.from({ length: 20 }, (_, i) => ({ [`b${i}`]: 1 })) }),
  );
  const { newSlices, pauses } = countingSlices();
  const parts = {
    timeline: feed.timeline,
    deployment: { now: async () => feed.timeline.headTime },
    newSlices,
  };
  const { raw } = await makeExact(delivery.liveQuery, [], FROM, parts);
  expect(raw).toEqual([docOf({ _id: 1, b19: 1, padding: PADDING })]);
  expect(pauses()).toBeGreaterThanOrEqual(19);
});

/** One transaction with thousands of small documents: whatever looks at them pauses after some hundreds, and rights change in one turn. */
import { pino } from "pino";
import { expect, test } from "vitest";
import { UNKNOWN } from "../../../src/feed/change.ts";
import { Chunk, headOf } from "../../../src/feed/chunk.ts";
import { AFTER } from "../../../src/feed/cursor.ts";
import { makeExact } from "../../../src/feed/exact-reading.ts";
import { LookupSet } from "../../../src/feed/lookup-set.ts";
import { Lookups } from "../../../src/feed/lookups.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { Rights } from "../../../src/feed/rights.ts";
import { Slices } from "../../../src/feed/slices.ts";
import { windowChanges } from "../../../src/feed/window-changes.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { runThrough, type Steps } from "../../../src/match/steps.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { StreamEvent } from "../../../src/source/change-event.ts";
import { follow, Recorder } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import {
  ALWAYS_FREE,
  ALWAYS_READ,
  appendTo,
  commitOf,
  docOf,
  eventOf,
  FROM,
  newTimeline,
  settled,
  specOf,
  startFeed,
} from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const COUNT = 5_000;
/** A step takes 64 KiB of documents, which are some 600 events, and looks at each about six times; a commit has 30,000 looks. */
const STEP_MAX = 6_000;

const setOf = (user: string) => ({
  key: `rooms of ${user}`,
  database: "db",
  collectionName: "members",
  filter: parseFilter({ user }, { regex: "prefix" }),
  value: "room",
});

/** Counts the looks at the documents of events. */
class Looks {
  count = 0;
  /** The most looks within one turn. */
  most = 0;

  at(event: StreamEvent): StreamEvent {
    if (event.operation === "replaced-collection") return event;
    const { before, after } = event;
    const counting = (document: Uint8Array | undefined) => ({
      get: () => {
        this.count++;
        return document;
      },
    });
    return Object.defineProperties({ ...event }, { before: counting(before), after: counting(after) });
  }

  endTurn(): void {
    this.most = Math.max(this.most, this.count);
    this.count = 0;
  }

  /** Runs steps, each in a turn of its own. */
  through<T>(steps: Steps<T>): T {
    for (;;) {
      const step = steps.next();
      this.endTurn();
      if (step.done === true) return step.value;
    }
  }
}

/** Each membership of `user` is renamed, so that the values stay; the last one moves to another room. */
const memberships = (looks: Looks, user: string, count = COUNT) =>
  Array.from({ length: count }, (_, n) => {
    const before = { _id: n, user, room: `room ${n}` };
    const after = n === count - 1 ? { ...before, room: "the new one" } : { ...before, name: "x" };
    return looks.at(eventOf(before, after, "members"));
  });

async function startLookups(limits: object = {}) {
  const reader = new ScriptedReader();
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  const newSlices = () => new Slices(0, { now: () => performance.now(), yield: settled });
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
  const acquire = (user: string, count = COUNT) => {
    reader.answer = () => Array.from({ length: count }, (_, n) => ({ _id: n, user, room: `room ${n}` }));
    return lookups.acquire(setOf(user));
  };
  return { timeline, lookups, acquire };
}

test("a long commit pauses while lookups are brought past it, and all of them change in one turn", async () => {
  const { timeline, lookups, acquire } = await startLookups();
  const sets = [await acquire("ada"), await acquire("bob")];
  const told: number[] = [];
  sets[0]?.holders.add({
    lookupChanged: () => told.push(1),
    lookupLost: () => told.push(2),
    fail: () => told.push(3),
  });
  const looks = new Looks();
  const commit = commitOf(2, [...memberships(looks, "ada"), ...memberships(looks, "bob")]);
  const entry = appendTo(timeline, commit);
  looks.count = 0;
  const states = new Set<string>();
  const steps = lookups.apply(entry, () => []);
  for (let step = steps.next(); ; step = steps.next()) {
    looks.endTurn();
    states.add(sets.map(({ sameSince }) => sameSince - FROM).join());
    if (step.done === true) break;
  }
  expect(looks.most).toBeLessThan(STEP_MAX);
  expect([...states]).toEqual(["1,1", "2,2"]);
  expect(told).toEqual([1]);
  expect(sets.map(({ size }) => size)).toEqual([COUNT, COUNT]);
});

test("limits.lookupValues: a commit that makes a lookup larger leaves it unknown, one that makes it as large does not", async () => {
  for (const [more, lost] of [
    [1, 0],
    [2, 1],
  ] as const) {
    const { timeline, lookups, acquire } = await startLookups({ lookupValues: 4 });
    const set = await acquire("ada", 3);
    let losses = 0;
    set.holders.add({ lookupChanged() {}, lookupLost: () => losses++, fail() {} });
    const events = Array.from({ length: more }, (_, n) =>
      eventOf(null, { _id: 10 + n, user: "ada", room: `more ${n}` }, "members"),
    );
    runThrough(lookups.apply(appendTo(timeline, commitOf(2, events)), () => []));
    expect(losses).toBe(lost);
  }
});

test("limits.lookupValues: a lookup that grows while it is read is refused", async () => {
  const { timeline, lookups, acquire } = await startLookups({ lookupValues: 3 });
  const asked = acquire("ada", 3);
  appendTo(timeline, commitOf(2, [eventOf(null, { _id: 9, user: "ada", room: "one more" }, "members")]));
  await expect(asked).rejects.toMatchObject({ code: "snapshot-too-large" });
  expect(lookups.size).toBe(0);
});

test("rights are traced back through a long commit with pauses", () => {
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  const looks = new Looks();
  appendTo(timeline, commitOf(2, memberships(looks, "ada").slice(0, -1)));
  const set = new LookupSet(setOf("ada"));
  runThrough(set.loadInSteps([], FROM + 2n));
  const rights = new Rights(0n, [set]);
  const at = { clusterTime: FROM + 1n, within: AFTER };
  looks.count = 0;
  looks.through(rights.prepareTrace(at, 1, timeline.history));
  expect(looks.most).toBeLessThan(STEP_MAX);
  expect(rights.traceBack(at, 1, timeline.history)).toBe(true);
  looks.endTurn();
  expect(looks.most).toBeLessThan(STEP_MAX);
});

/** Many commits of one event each, after which a set was read, and the rights that follow from it. */
function manyShortCommits() {
  const timeline = newTimeline({ bytes: 10_000_000 });
  appendTo(timeline, commitOf(1));
  const looks = new Looks();
  for (const [n, event] of memberships(looks, "ada", 3_000).slice(0, -1).entries())
    appendTo(timeline, commitOf(2 + n, [event]));
  const set = new LookupSet(setOf("ada"));
  runThrough(set.loadInSteps([], timeline.headTime));
  return {
    timeline,
    looks,
    set,
    rights: new Rights(0n, [set]),
    at: { clusterTime: FROM + 1n, within: AFTER },
  };
}

test("rights are traced back through many short commits with pauses, and no commit is judged twice", () => {
  const { timeline, looks, rights, at } = manyShortCommits();
  looks.count = 0;
  looks.through(rights.prepareTrace(at, 1, timeline.history));
  expect(looks.most).toBeLessThan(10_000);
  expect(rights.traceBack(at, 1, timeline.history)).toBe(true);
  expect(looks.count).toBeLessThanOrEqual(20);
  expect(rights.since).toBe(FROM + 1n);
});

test("a set that changes while it is traced back is not taken for unchanged", () => {
  const { timeline, set, rights, at } = manyShortCommits();
  const tracing = rights.prepareTrace(at, 1, timeline.history);
  expect(tracing.next().done).toBe(false);
  const withdrawn = [eventOf(null, { _id: 9, user: "ada", room: "new" }, "members")];
  const entry = appendTo(timeline, commitOf(5_000, withdrawn));
  const delta = runThrough(set.deltaOf(withdrawn));
  if (delta === UNKNOWN) throw new Error("the events have images");
  set.advance(delta, entry.commit.clusterTime);
  runThrough(tracing);
  expect(set.sameSince).toBe(entry.commit.clusterTime);
  expect(rights.traceBack(at, 1, timeline.history)).toBe(false);
});

test("documents that were read while a long commit came are brought forward with pauses", async () => {
  const { feed, accept } = await startFeed(new ScriptedReader());
  const looks = new Looks();
  await accept(
    commitOf(
      1,
      Array.from({ length: COUNT }, (_, n) => looks.at(eventOf(null, { _id: n }))),
    ),
  );
  const { delivery } = await follow(feed, specOf({}));
  looks.count = 0;
  looks.most = 0;
  const clock = {
    now: () => performance.now(),
    yield: async () => {
      looks.endTurn();
      await settled();
    },
  };
  const { timeline } = feed;
  const newSlices = () => new Slices(0, clock);
  const read = Array.from({ length: COUNT }, (_, n) => docOf({ _id: COUNT + n }));
  const parts = { timeline, deployment: { now: async () => timeline.headTime }, newSlices };
  const { raw } = await makeExact(delivery.liveQuery, read, FROM, parts);
  looks.endTurn();
  expect(raw).toHaveLength(2 * COUNT);
  expect(looks.most).toBeLessThan(STEP_MAX);
});

test("two states of a window are compared with pauses", () => {
  const members = Array.from({ length: COUNT }, (_, n) => ({
    id: `${n}`,
    idValue: docOf({ _id: n }) as never,
  }));
  const steps = windowChanges(
    members,
    members.toReversed(),
    new Map(),
    () => docOf({}),
    () => "grant",
  );
  let pauses = 0;
  for (let step = steps.next(); ; step = steps.next(), pauses++) {
    if (step.done !== true) continue;
    expect(step.value).toEqual([]);
    break;
  }
  // A pause is offered after each 256 members, in each of seven passes.
  expect(pauses).toBeGreaterThanOrEqual((7 * COUNT) / 256 - 7);
});

/** Takes so many chunks at a time, and notes their sizes. */
class Sipper extends Recorder {
  readonly sizes: number[] = [];
  left: number;

  constructor(left: number) {
    super();
    this.left = left;
  }

  override write(chunk: Chunk): boolean {
    if (this.left === 0) return false;
    this.left--;
    this.sizes.push(chunk.size);
    return super.write(chunk);
  }

  override async room(): Promise<boolean> {
    await settled();
    this.left = 1;
    return true;
  }
}

test.each([
  ["a fast client", Number.POSITIVE_INFINITY],
  ["a client that takes two pieces and then one at a time", 2],
  ["a client that takes nothing at first", 0],
])("a long commit is handed out in pieces, and exactly once, to %s", async (_name, left) => {
  const sliceClock = { now: () => performance.now(), yield: settled };
  const { feed, accept } = await startFeed(new ScriptedReader(), {
    sliceClock,
    limits: { commitSliceMs: 0 },
  });
  await accept(commitOf(1));
  const sink = new Sipper(Number.POSITIVE_INFINITY);
  const { delivery } = await follow(feed, specOf({}), sink);
  await untilPasses(() => expect(delivery.isLive).toBe(true));
  sink.left = left;
  sink.sizes.length = 0;
  const events = Array.from({ length: COUNT }, (_, n) => eventOf(null, { _id: n }));
  await accept(commitOf(2, events), commitOf(3, [eventOf(null, { _id: -1 })]));
  await untilPasses(() => expect(delivery.isLive).toBe(true));
  await accept(commitOf(4, [eventOf(null, { _id: -2 })]));
  await untilPasses(() => expect(sink.state.size).toBe(COUNT + 2));
  const added = sink.messages.filter(({ type }) => type === "added");
  expect(added).toHaveLength(COUNT + 2);
  expect(sink.messages.filter(({ type }) => type === "reset")).toEqual([]);
  expect(sink.sizes.length).toBeGreaterThan(2);
  expect(Math.max(...sink.sizes)).toBeLessThanOrEqual(256 * 1_024);
});

test("the size of a chunk under another number is that of its texts", () => {
  const message = { type: "added", text: `${headOf("added")}"document":{"_id":"é"}}`, cursor: "c" };
  for (const number of [1, 7, 10, 12_345]) {
    const numbered = new Chunk([message, message]).numbered(number);
    expect(numbered.size).toBe(new Chunk(numbered.messages).size);
  }
});

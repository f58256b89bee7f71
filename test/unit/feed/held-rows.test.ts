/** When the changed rows of aggregates are sent, and how many messages a storm of writes becomes. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HeldRows } from "../../../src/feed/held-rows.ts";
import type { LiveQuerySpec } from "../../../src/feed/live-query-spec.ts";
import type { FeedLimits, HistoryOptions } from "../../../src/feed/options.ts";
import { parseAggregate } from "../../../src/match/aggregate.ts";
import { follow, headCursorOf, Recorder } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { commitOf, eventOf, FROM, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const aggregate = parseAggregate({ by: "g", values: { n: { count: true } } });
const byGroup: LiveQuerySpec = { ...specOf({}), key: "by g", aggregate };

type Thing = { readonly _id: number; readonly g: string };

async function start(limits: Partial<FeedLimits> = {}, history: Partial<HistoryOptions> = {}) {
  const world = await startFeed(new ScriptedReader(), {
    limits,
    history: { bytes: 64 * 1_048_576, ...history },
  });
  const join = async (spec = byGroup, sink = new Recorder()) => {
    const joined = await follow(world.feed, spec, sink);
    await settled();
    expect(joined.delivery.isLive).toBe(true);
    return joined;
  };
  let offset = 0;
  /** One batch for each write. */
  const write = async (...writes: readonly [before: Thing | null, after: Thing | null][]) => {
    for (const [before, after] of writes) await world.accept(commitOf(++offset, [eventOf(before, after)]));
  };
  const insert = (_id: number, g = "a") => write([null, { _id, g }]);
  return { ...world, join, write, insert };
}

const changesOf = ({ messages }: Recorder) =>
  messages
    .filter(({ type }) => /added|changed|removed/.test(type))
    .map(({ type, doc, _id }) => [type, doc === undefined ? _id : (doc as { n: number }).n]);

test("the first change after a quiet time is sent at once, and later ones once per interval", async () => {
  const { join, insert } = await start();
  const { sink } = await join();
  await insert(1);
  expect(changesOf(sink)).toEqual([["added", 1]]);
  await insert(2);
  await insert(3);
  await vi.advanceTimersByTimeAsync(49);
  expect(changesOf(sink)).toEqual([["added", 1]]);
  await vi.advanceTimersByTimeAsync(1);
  expect(changesOf(sink)).toEqual([
    ["added", 1],
    ["changed", 3],
  ]);
  await vi.advanceTimersByTimeAsync(50);
  await insert(4);
  expect(changesOf(sink).at(-1)).toEqual(["changed", 4]);
});

test("a single row that changes all the time is sent several times a second", async () => {
  const { join, insert } = await start();
  const { sink } = await join();
  for (let n = 1; n <= 10_000; n++) {
    await insert(n);
    await vi.advanceTimersByTimeAsync(1);
  }
  expect(changesOf(sink).length).toBeGreaterThanOrEqual(10 * 9);
  expect(changesOf(sink).length).toBeLessThanOrEqual(40 + 10 * 11);
});

test("rows that change once each are never held back for longer than an interval", async () => {
  const { join, insert } = await start();
  const { sink } = await join();
  for (let n = 1; n <= 400; n++) {
    await insert(n, `g${n % 100}`);
    if (n % 2 === 0) await vi.advanceTimersByTimeAsync(50);
  }
  expect(changesOf(sink)).toHaveLength(400);
});

test("with limits.aggregateInterval 0s each batch is sent at once", async () => {
  const { join, insert } = await start({ aggregateIntervalMs: 0 });
  const { sink } = await join();
  for (let n = 1; n <= 20; n++) await insert(n);
  expect(changesOf(sink)).toHaveLength(20);
});

test("a storm between groups is few messages, and the counter says how many changes were merged", async () => {
  const { join, write, metrics } = await start();
  const { sink, delivery } = await join();
  const things = Array.from({ length: 10_000 }, (_, _id) => ({
    _id,
    g: `s${_id % 5}`,
  }));
  for (const thing of things) await write([null, thing]);
  await vi.advanceTimersByTimeAsync(2_000);
  const before = sink.messages.length;
  const mergedBefore = (await metrics.changesMerged.get()).values[0]?.value ?? 0;
  // 10,000 commits in 1.5 seconds, each in a batch of its own.
  for (const [index, thing] of things.entries()) {
    await write([thing, { ...thing, g: `t${thing._id % 7}` }]);
    if (index % 20 === 19) await vi.advanceTimersByTimeAsync(3);
  }
  await vi.advanceTimersByTimeAsync(1_000);
  const messages = sink.messages.length - before;
  expect(messages).toBeGreaterThan(12);
  expect(messages).toBeLessThanOrEqual(100);
  expect(((await metrics.changesMerged.get()).values[0]?.value ?? 0) - mergedBefore).toBe(20_000 - messages);
  expect(delivery.isLive).toBe(true);
  expect([...sink.state.values()].map((row) => (row as { n: number }).n).sort()).toEqual(
    Array.from({ length: 7 }, (_, group) => Math.ceil((10_000 - group) / 7)).sort(),
  );
});

test("a storm on a slow machine is few messages as well, and after a quiet second the pace is as before", async () => {
  const { join, write, insert } = await start();
  const { sink } = await join();
  const things = Array.from({ length: 5_000 }, (_, _id) => ({
    _id,
    g: `s${_id % 5}`,
  }));
  for (const thing of things) await write([null, thing]);
  await vi.advanceTimersByTimeAsync(2_000);
  const before = sink.messages.length;
  // 5,000 commits in 10 seconds.
  for (const [index, thing] of things.entries()) {
    await write([thing, { ...thing, g: `t${thing._id % 7}` }]);
    if (index % 25 === 24) await vi.advanceTimersByTimeAsync(50);
  }
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sink.messages.length - before).toBeLessThanOrEqual(12 * (6 + 10));
  await vi.advanceTimersByTimeAsync(1_000);
  for (const n of [1, 2, 3, 4]) {
    await insert(90_000 + n, "new");
    expect(changesOf(sink).at(-1)).toEqual([n === 1 ? "added" : "changed", n]);
    await vi.advanceTimersByTimeAsync(50);
  }
});

test("a client that joins while rows are held back receives each change once, and delays nothing", async () => {
  const { feed, join, insert } = await start();
  const { sink } = await join();
  await insert(1);
  await insert(2);
  const late = await joinFrom(feed, sink.cursor);
  expect(changesOf(late.sink)).toEqual([["changed", 2]]);
  expect(late.delivery.isLive).toBe(true);
  expect(changesOf(sink)).toEqual([["added", 1]]);
  await insert(3);
  expect(late.delivery.isLive).toBe(false);
  await vi.advanceTimersByTimeAsync(50);
  await settled();
  for (const one of [sink, late.sink]) expect(changesOf(one).at(-1)).toEqual(["changed", 3]);
  expect(changesOf(sink)).toHaveLength(2);
  expect(changesOf(late.sink)).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(50);
  await insert(4);
  for (const one of [sink, late.sink]) expect(changesOf(one).at(-1)).toEqual(["changed", 4]);
});

/** Resumes at a cursor, in a result that holds the row of that time. */
async function joinFrom(feed: Awaited<ReturnType<typeof startFeed>>["feed"], cursor: string) {
  const resumeFrom = feed.timeline.codec.decode(cursor);
  if (typeof resumeFrom === "string") throw new Error(resumeFrom);
  const sink = new Recorder();
  sink.state.set('"a"', { _id: "a", n: 1 });
  const joined = await follow(feed, byGroup, sink, {
    snapshot: true,
    resumeFrom,
    refused: null,
  });
  await settled();
  return joined;
}

test("a client that is to have everything takes the held rows, and the others receive them at their time", async () => {
  const { feed, join, insert } = await start();
  const [one, other] = [await join(), await join()];
  await insert(1);
  await insert(2);
  expect(one.delivery.isLive).toBe(false);
  expect(one.delivery.isHeldBack).toBe(true);
  one.delivery.sendHeld();
  expect(one.delivery.isLive).toBe(true);
  expect(one.sink.cursor).toBe(headCursorOf(feed));
  expect(changesOf(one.sink).at(-1)).toEqual(["changed", 2]);
  expect(changesOf(other.sink)).toEqual([["added", 1]]);
  await vi.advanceTimersByTimeAsync(50);
  for (const { sink } of [one, other])
    expect(changesOf(sink)).toEqual([
      ["added", 1],
      ["changed", 2],
    ]);
});

test("rows that change back while they are held are not sent, and nothing is missing afterwards", async () => {
  const { join, write, insert } = await start();
  const { sink, delivery } = await join();
  await insert(1);
  await write([null, { _id: 2, g: "a" }], [{ _id: 2, g: "a" }, null]);
  await vi.advanceTimersByTimeAsync(50);
  expect(changesOf(sink)).toEqual([["added", 1]]);
  expect(delivery.isLive).toBe(true);
});

test("a client that took rows in between learns that they changed back, which is nothing new for the others", async () => {
  const { join, write, insert } = await start();
  const [one, other] = [await join(), await join()];
  await insert(1);
  await write([null, { _id: 2, g: "a" }]);
  one.delivery.sendHeld();
  await settled();
  expect(changesOf(one.sink).at(-1)).toEqual(["changed", 2]);
  await write([{ _id: 2, g: "a" }, null]);
  expect(one.delivery.isLive).toBe(false);
  await vi.advanceTimersByTimeAsync(50);
  await settled();
  expect(changesOf(one.sink).at(-1)).toEqual(["changed", 1]);
  expect(changesOf(other.sink)).toEqual([["added", 1]]);
  for (const { delivery } of [one, other]) expect(delivery.isLive).toBe(true);
});

test("clients that take rows again and again receive the rest of each, also without a history", async () => {
  const { join, insert } = await start({}, { windowMs: 0 });
  const joined = [await join(), await join(), await join()];
  await insert(1);
  for (let n = 2; n <= 10; n++) {
    await insert(n, n % 2 === 0 ? "a" : "b");
    const { delivery } = joined[n % 3]!;
    delivery.sendHeld();
    expect(delivery.isLive).toBe(true);
  }
  await vi.advanceTimersByTimeAsync(50);
  for (const { sink, delivery } of joined) {
    expect(delivery.isLive).toBe(true);
    expect(sink.messages.filter(({ type }) => type === "reset")).toEqual([]);
    expect([...sink.state.values()]).toEqual([
      { _id: "a", n: 6 },
      { _id: "b", n: 4 },
    ]);
  }
});

test("after sixteen clients have taken rows at different points, all receive them", async () => {
  const { join, insert } = await start({ aggregateIntervalMs: 10_000 });
  const [one, other] = [await join(), await join()];
  await insert(0);
  for (let n = 1; n <= 16; n++) {
    await insert(n);
    one.delivery.sendHeld();
  }
  expect(changesOf(other.sink)).toEqual([["added", 1]]);
  await insert(17);
  for (const { sink } of [one, other]) expect(changesOf(sink).at(-1)).toEqual(["changed", 18]);
});

test("many rows are taken from the log, in pieces", async () => {
  const { join, accept } = await start();
  const [one, other] = [await join(), await join()];
  await accept(commitOf(1, [eventOf(null, { _id: -1, g: "first" })]));
  const events = Array.from({ length: 500 }, (_, _id) => eventOf(null, { _id, g: `g${_id}` }));
  await accept(commitOf(2, events));
  one.delivery.sendHeld();
  expect(one.delivery.isLive).toBe(false);
  await settled();
  expect(one.delivery.isLive).toBe(true);
  expect([one.sink.state.size, other.sink.state.size]).toEqual([501, 1]);
  await vi.advanceTimersByTimeAsync(50);
  expect([one.sink.state.size, other.sink.state.size]).toEqual([501, 501]);
});

test("many rows are sent at once to a client that needs them now, if the history has evicted their commits", async () => {
  const { join, accept } = await start({}, { bytes: 1 });
  const [one, other] = [await join(), await join()];
  await accept(commitOf(1, [eventOf(null, { _id: -1, g: "first" })]));
  const events = Array.from({ length: 500 }, (_, _id) => eventOf(null, { _id, g: `g${_id}` }));
  await accept(commitOf(2, events));
  await accept(commitOf(3, [eventOf(null, { _id: 500, g: "last" })]));
  one.delivery.sendHeld();
  await settled();
  expect(one.delivery.isLive).toBe(true);
  expect(one.sink.messages.filter(({ type }) => type === "reset")).toEqual([]);
  expect([one.sink.state.size, other.sink.state.size]).toEqual([502, 1]);
});

test("a failure to send held rows early ends that client's delivery alone, and the others receive the rows", async () => {
  const { join, insert } = await start();
  const [one, other] = [await join(), await join()];
  await insert(1);
  await insert(2);
  const fault = new Error("cannot cut");
  const cut = vi.spyOn(HeldRows.prototype, "cut").mockImplementationOnce(() => {
    throw fault;
  });
  one.delivery.sendHeld();
  expect(cut).toHaveBeenCalledOnce();
  expect(one.sink.errors).toEqual([fault]);
  await vi.advanceTimersByTimeAsync(50);
  expect(other.sink.errors).toEqual([]);
  expect(changesOf(other.sink).at(-1)).toEqual(["changed", 2]);
});

test("held rows bring a client to this very point, which a change of rights needs", async () => {
  const { join, insert } = await start();
  const { sink, delivery } = await join();
  await insert(1);
  await insert(2);
  delivery.sendHeld();
  expect(changesOf(sink).at(-1)).toEqual(["changed", 2]);
  expect(delivery.isLive).toBe(true);
  await vi.advanceTimersByTimeAsync(50);
  expect(changesOf(sink)).toHaveLength(2);
});

test("an order of commits that breaks drops what is held back, and the client starts over", async () => {
  const { feed, accept, join, insert } = await start();
  const { sink } = await join();
  await insert(1);
  await insert(2);
  await feed.begin({ id: "4567cdef", cursorKey: new Uint8Array(16).fill(8) }, FROM + 5n);
  await accept(commitOf(6));
  await vi.advanceTimersByTimeAsync(100);
  expect(sink.messages.filter(({ type }) => type === "reset")).toHaveLength(1);
  expect(changesOf(sink)).toEqual([["added", 1]]);
});

test("a slow client receives rows once that change again while they are made ready for it", async () => {
  const docs = Array.from({ length: 500 }, (_, _id) => ({ _id, g: `g${_id}` }));
  let onPause = settled;
  const sliceClock = { now: () => 0, yield: () => onPause() };
  const { feed, accept } = await startFeed(new ScriptedReader(), {
    limits: { aggregateIntervalMs: 0, commitSliceMs: 0 },
    sliceClock,
  });
  const { sink, delivery } = await follow(feed, byGroup);
  await settled();
  const insertsOf = (offset: number, inserted: readonly Thing[]) =>
    commitOf(
      offset,
      inserted.map((doc) => eventOf(null, doc)),
    );
  await accept(insertsOf(1, docs));
  const [second, third, fourth] = [1_000, 2_000, 3_000].map((from) =>
    docs.map(({ _id, g }) => ({ _id: from + _id, g })),
  ) as [Thing[], Thing[], Thing[]];
  const before = sink.messages.length;
  sink.hasRoom = false;
  await accept(insertsOf(2, second));
  await accept(insertsOf(3, third));
  // The rows are being encoded for the client when they change again.
  const again = new Promise<void>((resolve) => {
    onPause = async () => {
      onPause = settled;
      resolve(accept(insertsOf(4, fourth)));
    };
  });
  sink.drain();
  await again;
  await untilPasses(() => expect(delivery.isLive).toBe(true));
  expect(sink.messages.slice(before)).toHaveLength(500);
  expect(new Set([...sink.state.values()].map((row) => (row as { n: number }).n))).toEqual(new Set([4]));
});

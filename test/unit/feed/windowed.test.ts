import { MongoNetworkError, MongoServerError } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import { AFTER } from "../../../src/feed/cursor.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { UNCONDITIONAL } from "../../../src/feed/rights.ts";
import { FRESH, follow, Recorder } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { commitOf, epochOf, eventOf, FROM, insertOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const docs = (...list: number[]) => list.map((n) => ({ _id: n, n }));
/** The two smallest documents. */
const SMALLEST = specOf({}, { sort: [["n", 1]], limit: 2 });

/** A live window that was loaded with these documents: the limit, and what is kept beyond it. */
async function startWindow(loaded: readonly object[]) {
  const reader = new ScriptedReader();
  reader.answer = () => loaded;
  const started = await startFeed(reader);
  const { sink, delivery } = await follow(started.feed, SMALLEST);
  await settled();
  expect(sink.live).toBe(1);
  reader.reads.length = 0;
  return { ...started, reader, sink, delivery };
}

test("a document that pushes another one out makes two changes, and asks the database nothing", async () => {
  const { accept, reader, sink } = await startWindow(docs(2, 4));
  expect(sink.order).toEqual(["2", "4"]);
  await accept(commitOf(1, [insertOf({ _id: 3, n: 3 })]));
  expect(sink.order).toEqual(["2", "3"]);
  expect(sink.messages.slice(1)).toMatchObject([
    { type: "removed", _id: 4 },
    { type: "added", before: null },
  ]);
  expect(reader.reads).toEqual([]);
});

test("later commits wait while the database is asked, and are delivered in their order afterwards", async () => {
  const { feed, accept, reader, sink, delivery } = await startWindow(docs(...Array(50).keys()));
  const answered = deferred();
  reader.answer = async () => {
    await answered.promise;
    return docs(100, 101, 102);
  };
  const removals = [...Array(50).keys()].map((n) => eventOf({ _id: n, n }, null));
  await accept(commitOf(1, removals));
  await accept(commitOf(2, [insertOf({ _id: 99, n: 99 })]));
  expect([delivery.isLive, delivery.liveQuery.state.knownSeq]).toEqual([false, 0]);
  expect(reader.reads).toMatchObject([{ how: "readAt", at: FROM + 1n }]);
  answered.resolve();
  await delivery.liveQuery.state.becomesCurrent();
  expect(sink.order).toEqual(["99", "100"]);
  expect(delivery.liveQuery.state.knownSeq).toBe(feed.timeline.headSeq);
});

test("a window that the database cannot answer for is lost: its followers are reset and read it again", async () => {
  const { accept, reader, sink } = await startWindow(docs(...Array(50).keys()));
  reader.answer = ({ how }) => {
    if (how === "readAt") throw new Error("too old");
    return docs(100, 101);
  };
  await accept(
    commitOf(
      1,
      [...Array(50).keys()].map((n) => eventOf({ _id: n, n }, null)),
    ),
  );
  await untilPasses(() => expect(sink.live).toBe(2));
  expect(sink.messages.slice(1)).toMatchObject([
    { type: "reset", reason: "history-lost" },
    { type: "snapshot" },
  ]);
  expect(sink.order).toEqual(["100", "101"]);
});

test("a resumption reads the window as it was, and brings it forward by the history", async () => {
  const { feed, accept, reader, delivery } = await startWindow(docs(2, 4));
  await accept(commitOf(1, [insertOf({ _id: 3, n: 3 })]));
  // Loaded again later, the log begins there.
  delivery.liveQuery.forget();
  delivery.liveQuery.state.load([], FROM + 1n);
  reader.answer = () => docs(2, 4);
  const resumeFrom = { clusterTime: FROM, within: AFTER };
  const holding = new Recorder();
  for (const key of ["2", "4"]) holding.state.set(key, { _id: Number(key), n: Number(key) });
  holding.order = ["2", "4"];
  const { sink, started } = await follow(feed, SMALLEST, holding, { ...FRESH, resumeFrom });
  await untilPasses(() => expect(sink.live).toBe(1));
  expect(started.start).toBe("resumed");
  // The cluster time just before the first commit.
  expect(reader.reads).toMatchObject([{ how: "openAt", at: FROM - 1n }]);
  expect(sink.messages).toMatchObject([
    { type: "removed", _id: 4 },
    { type: "added", doc: { _id: 3 } },
  ]);
  expect(sink.order).toEqual(["2", "3"]);
});

test("an unsorted result holds no memory, and a window gives its memory back when it is lost", async () => {
  const { delivery, feed } = await startWindow(docs(1, 2));
  const { state } = delivery.liveQuery;
  expect([state.isStateless, state.trackedDocuments, state.heldBytes > 1_200]).toEqual([false, 2, true]);
  expect(state.visible?.map(({ id }) => id)).toHaveLength(2);
  state.lose();
  expect([state.isLoaded, state.trackedDocuments, state.heldBytes, state.visible]).toEqual([
    false,
    0,
    0,
    null,
  ]);
  const { delivery: unsorted } = await follow(feed, specOf());
  const stateless = unsorted.liveQuery.state;
  expect([stateless.isStateless, stateless.heldBytes, stateless.visible]).toEqual([true, 0, []]);
});

/** Follows changes without a snapshot. */
const LIVE = { ...FRESH, snapshot: false };
const accountOf = (userWindowBytes: number) => new Account(FeedLimits.parse({ userWindowBytes }), () => {});

test("clients that resume together share one read of the past", async () => {
  const reader = new ScriptedReader();
  reader.answer = () => docs(2, 4);
  const { feed, accept } = await startFeed(reader);
  await accept(commitOf(1, [insertOf({ _id: 9, n: 9 })]));
  const resumed = { ...FRESH, resumeFrom: { clusterTime: FROM + 1n, within: AFTER } };
  const all = await Promise.all(
    Array.from({ length: 50 }, () => follow(feed, SMALLEST, new Recorder(), resumed)),
  );
  await untilPasses(() => expect(all.map(({ sink }) => sink.live)).toEqual(all.map(() => 1)));
  expect(reader.reads).toMatchObject([{ how: "openAt", at: FROM + 1n }]);
  expect(all.flatMap(({ sink }) => sink.messages)).toEqual([]);
});

test("a user without room for the past that it reads is refused alone, and another one reads it", async () => {
  const reader = new ScriptedReader();
  const pad = "x".repeat(100_000);
  reader.answer = () => docs(2, 4).map((doc) => ({ ...doc, pad }));
  const { feed } = await startFeed(reader);
  const started = await Promise.all([
    follow(feed, SMALLEST, new Recorder(), LIVE, UNCONDITIONAL, accountOf(65_536)),
    follow(feed, SMALLEST, new Recorder(), LIVE, UNCONDITIONAL, accountOf(1_048_576)),
  ]);
  const [poor, rich] = started.map(({ sink }) => sink);
  await untilPasses(() => expect(rich?.live).toBe(1));
  expect(poor?.errors).toMatchObject([
    { code: "too-many-subscriptions", details: { limit: "userWindowBytes" } },
  ]);
  expect(rich?.errors).toEqual([]);
  expect([reader.reads.length, reader.openReads]).toEqual([2, 0]);
});

test("a state that another client's snapshot gives meanwhile does not void a resumption that is being read", async () => {
  const reader = new ScriptedReader();
  const answered = deferred();
  reader.answer = async ({ how }) => {
    if (how === "openAt") await answered.promise;
    return how === "openAt" ? docs(2, 4) : docs(2, 3, 4);
  };
  const { feed, accept } = await startFeed(reader);
  await accept(commitOf(1, [insertOf({ _id: 9, n: 9 })]));
  const holding = new Recorder();
  for (const key of ["2", "4"]) holding.state.set(key, { _id: Number(key), n: Number(key) });
  holding.order = ["2", "4"];
  const resumeFrom = { clusterTime: FROM + 1n, within: AFTER };
  const resumed = await follow(feed, SMALLEST, holding, { ...FRESH, resumeFrom });
  await settled();
  await accept(commitOf(2, [insertOf({ _id: 3, n: 3 })]));
  const fresh = await follow(feed, SMALLEST);
  await untilPasses(() => expect(fresh.sink.live).toBe(1));
  answered.resolve();
  await untilPasses(() => expect(resumed.sink.live).toBe(1));
  expect(resumed.sink.messages).toMatchObject([{ type: "removed", _id: 4 }, { type: "added" }]);
  await accept(commitOf(3, [insertOf({ _id: 1, n: 1 })]));
  expect([resumed.sink.order, fresh.sink.order]).toEqual([
    ["1", "2"],
    ["1", "2"],
  ]);
});

/** An error of MongoDB that passes. */
const networkError = () => new MongoNetworkError("the connection was closed");
/** SnapshotTooOld: the server no longer keeps that time. */
const tooOld = () => new MongoServerError({ message: "SnapshotTooOld", code: 239 });

test("while MongoDB does not answer, a start without a snapshot tries again more and more slowly, and is not reset", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const reader = new ScriptedReader();
  reader.answer = () => Promise.reject(networkError());
  const lines: object[] = [];
  const log = pino({ level: "warn" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const { feed } = await startFeed(reader, { log });
  const { sink } = await follow(feed, SMALLEST, new Recorder(), LIVE);
  await vi.advanceTimersByTimeAsync(10_000);
  // Four attempts in a row, and then a second.
  expect(reader.reads.length).toBeGreaterThan(8);
  expect(reader.reads.length).toBeLessThan(80);
  expect(lines).toHaveLength(1);
  reader.answer = () => docs(2, 4);
  await vi.advanceTimersByTimeAsync(10_000);
  expect([sink.live, sink.messages, sink.errors]).toEqual([1, [], []]);
});

test("a start without a snapshot that is lost again and again is reset ever more slowly, and ends", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const reader = new ScriptedReader();
  reader.answer = () => Promise.reject(tooOld());
  const { feed } = await startFeed(reader);
  const { sink } = await follow(feed, SMALLEST, new Recorder(), LIVE);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sink.messages.length).toBeLessThan(5);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(sink.messages.map(({ type }) => type)).toEqual(Array.from({ length: 10 }, () => "reset"));
  expect(sink.errors).toMatchObject([{ code: "unavailable", retry: "later" }]);
  expect(reader.reads.length).toBe(11);
});

test("one reset of a start without a snapshot is followed by a read at once", async () => {
  const reader = new ScriptedReader();
  let reads = 0;
  reader.answer = () => (reads++ === 0 ? Promise.reject(tooOld()) : docs(2, 4));
  const { feed } = await startFeed(reader);
  const { sink } = await follow(feed, SMALLEST, new Recorder(), LIVE);
  await untilPasses(() => expect(sink.live).toBe(1));
  expect([sink.messages.length, sink.errors]).toEqual([1, []]);
});

test("a reset waits for room, and nothing is sent before it", async () => {
  const { feed, accept, sink } = await startWindow(docs(2, 4));
  sink.hasRoom = false;
  await feed.begin(epochOf("another"), FROM);
  await settled();
  await accept(commitOf(1, [insertOf({ _id: 3, n: 3 })]));
  await settled();
  expect(sink.messages.map(({ type }) => type)).toEqual(["snapshot"]);
  sink.drain();
  await untilPasses(() => expect(sink.live).toBe(2));
  expect(sink.messages.map(({ type }) => type)).toEqual(["snapshot", "reset", "snapshot"]);
});

test("[G6] the read that a shared result needs does not wait for the queues of its busiest users", async () => {
  const BUSY = 8;
  const { feed, accept, reader, delivery } = await startWindow(docs(...Array(50).keys()));
  const busy = Array.from({ length: BUSY }, () => new Account(FeedLimits.parse({}), () => {}));
  for (const account of busy) await follow(feed, SMALLEST, new Recorder(), FRESH, UNCONDITIONAL, account);
  const { sink } = await follow(feed, SMALLEST);
  feed.unsubscribe(delivery);
  const held: (() => void)[] = [];
  reader.answer = async ({ how }) => {
    if (how === "readAt") return docs(100, 101);
    await new Promise<void>((resolve) => held.push(resolve));
    return [];
  };
  // Each busy user waits for many reads of its own.
  for (const [user, account] of busy.entries())
    for (let n = 0; n < 10; n++) {
      const spec = specOf({ user, n });
      const terms = { wantsSnapshot: true, rights: UNCONDITIONAL, account };
      void feed.subscribe(spec, new Recorder(), terms).open(FRESH);
    }
  await settled();
  const removals = [...Array(50).keys()].map((n) => eventOf({ _id: n, n }, null));
  await accept(commitOf(1, removals));
  let finished = 0;
  while (!sink.order.includes("100")) {
    expect(finished++, "reads of others before it").toBeLessThan(2 * BUSY);
    held.shift()?.();
    await settled();
  }
});

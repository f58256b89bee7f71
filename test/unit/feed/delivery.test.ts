import { MongoNetworkError, MongoServerError } from "mongodb";
import { pino } from "pino";
import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import { AFTER, BEFORE } from "../../../src/feed/cursor.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import { LookupSet } from "../../../src/feed/lookup-set.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { Rights, UNCONDITIONAL } from "../../../src/feed/rights.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { runThrough } from "../../../src/match/steps.ts";
import { recordingLog } from "../../support/node.ts";
import { FRESH, follow, Recorder, terms } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { commitOf, eventOf, FROM, insertOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const inserted = (offset: number) => commitOf(offset, [insertOf({ _id: offset })]);
const typesOf = ({ messages }: Recorder) => messages.map(({ type }) => type);
const idsOf = ({ state }: Recorder) => [...state.keys()].sort();

const ids = (...list: number[]) => list.map(String);

/** A start that resumes after so many increments. */
const resumedAt = (offset: number, within = AFTER) => ({
  ...FRESH,
  resumeFrom: { clusterTime: FROM + BigInt(offset), within },
});

test("sends the snapshot before the changes that follow it", async () => {
  const reader = new ScriptedReader();
  reader.answer = () => [{ _id: 1 }];
  const { feed, accept } = await startFeed(reader);
  const { sink, started } = await follow(feed, specOf());
  await settled();
  expect([started.start, sink.live]).toEqual(["snapshot", 1]);
  await accept(inserted(2), inserted(3));
  expect(idsOf(sink)).toEqual(ids(1, 2, 3));
  expect([typesOf(sink), reader.openReads]).toEqual([["snapshot", "added", "added"], 0]);
});

test("a slow consumer continues where it stopped: nothing is left out, and nothing comes twice", async () => {
  const { feed, metrics, accept } = await startFeed(new ScriptedReader());
  const { sink, delivery } = await follow(feed, specOf());
  await settled();
  await accept(inserted(1));
  sink.hasRoom = false;
  await accept(inserted(2));
  expect(delivery.isLive).toBe(false);
  await accept(inserted(3));
  await settled();
  sink.drain();
  await settled();
  expect(delivery.isLive).toBe(true);
  await accept(inserted(4));
  expect(typesOf(sink)).toEqual(["snapshot", "added", "added", "added", "added"]);
  expect(idsOf(sink)).toEqual(ids(1, 2, 3, 4));
  expect((await metrics.lagged.get()).values[0]?.value).toBe(1);
});

test("a slow consumer that lags behind the history is reset as lagged, and receives a new snapshot; the log says in which step", async () => {
  const reader = new ScriptedReader();
  const lines: unknown[] = [];
  const log = pino({ level: "debug" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const { feed, accept } = await startFeed(reader, { history: { bytes: 1_500 }, log });
  const { sink } = await follow(feed, specOf());
  await settled();
  sink.hasRoom = false;
  for (let offset = 1; offset < 6; offset++) await accept(inserted(offset));
  reader.answer = () => [{ _id: 5 }];
  sink.drain();
  await untilPasses(() => expect(sink.live).toBe(2));
  expect(sink.messages.slice(1)).toMatchObject([{ type: "reset", reason: "lagged" }, { type: "snapshot" }]);
  expect(lines).toContainEqual(
    expect.objectContaining({
      msg: "a delivery is reset",
      collection: "db.things",
      reason: "lagged",
      step: "catch-up",
    }),
  );
});

test("a resumption from the history sends the missed changes and no snapshot", async () => {
  const reader = new ScriptedReader();
  const { feed, accept } = await startFeed(reader);
  await accept(inserted(1), inserted(2), inserted(3));
  const { sink, started } = await follow(feed, specOf(), new Recorder(), resumedAt(1));
  await settled();
  expect(started).toMatchObject({ start: "resumed" });
  expect(idsOf(sink)).toEqual(ids(2, 3));
  expect(reader.reads).toEqual([]);
});

test("a resumption from before the history sends the missed changes from the oplog", async () => {
  const commits = Array.from({ length: 8 }, (_, at) => inserted(at + 1));
  const { feed, accept } = await startFeed(new ScriptedReader(), {
    history: { bytes: 1_500 },
    oplog: commits,
  });
  for (const commit of commits) await accept(commit);
  expect(feed.timeline.history.evictedSeq).toBeGreaterThan(2);
  const { sink, started } = await follow(feed, specOf(), new Recorder(), resumedAt(2));
  await untilPasses(() => expect(sink.live).toBe(1));
  expect(started.start).toBe("resumed");
  expect(idsOf(sink)).toEqual(ids(3, 4, 5, 6, 7, 8));
});

test("[G6] the messages of a large commit that wait for a slow client are charged to its user, or are encoded again", async () => {
  // The log keeps no text as large as that of the commit.
  const { feed, accept } = await startFeed(new ScriptedReader(), { history: { bytes: 1_048_576 } });
  const users = [8 * 1_048_576, 65_536].map((userWindowBytes, n) => {
    const account = new Account(FeedLimits.parse({ userWindowBytes }), () => {});
    return { account, sink: new Recorder(), spec: specOf({ n: { $gt: -n } }) };
  });
  for (const { account, sink, spec } of users) await follow(feed, spec, sink, FRESH, UNCONDITIONAL, account);
  await settled();
  for (const { sink } of users) sink.hasRoom = false;
  const pad = "x".repeat(10_000);
  await accept(
    commitOf(
      1,
      Array.from({ length: 200 }, (_, n) => insertOf({ _id: n, n: n + 1, pad })),
    ),
  );
  await untilPasses(() => expect(users[0]?.account.windowBytes).toBeGreaterThan(2_000_000));
  expect(users[1]?.account.windowBytes).toBe(0);
  for (const { account, sink } of users) {
    sink.drain();
    await untilPasses(() => expect(sink.live).toBe(2));
    expect([sink.state.size, account.windowBytes]).toEqual([200, 0]);
  }
});

test("a client that leaves while its snapshot is read, and many reads that fail, cannot fill the log", async () => {
  const reader = new ScriptedReader();
  reader.answer = () => [{ _id: 1 }, { _id: 2 }];
  const { log, warnings } = recordingLog();
  const { feed } = await startFeed(reader, { log });
  const asked = deferred();
  const open = reader.open.bind(reader);
  reader.open = async (...args) => {
    const snapshot = await open(...args);
    const first = await snapshot.next();
    snapshot.next = async () => {
      if (first.length > 0) return first.splice(0);
      await asked.promise;
      throw new MongoServerError({ message: "the cursor was killed", code: 237 });
    };
    return snapshot;
  };
  const { delivery } = await follow(feed, specOf());
  await settled();
  feed.unsubscribe(delivery);
  asked.resolve();
  await settled();
  expect(warnings()).toEqual([]);
  reader.open = () => Promise.reject(new MongoNetworkError("gone"));
  const asks = [1, 2, 3].map((n) => follow(feed, specOf({ n })));
  for (const ask of asks) await expect(ask).rejects.toMatchObject({ code: "unavailable" });
  expect(warnings()).toEqual(["a snapshot could not be read"]);
});

/** A resumption from the history, whose commits the history evicts before the first one of them is sent. */
async function overtakenResumption(spec = specOf()) {
  const commits = Array.from({ length: 8 }, (_, at) => inserted(at + 1));
  const reader = new ScriptedReader();
  const { feed, metrics, accept } = await startFeed(reader, { history: { bytes: 1_500 }, oplog: commits });
  await accept(...commits.slice(0, 2));
  const sink = new Recorder();
  const delivery = feed.subscribe(spec, sink, terms());
  expect(await delivery.open(resumedAt(1))).toMatchObject({ start: "resumed" });
  for (const commit of commits.slice(2)) await accept(commit);
  expect(feed.timeline.history.evictedSeq).toBeGreaterThan(2);
  delivery.run();
  await untilPasses(() => expect(sink.live).toBe(1));
  return { sink, metrics };
}

test("a resumption that the history overtakes continues from the oplog, without a reset", async () => {
  const { sink, metrics } = await overtakenResumption();
  expect(typesOf(sink)).not.toContain("reset");
  expect(idsOf(sink)).toEqual(ids(2, 3, 4, 5, 6, 7, 8));
  expect((await metrics.catchUps.get()).values).toMatchObject([
    { labels: { from: "history" }, value: 1 },
    { labels: { from: "oplog" }, value: 1 },
  ]);
});

/** A cluster time some seconds after the beginning. */
const SECOND = 2 ** 32;

test("a resumption from the oplog joins the live stream however much arrives meanwhile and however short the history is", async () => {
  const commits = Array.from({ length: 8 }, (_, at) => inserted((at + 1) * SECOND));
  const { feed, metrics, accept } = await startFeed(new ScriptedReader(), {
    history: { windowMs: 0, bytes: 1_048_576 },
    oplog: commits.slice(0, 4),
  });
  for (const commit of commits.slice(0, 4)) await accept(commit);
  expect(feed.timeline.history.evictedSeq).toBe(3);
  const sink = new Recorder();
  sink.hasRoom = false;
  const { started } = await follow(feed, specOf(), sink, resumedAt(SECOND));
  expect(started.start).toBe("resumed");
  await settled();
  for (const commit of commits.slice(4)) await accept(commit);
  sink.drain();
  await untilPasses(() => expect(sink.live).toBe(1));
  expect(typesOf(sink)).toEqual(Array.from({ length: 7 }, () => "added"));
  expect((await metrics.catchUps.get()).values).toMatchObject([
    { labels: { from: "history" }, value: 0 },
    { labels: { from: "oplog" }, value: 1 },
  ]);
  // Nothing is kept for it any more.
  await accept(inserted(9 * SECOND));
  expect(feed.timeline.history.evictedSeq).toBe(8);
});

test("a window that the history overtakes is reset, because its past cannot be read from the oplog", async () => {
  const { sink } = await overtakenResumption(specOf({}, { sort: [["_id", 1]], limit: 3 }));
  expect(sink.messages).toContainEqual(expect.objectContaining({ type: "reset", reason: "history-lost" }));
});

test("a resumption over a change of its rights is reset: the client may have lacked access in between", async () => {
  const { feed, accept } = await startFeed(new ScriptedReader());
  const membership = { _id: 1, user: "ada", room: "a" };
  await accept(commitOf(1), commitOf(2, [eventOf(membership, null, "members")]));
  await accept(commitOf(3, [insertOf(membership, "members"), insertOf({ _id: 9 })]));
  const filter = parseFilter({ user: "ada" }, { regex: "prefix" });
  const set = new LookupSet({ key: "k", database: "db", collectionName: "members", filter, value: "room" });
  runThrough(set.loadInSteps([], FROM + 3n));
  const rights = new Rights(0n, [set]);
  const { started } = await follow(feed, specOf(), new Recorder(), resumedAt(1), rights);
  expect(started).toMatchObject({ start: "reset", reason: "rights-changed" });
  const later = await follow(feed, specOf(), new Recorder(), resumedAt(3), rights);
  expect(later.started.start).toBe("resumed");
});

test("a cursor from before the rights were granted, or from the future, is refused", async () => {
  const { feed, accept } = await startFeed(new ScriptedReader());
  await accept(inserted(1), inserted(2));
  const startOf = async (offset: number, rights?: Rights) =>
    (await follow(feed, specOf(), new Recorder(), resumedAt(offset, BEFORE), rights)).started;
  expect(await startOf(1, new Rights(FROM + 2n, []))).toMatchObject({ reason: "rights-changed" });
  expect(await startOf(2, new Rights(FROM + 2n, []))).toMatchObject({ start: "resumed" });
  expect(await startOf(9)).toMatchObject({ start: "reset", reason: "cursor-invalid" });
});

test("where the collection is replaced, every follower is reset and receives a new snapshot", async () => {
  const reader = new ScriptedReader();
  const { feed, accept } = await startFeed(reader);
  const { sink } = await follow(feed, specOf());
  await settled();
  reader.answer = () => [{ _id: 7 }];
  await accept(
    commitOf(1, [{ operation: "replaced-collection", namespace: "db.things", by: "drop" }]),
    inserted(8),
  );
  await untilPasses(() => expect(sink.live).toBe(2));
  expect(typesOf(sink)).toEqual(["snapshot", "reset", "snapshot"]);
  expect(idsOf(sink)).toEqual(ids(7));
});

test("a start that becomes void before the client knows of it is reset only afterwards", async () => {
  const reader = new ScriptedReader();
  reader.answer = () => [{ _id: 1 }, { _id: 2 }];
  const { feed } = await startFeed(reader);
  const sink = new Recorder();
  const delivery = feed.subscribe(specOf(), sink, terms());
  await delivery.open(FRESH);
  expect(reader.openReads).toBe(1);
  delivery.startOver();
  expect(sink.messages).toEqual([]);
  delivery.run();
  await untilPasses(() => expect(sink.live).toBe(1));
  expect([typesOf(sink), reader.openReads]).toEqual([["reset", "snapshot"], 0]);
});

test("a delivery that is closed writes nothing more and holds nothing, whatever it was doing", async () => {
  const reader = new ScriptedReader();
  reader.answer = () => [{ _id: 3 }, { _id: 4 }];
  const { feed, accept } = await startFeed(reader);
  const sink = new Recorder();
  const opened = feed.subscribe(specOf(), sink, terms());
  await opened.open(FRESH);
  feed.unsubscribe(opened);
  opened.run();
  const opening = feed.subscribe(specOf(), sink, terms());
  const answer = opening.open(FRESH);
  feed.unsubscribe(opening);
  await answer;
  const live = await follow(feed, specOf(), sink);
  await settled();
  feed.unsubscribe(live.delivery);
  live.delivery.startOver();
  await accept(inserted(1));
  await settled();
  expect([typesOf(sink), reader.openReads]).toEqual([["snapshot"], 0]);
});

test("an error of one follower ends that follower and no other", async () => {
  const { feed, accept } = await startFeed(new ScriptedReader());
  const [broken, other] = [new Recorder(), new Recorder()];
  for (const sink of [broken, other]) await follow(feed, specOf(), sink);
  await settled();
  broken.write = () => {
    throw new Error("broken");
  };
  await accept(inserted(1));
  expect([broken.errors.length, typesOf(other)]).toEqual([1, ["snapshot", "added"]]);
});

test("the difference of a change of rights is sent with the cursors of its point", async () => {
  const reader = new ScriptedReader();
  reader.answer = () => [{ _id: 1, room: "a" }];
  const { feed } = await startFeed(reader);
  const sink = new Recorder();
  const { delivery } = await follow(feed, specOf({ room: "a" }), sink);
  await settled();
  const moved = feed.subscribe(specOf({ room: { $in: ["a", "b"] } }), sink, terms());
  const at = feed.cursors.grantPoint(null);
  const started = moved.openMoved(delivery.liveQuery, at);
  feed.unsubscribe(delivery);
  expect(started).toMatchObject({ start: "moved", cursor: at.published.before, finally: at.published.after });
  // The documents that left are read first, then those that came into sight.
  const [left, entered] = [[], [{ _id: 2, room: "b" }]];
  const answers = [left, entered];
  reader.answer = () => answers.shift() ?? [];
  moved.run();
  await untilPasses(() => expect(moved.isLive).toBe(true));
  expect(sink.messages.at(-1)).toMatchObject({ type: "added", cause: "grant", cursor: at.published.after });
  expect(idsOf(sink)).toEqual(ids(1, 2));
});

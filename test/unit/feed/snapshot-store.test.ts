import { MongoNetworkError, MongoServerError } from "mongodb";
import { pino } from "pino";
import { expect, test } from "vitest";
import { Account } from "../../../src/feed/account.ts";
import { ClientCursors } from "../../../src/feed/client-cursors.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import type { LiveQuery } from "../../../src/feed/live-query.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { PublishedHead } from "../../../src/feed/published-head.ts";
import { Slices } from "../../../src/feed/slices.ts";
import { SnapshotStore } from "../../../src/feed/snapshot-store.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { appendTo, commitOf, FROM, newTimeline, specOf } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const FREE = () => ({ add: () => {}, sub: () => {}, moveTo: () => true, release: () => {} });
const newUser = () => new Account(FeedLimits.parse({}), () => {});
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A store, and an unsorted live query of which the log reaches back to `logFrom` and holds `changes`. */
function start(limits: Partial<FeedLimits> = {}) {
  const reader = new ScriptedReader();
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  const cursors = new ClientCursors(timeline, new PublishedHead(0, 400), Date.now);
  const store = new SnapshotStore(FeedLimits.parse(limits), {
    reader,
    timeline,
    cursors,
    deployment: { now: async () => timeline.headTime },
    newSlices: () => new Slices(50),
    log: pino({ level: "silent" }),
    metrics: createMetrics(),
  });
  const log = { entries: [] as { changes: unknown }[] };
  // A store and a reading need no more.
  const queryOf = (number: number, collection = "orders") =>
    ({
      number,
      spec: specOf(),
      snapshotQuery: { collection },
      state: { isStateless: true },
      after: () => log.entries,
    }) as unknown as LiveQuery;
  const ask = (number: number, account = newUser(), isWanted = () => true, since = 0n) =>
    store.open(queryOf(number, `of ${number}`), "json", since, { account, isWanted, charge: FREE });
  const open = async (since = 0n) => {
    const reading = await ask(1, newUser(), () => true, since);
    if (reading === null) throw new Error("it is wanted");
    return reading;
  };
  return { store, reader, timeline, log, open, ask };
}

/** Holds every read until `finish` is called for it, with the number of its live query. */
function holdReads(reader: ScriptedReader) {
  const held = new Map<string, () => void>();
  reader.answer = async ({ query }) => {
    const done = deferred();
    held.set(query.collection, () => done.resolve());
    await done.promise;
    return [];
  };
  const finish = async (number: number) => {
    held.get(`of ${number}`)?.();
    held.delete(`of ${number}`);
    await settled();
  };
  const started = () => reader.reads.map(({ query }) => Number(query.collection.slice("of ".length)));
  return { started, finish };
}

test("equal snapshots are read once, for those who ask together and for those who ask later", async () => {
  const { reader, open } = start();
  const [one, two] = await Promise.all([open(), open()]);
  expect(two).toBe(one);
  expect(await open()).toBe(one);
  expect(reader.reads).toHaveLength(1);
});

test("a snapshot from before a grant is not shared with users who received the grant later", async () => {
  const { reader, timeline, open } = start();
  const early = await open();
  expect(early.clusterTime).toBe(FROM + 1n);
  expect(await open(FROM + 1n)).toBe(early);
  appendTo(timeline, commitOf(2));
  const late = await open(FROM + 2n);
  expect(late).not.toBe(early);
  expect(reader.reads.map(({ at }) => at)).toEqual([FROM + 1n, FROM + 2n]);
});

test("a snapshot that is being opened for others is not shared either, where it is from before the rights", async () => {
  const { reader, timeline, open } = start();
  const answered = deferred();
  reader.answer = async () => {
    await answered.promise;
    return [];
  };
  const early = open();
  await new Promise((resolve) => setImmediate(resolve));
  appendTo(timeline, commitOf(2));
  const late = open(FROM + 2n);
  answered.resolve();
  expect((await early).clusterTime).toBe(FROM + 1n);
  expect((await late).clusterTime).toBe(FROM + 2n);
});

test("a finished snapshot is read again where too many changes, or unknown ones, have come since", async () => {
  const { log, open } = start();
  const first = await open();
  log.entries = Array.from({ length: 1_000 }, () => ({ changes: [] }));
  expect(await open()).toBe(first);
  log.entries.push({ changes: [] });
  const second = await open();
  expect(second).not.toBe(first);
  log.entries = [{ changes: "unknown" }];
  expect(await open()).not.toBe(second);
});

test("the budget of one user is no reason to refuse another one", async () => {
  const { reader, open } = start();
  const answered = deferred();
  reader.answer = async () => {
    await answered.promise;
    if (reader.reads.length === 1) throw new TidewireError("too-many-subscriptions", "full");
    return [];
  };
  const refused = open();
  const shared = open();
  answered.resolve();
  await expect(refused).rejects.toMatchObject({ code: "too-many-subscriptions" });
  expect((await shared).clusterTime).toBe(FROM + 1n);
});

test("a passing failure is tried again, a sort that a document makes impossible is not", async () => {
  const { reader, open } = start();
  reader.answer = () => {
    if (reader.reads.length < 3) throw new MongoNetworkError("gone");
    return [];
  };
  await open();
  expect(reader.reads).toHaveLength(3);
  const other = start();
  other.reader.answer = () => {
    throw new MongoServerError({ message: "cannot sort with keys that are parallel arrays", code: 2 });
  };
  await expect(other.open()).rejects.toMatchObject({ code: "bad-filter" });
  expect(other.reader.reads).toHaveLength(1);
});

test("limits.snapshotDocuments: refuses a larger result, and leaves nothing open", async () => {
  const { reader, open } = start({ snapshotDocuments: 2 });
  reader.answer = () => [{ _id: 1 }, { _id: 2 }];
  await open();
  reader.answer = () => [{ _id: 1 }, { _id: 2 }, { _id: 3 }];
  const other = start({ snapshotDocuments: 2 });
  other.reader.answer = reader.answer;
  await expect(other.open()).rejects.toMatchObject({
    code: "snapshot-too-large",
    details: { limit: "snapshotDocuments", value: 2 },
  });
  expect(other.reader.openReads).toBe(0);
});

test("limits.snapshotsPerUser: one user with many snapshots leaves slots to others, who wait for none of them", async () => {
  const { reader, ask } = start({ snapshotConcurrency: 3, snapshotsPerUser: 2 });
  const { started, finish } = holdReads(reader);
  const busy = newUser();
  const all = [1, 2, 3, 4, 5].map((number) => ask(number, busy));
  await settled();
  // A free slot remains, and the user still does not receive it.
  expect(started()).toEqual([1, 2]);
  all.push(ask(10));
  await settled();
  expect(started()).toEqual([1, 2, 10]);
  await finish(1);
  expect(started()).toEqual([1, 2, 10, 3]);
  for (const number of [2, 3, 4, 5, 10]) await finish(number);
  await Promise.all(all);
});

test("limits.snapshotsPerUser: leaves one slot to others, even where it is above limits.snapshotConcurrency", async () => {
  const { reader, ask } = start({ snapshotConcurrency: 2, snapshotsPerUser: 4 });
  const { started, finish } = holdReads(reader);
  const busy = newUser();
  const all = [ask(1, busy), ask(2, busy), ask(10)];
  await settled();
  expect(started()).toEqual([1, 10]);
  for (const number of [1, 2, 10]) await finish(number);
  await Promise.all(all);
});

test("users take turns, so the snapshots of one user do not wait for the queue of another", async () => {
  const { reader, ask } = start({ snapshotConcurrency: 1 });
  const { started, finish } = holdReads(reader);
  const busy = newUser();
  const all = [1, 2, 3, 4].map((number) => ask(number, busy));
  await settled();
  const other = newUser();
  all.push(ask(10, other), ask(11, other));
  for (const number of [1, 2, 10, 3, 11, 4]) await finish(number);
  expect(started()).toEqual([1, 2, 10, 3, 11, 4]);
  await Promise.all(all);
});

test("a user who asks for a snapshot that another user waits for does not wait in the queue of that user", async () => {
  const { reader, ask } = start({ snapshotConcurrency: 1 });
  const { started, finish } = holdReads(reader);
  const busy = newUser();
  const all = [1, 2, 3, 4].map((number) => ask(number, busy));
  await settled();
  const shared = ask(4);
  await finish(1);
  await finish(2);
  expect(started()).toEqual([1, 2, 4]);
  await finish(4);
  expect(await shared).not.toBeNull();
  await finish(3);
  expect(await all[3]).toBe(await shared);
});

test("a snapshot that nobody wants any more when it is its turn is not read", async () => {
  const { reader, ask } = start({ snapshotConcurrency: 1 });
  const { started, finish } = holdReads(reader);
  let isWanted = true;
  const all = [ask(1), ask(2, newUser(), () => isWanted), ask(3, newUser(), () => isWanted), ask(3)];
  await settled();
  isWanted = false;
  for (const number of [1, 2, 3]) await finish(number);
  // Another subscriber still wants the third one.
  expect(started()).toEqual([1, 3]);
  const [, second, third, shared] = await Promise.all(all);
  expect(second).toBeNull();
  expect(third).toBe(shared);
});

test("a read is aborted when the last user who waits for it has left, and frees its slot", async () => {
  const { store, reader, ask } = start({ snapshotConcurrency: 1 });
  const { started, finish } = holdReads(reader);
  const answer = reader.answer;
  reader.answer = (read) => {
    const aborted = new Promise<never>((_resolve, reject) => {
      read.signal?.addEventListener("abort", () => reject(read.signal?.reason));
    });
    return Promise.race([answer(read), aborted]);
  };
  const wanted = new Set(["first", "second"]);
  const first = ask(1, newUser(), () => wanted.has("first"));
  const second = ask(1, newUser(), () => wanted.has("second"));
  const other = ask(2);
  await settled();
  wanted.delete("first");
  store.sweep();
  await settled();
  expect(started()).toEqual([1]);
  wanted.delete("second");
  store.sweep();
  expect(await first).toBeNull();
  await settled();
  expect(started()).toEqual([1, 2]);
  await finish(2);
  expect(await other).not.toBeNull();
  expect(await second).toBeNull();
  expect(started()).toEqual([1, 2]);
});

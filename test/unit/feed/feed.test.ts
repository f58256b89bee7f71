import { expect, test, vi } from "vitest";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { follow, Recorder } from "../../support/recorder.ts";
import { untilPasses } from "../../support/until-passes.ts";
import { commitOf, eventOf, FROM, insertOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const membership = { _id: 1, user: "ada", room: "a" };
const LOOKUP = {
  key: "rooms of ada",
  database: "db",
  collectionName: "members",
  filter: parseFilter({ user: "ada" }, { regex: "prefix" }),
  value: "room",
};

test("a commit withdraws rights before any live query evaluates it", async () => {
  const reader = new ScriptedReader();
  const { feed, accept } = await startFeed(reader);
  const set = await feed.lookups.acquire(LOOKUP);
  const { sink, delivery } = await follow(feed, specOf());
  await settled();
  const withdrawn = vi.fn(() => feed.unsubscribe(delivery));
  set.holders.add({ lookupChanged: withdrawn, lookupLost: withdrawn, fail: withdrawn });
  // In one transaction: ada enters a room, and a document of hers changes.
  await accept(commitOf(1, [insertOf({ _id: 9 }), insertOf(membership, "members")]));
  expect(withdrawn).toHaveBeenCalledTimes(1);
  expect(sink.messages.map(({ type }) => type)).toEqual(["snapshot"]);
});

test("what was found before a change of rights is delivered first, within one batch too", async () => {
  const { feed, accept } = await startFeed(new ScriptedReader());
  const set = await feed.lookups.acquire(LOOKUP);
  const { sink, delivery } = await follow(feed, specOf());
  await settled();
  const lookupChanged = () => feed.unsubscribe(delivery);
  set.holders.add({ lookupChanged, lookupLost: lookupChanged, fail: lookupChanged });
  await accept(
    commitOf(1, [insertOf({ _id: 1 })]),
    commitOf(2, [insertOf(membership, "members")]),
    commitOf(3, [insertOf({ _id: 3 })]),
  );
  expect(sink.messages.slice(1)).toMatchObject([{ type: "added", doc: { _id: 1 } }]);
});

test("each live query is evaluated once for all who follow it, and each collection on its own", async () => {
  const { feed, metrics, accept } = await startFeed(new ScriptedReader());
  const sinks = [new Recorder(), new Recorder()];
  for (const sink of sinks) await follow(feed, specOf({ n: { $gt: 0 } }), sink);
  const other = await follow(feed, specOf({}, { key: "other", collectionName: "others" }));
  await settled();
  expect(feed.liveQueries).toBe(2);
  await accept(commitOf(1, [insertOf({ _id: 1, n: 1 }), insertOf({ _id: 2, n: 0 })]));
  for (const { messages } of sinks) expect(messages.slice(1)).toMatchObject([{ doc: { _id: 1 } }]);
  expect(other.sink.messages).toHaveLength(1);
  const { values } = await metrics.changes.get();
  expect(values.find(({ labels }) => labels["type"] === "added")?.value).toBe(1);
});

test("a new order of commits resets every follower and loses every lookup", async () => {
  const { feed, accept } = await startFeed(new ScriptedReader());
  const set = await feed.lookups.acquire(LOOKUP);
  const lookupLost = vi.fn();
  set.holders.add({ lookupChanged: () => {}, lookupLost, fail: () => {} });
  await accept(commitOf(1, [insertOf({ _id: 1 })]));
  const { sink } = await follow(feed, specOf());
  await settled();
  await feed.begin({ id: "89abcdef", cursorKey: new Uint8Array(16).fill(8) }, FROM + 5n);
  expect(sink.messages.at(-1)).toEqual({ type: "reset", reason: "history-lost" });
  expect(lookupLost).toHaveBeenCalledTimes(1);
  expect(feed.lookups.size).toBe(0);
  await accept(commitOf(6, [eventOf({ _id: 1 }, { _id: 1, n: 1 })]));
  await untilPasses(() => expect(sink.live).toBe(2));
});

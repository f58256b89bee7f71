import { expect, test } from "vitest";
import { AFTER, BEFORE, CursorCodec } from "../../../src/feed/cursor.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import { HistoryOptions } from "../../../src/feed/options.ts";
import { Timeline } from "../../../src/feed/timeline.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { appendTo, commitOf, epochOf, FROM, newTimeline } from "./feed-parts.ts";

test("has no positions and cursors before the stream has found its start", () => {
  const parts = { deployment: { now: async () => 0n }, metrics: createMetrics() };
  const timeline = new Timeline(HistoryOptions.parse({}), parts);
  expect(timeline.isReady).toBe(false);
  expect(() => timeline.head).toThrow(expect.objectContaining({ code: "unavailable", retryAfterMs: 1_000 }));
  expect(() => timeline.codec).toThrow(expect.objectContaining({ code: "unavailable" }));
  timeline.begin(epochOf("0123abcd"), FROM);
  expect(timeline.head).toEqual({ clusterTime: FROM, within: BEFORE });
});

test("while a batch is being handed out, the settled head and time are those before the batch", async () => {
  const timeline = newTimeline();
  const first = appendTo(timeline, commitOf(1));
  const rest = deferred();
  const handingOut = timeline.handOut(() => {
    appendTo(timeline, commitOf(2));
    return rest.promise;
  });
  expect([timeline.isSettled, timeline.headTime, timeline.headSeq]).toEqual([false, FROM + 2n, 2]);
  expect(timeline.settledTime).toBe(FROM + 1n);
  expect(timeline.settledHead).toEqual({ position: first.position, seq: 1 });
  rest.resolve();
  await handingOut;
  expect([timeline.isSettled, timeline.settledTime, timeline.settledHead.seq]).toEqual([true, FROM + 2n, 2]);
});

test("a cluster time is reached when the batch that brings it has been handed out, not before", async () => {
  const timeline = newTimeline();
  let isReached = false;
  const reached = timeline.reached(FROM + 1n).then(() => {
    isReached = true;
  });
  const rest = deferred();
  const handingOut = timeline.handOut(() => {
    appendTo(timeline, commitOf(1));
    return rest.promise;
  });
  timeline.advances.announce();
  await Promise.resolve();
  expect(isReached).toBe(false);
  rest.resolve();
  await handingOut;
  timeline.advances.announce();
  await reached;
});

test("a cluster time that is not reached in time fails with unavailable", async () => {
  await expect(newTimeline().reached(FROM + 1n, 1)).rejects.toMatchObject({ code: "unavailable" });
});

test("the node waits for a position that only the deployment knows; a position unknown to both is ahead", async () => {
  let now = FROM;
  const parts = { deployment: { now: async () => now }, metrics: createMetrics() };
  const timeline = new Timeline(HistoryOptions.parse({}), parts);
  timeline.begin(epochOf("0123abcd"), FROM);
  const position = { clusterTime: FROM + 1n, within: BEFORE };
  expect(await timeline.locate(position)).toBe("ahead");
  now = FROM + 1n;
  const located = timeline.locate(position);
  appendTo(timeline, commitOf(1));
  timeline.advances.announce();
  expect(await located).toEqual({ seq: 0 });
});

test("the time of a token's issue is not later than the head", () => {
  const timeline = newTimeline();
  appendTo(timeline, commitOf(1));
  expect(timeline.headTimeBy(999_001)).toBe(FROM);
  expect(timeline.headTimeBy(1_000_001)).toBe(FROM + 1n);
});

test("a collection that was added while running has no past in the history", () => {
  const { history } = newTimeline();
  history.append(commitOf(1));
  history.follow(["db.new"]);
  const holds = (namespace: string, offset: number, within = BEFORE) =>
    history.holds(namespace, { clusterTime: FROM + BigInt(offset), within });
  // A commit of the same cluster time may have been left out.
  expect([holds("db.new", 1), holds("db.new", 1, 7), holds("db.new", 1, AFTER)]).toEqual([
    false,
    false,
    true,
  ]);
  expect([holds("db.new", 2), holds("db.old", 0)]).toEqual([true, true]);
  history.follow(["db.new"], "no-longer");
  expect(holds("db.new", 2), "nobody follows it").toBe(false);
});

test("a new order of commits contains all collections from its beginning, except those that nobody follows", () => {
  const { history } = newTimeline();
  history.append(commitOf(9));
  history.follow(["db.new"]);
  history.follow(["db.idle"], "no-longer");
  history.begin(new CursorCodec(epochOf("0123abcd")), FROM);
  const start = { clusterTime: FROM, within: BEFORE };
  expect([history.holds("db.new", start), history.holds("db.idle", start)]).toEqual([true, false]);
});

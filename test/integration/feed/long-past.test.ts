/** A long past is worked off while others get their turn. */
import { afterEach, expect, test, vi } from "vitest";
import { WindowedResult } from "../../../src/feed/windowed-result.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { FRESH, follow } from "../../support/recorder.ts";

const PATIENCE = { timeout: 60_000 };
const MISSED = 1_800;
/** The least slice lets others have their turn after each commit: two may fall into one turn. */
const AT_A_TIME_MAX = 2;

afterEach(() => {
  vi.restoreAllMocks();
});

test("[G6] a window that resumes from far back lets others have their turn meanwhile", async () => {
  const { client, db, feed, spec } = await startFeed({ limits: { lingerMs: 0, commitSliceMs: 0 } });
  const things = db.collection<{ _id: number; n: number }>("things");
  await things.insertMany(Array.from({ length: 20 }, (_, _id) => ({ _id, n: _id })));
  const query = spec({}, undefined, "things", { sort: [["n", 1]], limit: 2 });
  const { delivery, sink } = await follow(feed, query);
  await expect.poll(() => sink.live, PATIENCE).toBe(1);
  feed.unsubscribe(delivery);
  await expect.poll(() => feed.liveQueries, PATIENCE).toBe(0);
  await things.insertMany(
    Array.from({ length: MISSED }, (_, index) => ({ _id: 100 + index, n: 100 + index })),
  );
  await things.insertOne({ _id: -1, n: -1 });
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  await feed.timeline.reached(operationTime.toBigInt(), PATIENCE.timeout);

  let turn = 0;
  let running = true;
  const nextTurn = () => {
    turn++;
    if (running) setImmediate(nextTurn);
  };
  nextTurn();
  const applied = new Map<number, number>();
  const apply = WindowedResult.prototype.apply;
  vi.spyOn(WindowedResult.prototype, "apply").mockImplementation(function (this: WindowedResult, entry) {
    applied.set(turn, (applied.get(turn) ?? 0) + 1);
    return apply.call(this, entry);
  });
  const resumeFrom = feed.timeline.codec.decode(sink.cursor);
  if (typeof resumeFrom === "string") throw new Error(resumeFrom);
  await follow(feed, query, sink, { ...FRESH, resumeFrom });
  await expect.poll(() => sink.live, PATIENCE).toBe(2);
  running = false;
  const counts = [...applied.values()];
  expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(MISSED);
  expect(Math.max(...counts)).toBeLessThanOrEqual(AT_A_TIME_MAX);
  expect(sink.order).toEqual(["-1", "0"]);
});

import { expect, test } from "vitest";
import { AHEAD_MAX, SinkProgress } from "../../../src/sinks/sink-progress.ts";

const at = (cursor: string) => ({ cursor, ticket: "t" });

test("the position stays before the first message that is not settled, whatever came after it", () => {
  const progress = new SinkProgress(at("c0"));
  progress.arrive(1, "m1", at("c1"));
  progress.arrive(2, "m2", at("c2"));
  progress.arrive(3, "m3", at("c3"));
  progress.settle(3);
  progress.settle(2);
  expect(progress.position).toEqual(at("c0"));
  progress.settle(1);
  expect(progress.position).toEqual(at("c3"));
  expect(progress.unsettled).toBe(0);
});

test("the position never lies inside a commit", () => {
  const progress = new SinkProgress(null);
  progress.arrive(1, "m1", null);
  progress.arrive(2, "m2", at("c2"));
  progress.settle(1);
  expect(progress.position).toBeNull();
  progress.settle(2);
  expect(progress.position).toEqual(at("c2"));
});

test("a message that was settled before changes nothing when it is settled again", () => {
  const progress = new SinkProgress(null);
  progress.arrive(1, "m1", at("c1"));
  progress.settle(1);
  progress.settle(1);
  progress.arrive(2, "m2", at("c2"));
  expect(progress.position).toEqual(at("c1"));
});

test("the next run learns which messages after the position are settled, and takes none of them again", () => {
  const progress = new SinkProgress(at("c0"));
  for (const n of [1, 2, 3, 4]) progress.arrive(n, `m${n}`, at(`c${n}`));
  progress.settle(2);
  progress.settle(4);
  expect(progress.ahead).toEqual(["m2", "m4"]);
  const next = new SinkProgress(progress.position, progress.ahead);
  expect(next.ahead).toEqual(["m2", "m4"]);
  expect([1, 2, 3].map((n) => next.arrive(10 + n, `m${n}`, at(`c${n}`)))).toEqual([false, true, false]);
  // A run that ends before the rest has arrived again hands the knowledge on.
  expect(next.ahead).toEqual(["m2", "m4"]);
  next.settle(11);
  expect(next.position).toEqual(at("c2"));
  expect(next.ahead).toEqual(["m4"]);
  expect(next.arrive(14, "m4", at("c4"))).toBe(true);
  next.settle(13);
  expect([next.position, next.ahead]).toEqual([at("c4"), []]);
});

test("the settled messages of a commit that is not complete count as ahead of the position", () => {
  const progress = new SinkProgress(at("c0"));
  progress.arrive(1, "m1", null);
  progress.arrive(2, "m2", null);
  progress.arrive(3, "m3", at("c1"));
  progress.settle(1);
  progress.settle(2);
  expect([progress.position, progress.ahead, progress.held]).toEqual([at("c0"), ["m1", "m2"], 0]);
  progress.settle(3);
  expect([progress.position, progress.ahead]).toEqual([at("c1"), []]);
});

test("a save names a bounded number of messages, and none without a position", () => {
  const progress = new SinkProgress(at("c0"));
  const snapshot = new SinkProgress(null);
  for (let n = 0; n < 2 * AHEAD_MAX; n++) {
    progress.arrive(n, `m${n}`, at(`c${n}`));
    snapshot.arrive(n, `m${n}`, null);
    if (n === 0) continue;
    progress.settle(n);
    snapshot.settle(n);
  }
  expect(progress.held).toBe(2 * AHEAD_MAX - 1);
  expect(progress.ahead).toHaveLength(AHEAD_MAX);
  expect(snapshot.ahead).toEqual([]);
  progress.forgetKnown();
  progress.settle(0);
  expect([progress.ahead, progress.held]).toEqual([[], 0]);
});

test("nothing is saved as sent ahead, nor recognised by its id, if another run gives other ids", () => {
  const progress = new SinkProgress(at("c0"), null);
  progress.arrive(1, "m1", at("c1"));
  progress.arrive(2, "m2", at("c2"));
  progress.settle(2);
  expect([progress.ahead, progress.held]).toEqual([[], 1]);
});

test("ids of an earlier run that never arrive again take no room from the others", () => {
  const stale = Array.from({ length: AHEAD_MAX }, (_, n) => `old${n}`);
  const progress = new SinkProgress(at("c0"), stale);
  progress.arrive(1, "m1", at("c1"));
  progress.arrive(2, "m2", at("c2"));
  progress.settle(2);
  expect(progress.ahead[0]).toBe("m2");
  expect(progress.ahead).toHaveLength(AHEAD_MAX);
});

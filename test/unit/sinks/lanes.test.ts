import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Lanes } from "../../../src/sinks/lanes.ts";
import { guardParts } from "../../support/guard-parts.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function lanesOf() {
  const run: string[] = [];
  const lanes = new Lanes(guardParts(), async (lane) => void run.push(lane));
  return { lanes, run };
}

test("a lane is sent when it is due, and not before", async () => {
  const { lanes, run } = lanesOf();
  lanes.wake();
  lanes.block("a", Date.now() + 1_000);
  await vi.advanceTimersByTimeAsync(900);
  expect(run).toEqual([]);
  await vi.advanceTimersByTimeAsync(200);
  expect(run).toEqual(["a"]);
  expect(lanes.has("a")).toBe(true);
  lanes.finish("a");
  expect(lanes.has("a")).toBe(false);
});

test("a lane to which a message was added while it was read is read again", async () => {
  const { lanes, run } = lanesOf();
  lanes.wake();
  lanes.block("a", 0);
  await vi.advanceTimersByTimeAsync(10);
  lanes.noteAdded("a");
  lanes.finish("a");
  expect(lanes.has("a")).toBe(true);
  await vi.advanceTimersByTimeAsync(10);
  expect(run).toEqual(["a", "a"]);
});

test("only some lanes are in memory at a time, and the next one follows when one ends", async () => {
  const { lanes, run } = lanesOf();
  for (let lane = 0; lane < 20; lane++) lanes.block(`lane ${lane}`, 0);
  lanes.wake();
  await vi.advanceTimersByTimeAsync(10);
  expect(run).toHaveLength(8);
  lanes.finish("lane 0");
  await vi.advanceTimersByTimeAsync(10);
  expect(run).toHaveLength(9);
  lanes.block("lane 1", Date.now() + 60_000);
  await vi.advanceTimersByTimeAsync(10);
  expect(run).toHaveLength(10);
});

test("nothing is sent while the target is down", async () => {
  const { lanes, run } = lanesOf();
  lanes.wake();
  lanes.suspend();
  lanes.block("a", 0);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(run).toEqual([]);
  lanes.wake();
  expect(run).toEqual(["a"]);
});

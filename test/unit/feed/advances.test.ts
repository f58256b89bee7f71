import { beforeEach, expect, test, vi } from "vitest";
import { Advances } from "../../../src/feed/advances.ts";

beforeEach(() => {
  vi.useFakeTimers();
  return () => vi.useRealTimers();
});

const faulty = () => {
  let isBroken = false;
  const isDone = () => {
    if (isBroken) throw new Error("a bug");
    return false;
  };
  return {
    isDone,
    break: () => {
      isBroken = true;
    },
  };
};

test("an error of one condition ends the wait of its caller alone", async () => {
  const advances = new Advances();
  const condition = faulty();
  let isDone = false;
  const broken = expect(advances.until(condition.isDone, 60_000)).rejects.toThrow("a bug");
  const other = advances.until(() => isDone, 60_000);
  condition.break();
  isDone = true;
  expect(() => advances.announce()).not.toThrow();
  await broken;
  await other;
  expect(vi.getTimerCount()).toBe(0);
});

test("an error of a condition that the clock checks ends the wait, not the process", async () => {
  const condition = faulty();
  const broken = expect(new Advances().until(condition.isDone, 60_000, 10)).rejects.toThrow("a bug");
  condition.break();
  await vi.advanceTimersByTimeAsync(10);
  await broken;
});

test("a condition that a clock makes true is checked at that time, and the wait is over at its limit", async () => {
  const advances = new Advances();
  let isDone = false;
  const reached = advances.until(() => isDone, 1_000, 10);
  const never = expect(advances.until(() => false, 1_000, 10)).rejects.toMatchObject({ code: "unavailable" });
  isDone = true;
  await vi.advanceTimersByTimeAsync(10);
  await reached;
  await vi.advanceTimersByTimeAsync(990);
  await never;
});

import { expect, onTestFinished, test, vi } from "vitest";
import { Openings } from "../../../src/push/openings.ts";

function setUp(begun: number) {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const openings = new Openings();
  for (let i = 0; i < begun; i++) openings.begun();
  const ended = new AbortController();
  let isOver = false;
  const wait = async (most: number) => {
    await openings.untilAtMost(most, 1_000, ended.signal);
    isOver = true;
  };
  /** @returns Whether the wait is over, after everything that is due has run. */
  const after = async (ms: number) => {
    await vi.advanceTimersByTimeAsync(ms);
    return isOver;
  };
  return { openings, ended, wait, after };
}

test("a take-over waits for the registration after which few enough are being opened, and only for that", async () => {
  const { openings, wait, after } = setUp(5);
  const waiting = wait(3);
  openings.ended();
  expect(await after(999)).toBe(false);
  // No timer but that of the longest wait: a wait costs nothing.
  expect(vi.getTimerCount()).toBe(1);
  openings.ended();
  expect(await after(0)).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  await waiting;
});

test("a take-over does not wait when few enough are being opened", async () => {
  const { wait, after } = setUp(3);
  await wait(3);
  expect(await after(0)).toBe(true);
});

test("a registration that is slow to open holds a take-over up until the longest wait, and no longer", async () => {
  const { openings, wait, after } = setUp(4);
  const waiting = wait(3);
  expect(await after(999)).toBe(false);
  expect(await after(1)).toBe(true);
  await waiting;
  openings.ended();
  expect(openings.count).toBe(3);
});

test("the end of the partition ends the wait", async () => {
  const { ended, wait, after } = setUp(4);
  const waiting = wait(3);
  ended.abort();
  expect(await after(0)).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  await waiting;
  await wait(0);
});

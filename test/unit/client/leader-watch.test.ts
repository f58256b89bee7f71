/** How a tab notices that the leading tab is silent. */
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { LeaderWatch } from "../../../src/client/tabs/leader-watch.ts";
import { createTabClient } from "../../../src/client/tabs/tabs.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function watch() {
  const [ping, silent] = [vi.fn(), vi.fn()];
  const watching = new LeaderWatch(10_000, ping, silent);
  watching.start();
  onTestFinished(() => watching.stop());
  return { ping, silent, watching };
}

test("a leading tab that answers is never taken for silent", () => {
  const { ping, silent, watching } = watch();
  ping.mockImplementation(() => watching.heard());
  vi.advanceTimersByTime(600_000);
  expect(ping).toHaveBeenCalledTimes(240);
  expect(silent).not.toHaveBeenCalled();
});

test("a leading tab is silent after four pings without an answer, 10 s after the first one", () => {
  const { ping, silent } = watch();
  vi.advanceTimersByTime(12_400);
  expect([ping.mock.calls.length, silent.mock.calls.length]).toEqual([4, 0]);
  vi.advanceTimersByTime(200);
  expect([ping.mock.calls.length, silent.mock.calls.length]).toEqual([4, 1]);
});

test("a tab that was frozen itself asks again before it takes the leading tab for silent", () => {
  const { silent, watching } = watch();
  vi.advanceTimersByTime(2_600);
  vi.setSystemTime(Date.now() + 3_600_000);
  vi.advanceTimersByTime(7_500);
  expect(silent).not.toHaveBeenCalled();
  watching.heard();
  vi.advanceTimersByTime(10_000);
  expect(silent).not.toHaveBeenCalled();
});

test("nothing is asked after the end", () => {
  const { ping, watching } = watch();
  watching.stop();
  vi.advanceTimersByTime(60_000);
  expect(ping).not.toHaveBeenCalled();
});

test("a leader must be silent for at least a second before it is replaced", () => {
  const options = { url: "ws://127.0.0.1:1", scope: "u1", autoConnect: false } as const;
  for (const leaderSilenceMs of [999, 0, Number.NaN])
    expect(() => createTabClient({ ...options, leaderSilenceMs })).toThrow(RangeError);
  createTabClient({ ...options, leaderSilenceMs: 1_000 }).close();
});

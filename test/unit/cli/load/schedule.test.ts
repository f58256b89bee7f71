import { expect, test } from "vitest";
import { dueAfterMs, dueCount, TICK_MS } from "../../../../src/cli/load/schedule.ts";

test.each([0.1, 1, 3, 7, 10, 30, 99.9, 100, 333, 1_000, 100_000])(
  "at %d writes per second, each write is due at the first tick at which it is counted",
  (rate) => {
    for (const count of [1, 2, 3, 10, 1_000, 12_345, 999_999]) {
      const atMs = dueAfterMs(count, rate);
      expect(atMs % TICK_MS).toBe(0);
      expect(dueCount(atMs, rate)).toBeGreaterThanOrEqual(count);
      expect(dueCount(atMs - TICK_MS, rate)).toBeLessThan(count);
    }
  },
);

test("a second has as many writes as the rate says, and its start has none", () => {
  expect(dueCount(0, 50)).toBe(0);
  expect(dueCount(1_000, 50)).toBe(50);
  expect(dueCount(60_000, 0.5)).toBe(30);
  expect(dueAfterMs(50, 50)).toBe(1_000);
});

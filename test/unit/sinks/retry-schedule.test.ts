import { expect, test } from "vitest";
import { SinkOptions } from "../../../src/sinks/options.ts";
import { outageDelayMs, retryDelayMs } from "../../../src/sinks/retry-schedule.ts";

const to = { redis: { url: "redis://127.0.0.1", stream: "s" } };
const { retry } = SinkOptions.parse({ collection: "orders", to });

test("the default schedule has 10 attempts over about 75 hours", () => {
  const delays = Array.from({ length: 9 }, (_, index) => retryDelayMs(index + 1, retry, 0.5) ?? 0);
  const hours = delays.reduce((sum, delayMs) => sum + delayMs, 0) / 3_600_000;
  expect(delays[0]).toBe(5_000);
  expect(hours).toBeGreaterThan(74);
  expect(hours).toBeLessThan(77);
  expect(retryDelayMs(10, retry)).toBeNull();
});

test("delays differ by at most a tenth, so that retries do not come in waves", () => {
  expect(retryDelayMs(1, retry, 0)).toBe(4_500);
  expect(retryDelayMs(1, retry, 1)).toBe(5_500);
});

test("a single attempt is never repeated", () => {
  expect(retryDelayMs(1, { ...retry, attempts: 1 })).toBeNull();
});

test("a target that stays down is tried at most twice a minute", () => {
  expect(outageDelayMs(1, 0.5)).toBe(500);
  expect(outageDelayMs(2, 0.5)).toBe(1_000);
  expect(outageDelayMs(50, 0.5)).toBe(30_000);
});

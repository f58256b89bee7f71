import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Outage } from "../../../src/sinks/outage.ts";
import { guardParts } from "../../support/guard-parts.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function outageOf() {
  const onRetry = vi.fn();
  return { outage: new Outage(guardParts(), onRetry), onRetry };
}

test("waits at least as long as its own back-off, even if the receiver asks for no wait", async () => {
  const { outage, onRetry } = outageOf();
  for (let failures = 1; failures <= 3; failures++) {
    outage.begin(0);
    await vi.advanceTimersByTimeAsync(400 * 2 ** (failures - 1));
    expect(outage.isWaiting).toBe(true);
    await vi.advanceTimersByTimeAsync(200 * 2 ** (failures - 1));
    expect(onRetry).toHaveBeenCalledTimes(failures);
  }
});

test("waits as long as the receiver asks for", async () => {
  const { outage, onRetry } = outageOf();
  outage.begin(60_000);
  await vi.advanceTimersByTimeAsync(59_000);
  expect(onRetry).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1_001);
  expect(onRetry).toHaveBeenCalledTimes(1);
});

test("the wait can be ended, and then there is none to end", async () => {
  const { outage, onRetry } = outageOf();
  outage.begin(86_400_000);
  outage.retryNow();
  outage.retryNow();
  expect(outage.isWaiting).toBe(false);
  expect(outage.isGoingOn).toBe(true);
  await vi.advanceTimersByTimeAsync(86_400_001);
  expect(onRetry).toHaveBeenCalledTimes(1);
});

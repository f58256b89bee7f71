import fc from "fast-check";
import { expect, test } from "vitest";
import { RuleClock } from "../../../src/gateway/rights/rule-clock.ts";

test("the time of the rules is the step that has begun, until the caller advances it", () => {
  const clock = new RuleClock(60_000, 1_000_030_000);
  expect(clock.nowMs).toBe(1_000_020_000);
  expect(clock.nextMs).toBe(1_000_080_000);
  expect(clock.advance(1_000_079_999)).toBe(false);
  expect(clock.advance(1_000_080_000)).toBe(true);
  expect(clock.nowMs).toBe(1_000_080_000);
});

test("the time of the rules never goes back, and is never ahead of the clock unless that was set back", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1_000, max: 3_600_000 }),
      fc.array(fc.integer({ min: -100_000, max: 500_000 }), { maxLength: 50 }),
      (stepMs, moves) => {
        let nowMs = 1_700_000_000_000;
        let latestMs = nowMs;
        const clock = new RuleClock(stepMs, nowMs);
        for (const move of moves) {
          nowMs += move;
          latestMs = Math.max(latestMs, nowMs);
          const beforeMs = clock.nowMs;
          const moved = clock.advance(nowMs);
          expect(moved).toBe(clock.nowMs > beforeMs);
          expect(clock.nowMs).toBeGreaterThanOrEqual(beforeMs);
          expect(clock.nowMs).toBeLessThanOrEqual(latestMs);
          expect(latestMs - clock.nowMs).toBeLessThan(stepMs);
          expect(clock.nowMs % stepMs).toBe(0);
        }
      },
    ),
  );
});

test("an edit brings other steps at once, and the same steps change nothing", () => {
  const clock = new RuleClock(60_000, 1_000_030_000);
  clock.setStep(60_000, 1_000_090_000);
  expect(clock.nowMs).toBe(1_000_020_000);
  clock.setStep(1_000, 1_000_090_500);
  expect([clock.nowMs, clock.nextMs]).toEqual([1_000_090_000, 1_000_091_000]);
});

test("rules with the same step are tried at the time of the node, rules with another at a time of their own", () => {
  const clock = new RuleClock(60_000, 60_000);
  expect([clock.at(60_000, 179_999), clock.at(10_000, 179_999)]).toEqual([60_000, 170_000]);
});

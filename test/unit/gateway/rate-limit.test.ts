import fc from "fast-check";
import { expect, test } from "vitest";
import { RateLimit } from "../../../src/gateway/connection/rate-limit.ts";

test("gives out the burst at once, then as much as the rate brings", () => {
  const limit = new RateLimit(10, 5, 0);
  for (let n = 0; n < 5; n++) expect(limit.take(1, 0)).toBe(true);
  expect(limit.take(1, 0)).toBe(false);
  expect(limit.waitMs(1)).toBe(100);
  expect(limit.take(1, 99)).toBe(false);
  expect(limit.take(1, 100)).toBe(true);
  expect(limit.take(1, 100)).toBe(false);
});

test("never saves up more than the burst", () => {
  const limit = new RateLimit(1_000, 3, 0);
  for (let n = 0; n < 3; n++) expect(limit.take(1, 3_600_000)).toBe(true);
  expect(limit.take(1, 3_600_000)).toBe(false);
});

test("an amount above the burst takes the whole burst, and is admitted", () => {
  const limit = new RateLimit(1, 4, 0);
  expect(limit.take(100, 0)).toBe(true);
  expect(limit.take(1, 0)).toBe(false);
  expect(limit.waitMs(100)).toBe(4_000);
  expect(limit.take(100, 4_000)).toBe(true);
});

test("a request that waits for waitMs is admitted, also after fractions of a token came back", () => {
  for (const [afterMs, isAdmitted] of [
    [85, false],
    [86, true],
  ] as const) {
    const limit = new RateLimit(10, 6, 0);
    expect([limit.take(3, 0), limit.take(2, 7), limit.take(2, 14)]).toEqual([true, true, false]);
    expect(limit.waitMs(2)).toBe(86);
    expect(limit.take(2, 14 + afterMs)).toBe(isAdmitted);
  }
});

test("is full again when nothing is owed", () => {
  const limit = new RateLimit(2, 4, 0);
  expect(limit.isFull(0)).toBe(true);
  limit.take(4, 0);
  expect(limit.isFull(1_999)).toBe(false);
  expect(limit.isFull(2_000)).toBe(true);
});

test("a clock that goes back gives nothing and takes nothing", () => {
  const limit = new RateLimit(10, 1, 10_000);
  expect(limit.take(1, 10_000)).toBe(true);
  expect(limit.take(1, 5_000)).toBe(false);
  expect(limit.take(1, 5_050)).toBe(false);
});

test("in any span never more than the burst and what the rate brings meanwhile, and after waitMs it is there", () => {
  const steps = fc.array(fc.record({ waitMs: fc.nat(500), cost: fc.integer({ min: 1, max: 3 }) }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(
      fc.oneof(fc.integer({ min: 1, max: 50 }), fc.constant(10 / 60), fc.constant(7 / 60)),
      fc.integer({ min: 3, max: 20 }),
      steps,
      (rate, burst, list) => {
        const limit = new RateLimit(rate, burst, 0);
        let nowMs = 0;
        let taken = 0;
        for (const { waitMs, cost } of list) {
          nowMs += waitMs;
          if (limit.take(cost, nowMs)) taken += cost;
          else expect(limit.take(cost, nowMs + limit.waitMs(cost))).toBe(true);
          if (taken > burst + (rate * nowMs) / 1_000 + 2e-6) return false;
          // The look ahead has moved the clock and taken tokens, so the check starts again from there.
          if (limit.waitMs(1) > 0) break;
        }
        return true;
      },
    ),
  );
});

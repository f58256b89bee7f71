import { expect, test } from "vitest";
import { preciseClock, preciseNow } from "../../../src/metrics/precise-now.ts";

/** A machine whose clock can be set, and a clock of a process that began with it at 1,000. */
function machine() {
  let elapsedMs = 0;
  let setByMs = 0;
  const now = preciseClock(
    () => Math.floor(1_000 + elapsedMs + setByMs),
    () => elapsedMs,
    1_000,
  );
  return {
    now,
    pass: (ms: number) => {
      elapsedMs += ms;
    },
    set: (ms: number) => {
      setByMs += ms;
    },
  };
}

test("keeps fractions of a millisecond, which the system's clock has not", () => {
  const { now, pass } = machine();
  pass(0.25);
  expect(now()).toBe(1_000.25);
  pass(1_000.5);
  expect(now()).toBe(2_000.75);
});

test.each([50_000, -50_000])("follows a system clock that was set by %d ms", (byMs) => {
  const { now, pass, set } = machine();
  pass(10);
  set(byMs);
  expect(now()).toBe(1_010 + byMs);
  pass(0.5);
  expect(now()).toBe(1_010.5 + byMs);
});

test("goes on counting while the system's clock is corrected by little", () => {
  const { now, pass, set } = machine();
  pass(10);
  set(-3);
  expect(now()).toBe(1_010);
});

test("agrees with the clock of this machine", () => {
  expect(Math.abs(preciseNow() - Date.now())).toBeLessThan(100);
});

import { expect, test } from "vitest";
import { ServerClock } from "../../../src/source/server-clock.ts";

/** A clock of this machine that moves by `stepMs` with each look, and a server that is `aheadMs` of it. */
function clockWith(aheadMs: number, stepMs = 10) {
  let localMs = 1_000_000;
  const look = () => {
    localMs += stepMs;
    return localMs;
  };
  return new ServerClock(async () => look() + aheadMs, look);
}

test.each([0, 5, -5])(
  "a difference of %i ms, within the time of the answer, counts as none",
  async (aheadMs) => {
    const clock = clockWith(aheadMs);
    await clock.start();
    clock.stop();
    expect(clock.offsetMs).toBe(0);
  },
);

test.each([
  [90_000, 89_990],
  [-90_000, -89_990],
])(
  "a server that is %i ms ahead is followed, to within the time of the answer",
  async (aheadMs, offsetMs) => {
    const clock = clockWith(aheadMs);
    await clock.start();
    clock.stop();
    expect(clock.offsetMs).toBe(offsetMs);
  },
);

test("a server that does not tell its time is an error at the start", async () => {
  const clock = new ServerClock(async () => Promise.reject(new Error("no answer")));
  await expect(clock.start()).rejects.toThrow("no answer");
});

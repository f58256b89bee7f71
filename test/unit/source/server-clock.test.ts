import { MongoNetworkError } from "mongodb";
import { expect, onTestFinished, test, vi } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { ServerClock } from "../../../src/source/server-clock.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { recordingLog } from "../../support/node.ts";

/** A clock of this machine that moves by `stepMs` with each look, and a server that is `aheadMs` of it. */
function clockWith(aheadMs: number, stepMs = 10) {
  let localMs = 1_000_000;
  const look = () => {
    localMs += stepMs;
    return localMs;
  };
  return new ServerClock(async () => look() + aheadMs, guardParts(), look);
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

test("a server that does not report its time is an error at the start", async () => {
  const clock = new ServerClock(async () => Promise.reject(new Error("no answer")), guardParts());
  await expect(clock.start()).rejects.toThrow("no answer");
});

/** A clock that started well and then meets `error` at each reading; gives the warnings and the contained errors. */
async function laterFailing(error: Error) {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { log, warnings } = recordingLog();
  const metrics = createMetrics();
  let readings = 0;
  const read = async () => {
    if (readings++ > 0) throw error;
    return 90_000;
  };
  const clock = new ServerClock(read, { log, metrics }, () => 0);
  await clock.start();
  await vi.advanceTimersByTimeAsync(60_000);
  clock.stop();
  const { values } = await metrics.unexpectedErrors.get();
  return { clock, readings, warnings: warnings(), faults: values.map(({ labels }) => labels["where"]) };
}

test("an outage leaves the last difference in force and a warning in the log", async () => {
  const { clock, ...rest } = await laterFailing(new MongoNetworkError("gone"));
  expect(clock.offsetMs).toBe(90_000);
  const warning = expect.stringContaining("the last difference stays in force");
  expect(rest).toEqual({ readings: 2, warnings: [warning], faults: [] });
});

test("an unexpected error while the clock is read is contained and counted", async () => {
  const { clock, faults } = await laterFailing(new TypeError("a bug"));
  expect(clock.offsetMs).toBe(90_000);
  expect(faults).toEqual(["source.clock"]);
});

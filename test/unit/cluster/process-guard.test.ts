import { EventEmitter } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ESCAPED_ERROR, guardProcess } from "../../../src/cluster/process-guard.ts";
import { recordingLog } from "../../support/node.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A process that says what becomes of it, and does not end. */
class FakeProcess extends EventEmitter {
  readonly exits: unknown[] = [];
  exit(code: unknown): never {
    this.exits.push(code);
    return undefined as never; // it goes on, unlike the real one
  }
}

function guard(drain: () => Promise<void>) {
  const fake = new FakeProcess();
  const { log, errors } = recordingLog();
  guardProcess({ log, drainTimeoutMs: 1_000, drain }, fake as never); // all that the guard asks of a process
  const throwOut = (error: unknown) => fake.emit("uncaughtException", error, "uncaughtException");
  return { fake, errors, throwOut };
}

test("an error that escapes is logged with a reference, and the process ends once its clients are handed over", async () => {
  let handedOver = () => {};
  const { fake, errors, throwOut } = guard(() => new Promise((resolve) => (handedOver = resolve)));
  throwOut(new Error("injected"));
  expect(errors()).toEqual([expect.stringContaining("an error escaped")]);
  expect(fake.exits).toEqual([]);
  handedOver();
  await vi.advanceTimersByTimeAsync(0);
  expect(fake.exits).toEqual([ESCAPED_ERROR]);
});

test("a hand-over that fails ends the process all the same", async () => {
  const { fake, throwOut } = guard(() => Promise.reject(new Error("no hand-over")));
  throwOut(new Error("injected"));
  await vi.advanceTimersByTimeAsync(0);
  expect(fake.exits).toEqual([ESCAPED_ERROR]);
});

test("a hand-over that never ends is given its time and no more", async () => {
  const { fake, throwOut } = guard(() => new Promise(() => {}));
  throwOut(new Error("injected"));
  await vi.advanceTimersByTimeAsync(10_999);
  expect(fake.exits).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(fake.exits).toEqual([ESCAPED_ERROR]);
});

test("an error that repeats begins one hand-over, and does not fill the log", async () => {
  const drain = vi.fn(() => new Promise<void>(() => {}));
  const { errors, throwOut } = guard(drain);
  for (let n = 0; n < 1_000; n++) throwOut(new Error("injected"));
  expect(drain).toHaveBeenCalledTimes(1);
  expect(errors()).toHaveLength(10);
});

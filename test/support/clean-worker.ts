/**
 * The unit tests share their worker threads and every loaded module, because loading the modules again for each file
 * took longer than the tests. This file runs around each test file, and fails one that leaves something behind for the
 * next: an environment variable, a global, a listener of the process, a timer or a mock.
 */
import { afterAll, expect, vi } from "vitest";

const EVENTS = ["message", "uncaughtException", "unhandledRejection", "SIGINT", "SIGTERM", "SIGHUP"];

/** The state of the worker that a test file can change for the files after it. */
const state = () => ({
  environment: { ...process.env },
  // Libraries add theirs when they are loaded, with two underscores.
  globals: Object.getOwnPropertyNames(globalThis).filter((name) => !name.startsWith("__")),
  listeners: EVENTS.map((name) => `${name}: ${process.listenerCount(name)}`),
  realClock: Date.now === realNow && setTimeout === realSetTimeout && Math.random === realRandom,
});

const { now: realNow } = Date;
const realSetTimeout = setTimeout;
const { random: realRandom } = Math;
const before = state();

afterAll(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
  expect(vi.isFakeTimers(), "fake timers are left to the next test file").toBe(false);
  expect(state(), "the worker is not as this test file found it").toEqual(before);
});

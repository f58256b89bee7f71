import { expect, test } from "vitest";
import { actionFor, Reconnect, TOKEN_ATTEMPTS_MAX } from "../../../src/client/reconnect.ts";
import { CLOSE_CODES } from "../../../src/protocol/close-codes.ts";

const ADVICE = { minMs: 100, maxMs: 1_000, factor: 2, stableAfterMs: 5_000 };
/** The upper end of each delay. */
const always = () => 1;

const delayOf = (step: ReturnType<Reconnect["closed"]>) =>
  step.action === "connect" ? step.delayMs : undefined;

test.each([
  ["serviceRestart", "back-off"],
  ["overloaded", "back-off"],
  ["noPong", "back-off"],
  ["stalled", "back-off"],
  ["maximumAge", "back-off"],
  ["disconnected", "back-off"],
  ["tokenExpired", "token"],
  ["keyUnknown", "token"],
  ["tokenRevoked", "token"],
  ["nodeFull", "wait"],
  ["tooManyConnections", "wait"],
  ["drained", "wait"],
  ["malformedMessage", "stop"],
  ["notAuthenticated", "stop"],
  ["notAllowed", "stop"],
  ["noHello", "stop"],
  ["abuse", "stop"],
  ["tooLarge", "stop"],
  ["protocolError", "stop"],
  ["invalidText", "stop"],
  ["bug", "stop"],
] as const)("[5] takes %s for: %s", (name, action) => {
  expect(actionFor(CLOSE_CODES[name])).toBe(action);
});

test("every close code of the protocol is judged above", () => {
  expect(Object.keys(CLOSE_CODES)).toHaveLength(21);
});

test.each([
  [1000, "back-off"],
  [1001, "back-off"],
  [1002, "stop"],
  [1006, "back-off"],
  [1007, "stop"],
  [4000, "back-off"],
  [4099, "back-off"],
  [4100, "token"],
  [4199, "token"],
  [4200, "wait"],
  [4299, "wait"],
  [4300, "back-off"],
  [4400, "stop"],
  [4499, "stop"],
  [4500, "back-off"],
] as const)("[5] judges a code by its range, known or not: %i is %s", (code, action) => {
  expect(actionFor(code)).toBe(action);
});

test("[5] backs off with full jitter, up to the ends that welcome names", () => {
  const dice = [0, 0.5, 1, 1, 1, 1, 1];
  const reconnect = new Reconnect(() => dice.shift() ?? Number.NaN);
  reconnect.welcomed(ADVICE, 0);
  const delays = Array.from({ length: 7 }, () => delayOf(reconnect.closed(1006, 0)));
  expect(delays).toEqual([0, 100, 400, 800, 1_000, 1_000, 1_000]);
});

test("[5] starts the back-off over only after a connection has lasted stableAfterMs", () => {
  const reconnect = new Reconnect(always);
  reconnect.welcomed(ADVICE, 0);
  expect(delayOf(reconnect.closed(1006, 100))).toBe(100);
  reconnect.welcomed(ADVICE, 1_000);
  expect(delayOf(reconnect.closed(1006, 1_000 + 4_999))).toBe(200);
  reconnect.welcomed(ADVICE, 10_000);
  expect(delayOf(reconnect.closed(1006, 10_000 + 5_000))).toBe(100);
});

test("a connection that was never welcomed does not start the back-off over, however long it took", () => {
  const reconnect = new Reconnect(always);
  reconnect.welcomed(ADVICE, 0);
  reconnect.closed(1006, 0);
  expect(delayOf(reconnect.closed(1006, 1_000_000))).toBe(200);
});

test("[5] asks for a new token three times without a welcome between, then stops", () => {
  const reconnect = new Reconnect(always);
  for (let attempt = 0; attempt < TOKEN_ATTEMPTS_MAX; attempt++) {
    expect(reconnect.closed(4100, 0)).toMatchObject({ action: "connect", withNewToken: true });
  }
  expect(reconnect.closed(4100, 0)).toEqual({ action: "stop" });
});

test("[5] a welcome gives all three tokens back", () => {
  const reconnect = new Reconnect(always);
  for (let attempt = 0; attempt < TOKEN_ATTEMPTS_MAX; attempt++) reconnect.closed(4101, 0);
  reconnect.welcomed(ADVICE, 0);
  expect(reconnect.closed(4101, 0)).toMatchObject({ action: "connect", withNewToken: true });
});

test("[5] waits for the time that the service named, and then for its back-off", () => {
  const reconnect = new Reconnect(always);
  reconnect.welcomed(ADVICE, 0);
  reconnect.waitAtLeast(5_000, 0);
  expect(delayOf(reconnect.closed(4200, 1_000))).toBe(4_100);
  expect(delayOf(reconnect.closed(4200, 5_000))).toBe(200);
});

test("comes back with the token it has where the code does not ask for another", () => {
  expect(new Reconnect(always).closed(1006, 0)).toMatchObject({ withNewToken: false });
});

test("the application's own settings go before the service's advice", () => {
  const reconnect = new Reconnect(always, { minMs: 7 });
  reconnect.welcomed(ADVICE, 0);
  expect([1, 2].map(() => delayOf(reconnect.closed(1006, 0)))).toEqual([7, 14]);
});

test.each([0, 0.01, 0.5, 1])("begins no more than 12 connections in any minute, with dice of %d", (dice) => {
  const reconnect = new Reconnect(() => dice);
  const begun: number[] = [];
  for (let nowMs = 0; nowMs < 600_000; ) {
    reconnect.attempted(nowMs);
    begun.push(nowMs);
    nowMs += Math.max(1, Math.ceil(delayOf(reconnect.closed(1006, nowMs)) ?? Number.NaN));
  }
  const inAMinute = begun.map((from) => begun.filter((at) => at >= from && at < from + 60_000).length);
  expect(Math.max(...inAMinute)).toBeLessThanOrEqual(12);
  expect(begun.length).toBeGreaterThan(15);
});

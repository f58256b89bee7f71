import {
  MongoNetworkError,
  MongoNetworkTimeoutError,
  MongoServerError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
  type TopologyDescription,
} from "mongodb";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { downReasonOf, StreamStalledError } from "../../../src/source/stream-errors.ts";
import { StreamOutage } from "../../../src/source/stream-outage.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const refusal = (code: number, errorLabels: string[] = []) =>
  new MongoServerError({ message: "no", code, errorLabels });

/** The error of a driver that found no server, given its knowledge of each. */
function noServer(...servers: { type: string; error?: Error }[]): MongoServerSelectionError {
  const description = { servers: new Map(servers.map((server, index) => [`h:${index}`, server])) };
  // As much of it as is looked at.
  return new MongoServerSelectionError("none", description as unknown as TopologyDescription);
}

const timeout = new MongoNetworkTimeoutError("late");
const refused = new MongoNetworkError("ECONNREFUSED");

test.each([
  [new StreamStalledError("late"), "no-answer"],
  [timeout, "no-answer"],
  [new MongoNetworkError("interrupted", { cause: timeout }), "no-answer"],
  [refused, "unreachable"],
  [noServer({ type: "Unknown", error: refused }), "unreachable"],
  [noServer(), "unreachable"],
  [noServer({ type: "Unknown", error: refused }, { type: "Unknown", error: timeout }), "no-answer"],
  [noServer({ type: "Unknown", error: timeout }, { type: "RSSecondary" }), "no-primary"],
  [refusal(10_107), "no-primary"],
  [refusal(189), "no-primary"],
  [refusal(13), "refused"],
  [refusal(40_573), "refused"],
  [refusal(286), "position-lost"],
  [refusal(1, ["NonResumableChangeStreamError"]), "position-lost"],
  [Object.assign(new Error("write ECONNRESET"), { code: "ECONNRESET", syscall: "write" }), "unreachable"],
  [new MongoTopologyClosedError("closed"), "unreachable"],
  [new Error("a bug"), "other"],
  ["not even an error", "other"],
])("reports %s as %s", (error, reason) => {
  expect(downReasonOf(error)).toBe(reason);
});

function startOutage() {
  const lines: { level: number; msg: string; downSeconds?: number; reason?: string }[] = [];
  const log = pino({ level: "info" }, { write: (line) => lines.push(JSON.parse(line)) });
  const metrics = createMetrics();
  const outage = new StreamOutage(log, metrics);
  const measured = async () => {
    const { values } = await metrics.streamDownSeconds.get();
    return values.filter(({ value }) => value > 0).map(({ labels, value }) => [labels["reason"], value]);
  };
  const said = () => lines.splice(0).map(({ msg, downSeconds, reason }) => [msg, reason, downSeconds]);
  return { outage, measured, said };
}

test("says once that the stream is down, repeats it at growing intervals, and says when it is up again", async () => {
  const { outage, measured, said } = startOutage();
  outage.ended();
  expect([outage.current, await measured(), said()]).toEqual([null, [], []]);

  const lastAnswerMs = Date.now();
  vi.advanceTimersByTime(4_000);
  outage.failed(timeout, lastAnswerMs);
  outage.failed(refused, lastAnswerMs);
  expect(said()).toEqual([["the change stream is down; opening it again", "no-answer", undefined]]);
  expect(outage.current).toEqual({ reason: "unreachable", seconds: 4 });
  expect(await measured()).toEqual([["unreachable", 4]]);

  vi.advanceTimersByTime(160_000);
  expect(said()).toEqual(
    [14, 34, 74, 134].map((seconds) => ["the change stream is still down", "unreachable", seconds]),
  );

  outage.ended();
  expect(said()).toEqual([["the change stream is up again", "unreachable", 164]]);
  expect([outage.current, await measured()]).toEqual([null, []]);
  vi.advanceTimersByTime(600_000);
  expect(said()).toEqual([]);
});

test("keeps the reason where a client was merely abandoned because of it", () => {
  const { outage } = startOutage();
  outage.failed(timeout, Date.now());
  outage.failed(new MongoTopologyClosedError("closed"), Date.now());
  expect(outage.current?.reason).toBe("no-answer");
});

test("counts from the start where the stream was never up, and is silent where nothing failed", async () => {
  const { outage, measured, said } = startOutage();
  vi.advanceTimersByTime(3_000);
  expect(await measured()).toEqual([["starting", 3]]);
  outage.failed(refused, 0);
  expect(outage.current).toEqual({ reason: "unreachable", seconds: 3 });
  outage.ended();
  expect(said()).toHaveLength(2);
});

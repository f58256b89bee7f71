/** Messages and targets as a sink has them. */
import { pino } from "pino";
import { onTestFinished } from "vitest";
import { createMetrics } from "../../src/metrics/metrics.ts";
import type { SinkMessage, Target } from "../../src/sinks/target.ts";
import { makeTarget } from "../../src/sinks/targets/make-target.ts";
import { targetSchema } from "../../src/sinks/targets/options.ts";

/** @param key The `_id` as JSON. */
export function sinkMessage(id: string, key = JSON.stringify(id), data: unknown = { n: 1 }): SinkMessage {
  const event = {
    specversion: "1.0",
    id,
    source: "/tidewire/late-orders",
    type: "tidewire.orders.added",
    subject: key,
    time: "2026-03-01T12:00:00.000Z",
    datacontenttype: "application/json",
    data,
  };
  return { id, key, event };
}

/** Messages `PREFIX0`, `PREFIX1`, …, each with a key of its own. */
export const sinkMessages = (count: number, prefix = "m"): SinkMessage[] =>
  Array.from({ length: count }, (_, index) => sinkMessage(`${prefix}${index}`));

export const ACCEPTED = { kind: "accepted" } as const;

/** A signal that nobody aborts. */
export const forever = (): AbortSignal => new AbortController().signal;

/** The target that a sink of these options would have. */
export async function targetOf(to: unknown): Promise<Target> {
  const parts = { sink: "late-orders", log: pino({ level: "silent" }), metrics: createMetrics() };
  const target = await makeTarget(targetSchema.parse(to), parts);
  onTestFinished(() => target.close());
  return target;
}

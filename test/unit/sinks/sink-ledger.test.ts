import { expect, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { isInterrupted, NEW_STATE } from "../../../src/sinks/sink-documents.ts";
import { SinkLedger } from "../../../src/sinks/sink-ledger.ts";

const readingOf = async (gauge: { get(): Promise<{ values: { value: number }[] }> }) =>
  (await gauge.get()).values[0]?.value;

test("a process that does not run the sink any more shows nothing as waiting", async () => {
  const metrics = createMetrics();
  const ledger = new SinkLedger("late", NEW_STATE, metrics);
  ledger.noteSpooled(300);
  ledger.noteParked(1);
  ledger.noteOldest(1_000, 61_000);
  expect(await readingOf(metrics.sinkLag)).toBe(60);
  expect(await readingOf(metrics.sinkSpooledBytes)).toBe(300);
  ledger.retire();
  for (const gauge of [
    metrics.sinkLag,
    metrics.sinkSpooledMessages,
    metrics.sinkSpooledBytes,
    metrics.sinkParkedMessages,
  ])
    expect(await readingOf(gauge)).toBe(0);
});

test("counts never fall below nothing, and an empty spool has no bytes", () => {
  const ledger = new SinkLedger("late", NEW_STATE, createMetrics());
  ledger.noteSpooled(300);
  ledger.noteSpooled(-299);
  expect([ledger.spooledMessages, ledger.spooledBytes]).toEqual([0, 0]);
  ledger.noteParked(-1);
  expect(ledger.parked).toBe(0);
});

test("a snapshot that its holder has not completed is noticed once", () => {
  const position = { cursor: "c", ticket: "t" };
  expect(isInterrupted(NEW_STATE)).toBe(false);
  expect(isInterrupted({ ...NEW_STATE, position, lastSeq: 3 })).toBe(false);
  const begun = { ...NEW_STATE, lastSeq: 3 };
  expect(isInterrupted(begun)).toBe(true);
  const ledger = new SinkLedger("late", begun, createMetrics());
  ledger.noteReset({ at: new Date(0), reason: "snapshot-interrupted" });
  expect(isInterrupted(ledger.state(null, 3))).toBe(false);
  expect(isInterrupted(ledger.state(null, 4))).toBe(true);
});

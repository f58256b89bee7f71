/** Snapshots of large documents, for clients that read slowly or not at all. */
import { afterEach, expect, test, vi } from "vitest";
import { SnapshotCursor } from "../../../src/source/snapshot-cursor.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { follow, Recorder } from "../../support/recorder.ts";

const PATIENCE = { timeout: 60_000 };
const DOCUMENTS = 60;
const PAD_BYTES = 200_000;

afterEach(() => {
  vi.restoreAllMocks();
});

test("[G6] a snapshot of large documents waits for a slow reader in small batches, and is the same in the end", async () => {
  const { db, feed, metrics, spec } = await startFeed();
  const pad = "x".repeat(PAD_BYTES);
  const documents = Array.from({ length: DOCUMENTS }, (_, _id) => ({ _id, pad }));
  await db.collection<{ _id: number; pad: string }>("things").insertMany(documents);
  const batches: number[] = [];
  const next = SnapshotCursor.prototype.next;
  vi.spyOn(SnapshotCursor.prototype, "next").mockImplementation(async function (this: SnapshotCursor) {
    const batch = await next.call(this);
    batches.push(batch.reduce((sum, document) => sum + document.length, 0));
    return batch;
  });
  const slow = new Recorder();
  slow.hasRoom = false;
  await follow(feed, spec(), slow);
  const held = async () => (await metrics.snapshotCacheBytes.get()).values[0]?.value ?? 0;
  await expect.poll(held, PATIENCE).toBeGreaterThan(PAD_BYTES);
  expect(await held()).toBeLessThan(2 * 1_048_576);
  slow.drain();
  await expect.poll(() => slow.live, PATIENCE).toBe(1);
  expect(slow.state.size).toBe(DOCUMENTS);
  expect(Math.max(...batches)).toBeLessThanOrEqual(1_048_576);
});

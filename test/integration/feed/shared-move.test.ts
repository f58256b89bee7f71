/** A change of rights that concerns many at once. */
import { afterEach, expect, test, vi } from "vitest";
import type { Chunk } from "../../../src/feed/chunk.ts";
import { SnapshotCursor } from "../../../src/source/snapshot-cursor.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { FRESH, follow, Recorder, terms } from "../../support/recorder.ts";

const PATIENCE = { timeout: 60_000 };
const CLIENTS = 20;

class ChunkRecorder extends Recorder {
  readonly chunks: Chunk[] = [];

  override write(chunk: Chunk): boolean {
    const taken = super.write(chunk);
    if (taken) this.chunks.push(chunk);
    return taken;
  }
}

afterEach(() => {
  vi.restoreAllMocks();
});

test("[G6] the difference of one edit is read once and held once, however many clients it moves", async () => {
  const { db, feed, spec } = await startFeed();
  await db.collection<{ _id: number; n: number }>("things").insertMany([1, 2, 3].map((n) => ({ _id: n, n })));
  const narrow = spec({ n: { $lt: 3 } });
  const sinks = Array.from({ length: CLIENTS }, () => new ChunkRecorder());
  const joined = await Promise.all(sinks.map((sink) => follow(feed, narrow, sink, FRESH)));
  await expect.poll(() => sinks.every(({ live }) => live === 1), PATIENCE).toBe(true);

  const readAt = vi.spyOn(SnapshotCursor, "readAt");
  const wide = spec({ n: { $gt: 1 } });
  const at = feed.cursors.grantPoint(null);
  for (const [index, { delivery }] of joined.entries()) {
    const sink = sinks[index] as ChunkRecorder; // one for each
    const moved = feed.subscribe(wide, sink, terms());
    moved.openMoved(delivery.liveQuery, at);
    moved.run();
    feed.unsubscribe(delivery);
  }
  await expect.poll(() => sinks.every(({ live }) => live === 2), PATIENCE).toBe(true);
  expect(readAt, "what left, and what came into sight").toHaveBeenCalledTimes(2);
  for (const { state, chunks, errors } of sinks) {
    expect([...state.keys()]).toEqual(["2", "3"]);
    expect(chunks.at(-1)).toBe(sinks[0]?.chunks.at(-1));
    expect(errors).toEqual([]);
  }
});

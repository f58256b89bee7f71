/**
 * The memory of a live query, a window and a subscriber, on a feed in this process and a real mongod: the heap and
 * what lies outside it (buffers), after a full collection, before and after so many of them. `npm run bench:memory`.
 */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "vitest";
import type { Chunk } from "../src/feed/chunk.ts";
import type { Delivery } from "../src/feed/delivery.ts";
import type { LiveQuerySpec } from "../src/feed/live-query-spec.ts";
import type { Sink } from "../src/feed/sink.ts";
import { parseAggregate } from "../src/match/aggregate.ts";
import { startFeed } from "../test/support/feed-harness.ts";
import { FRESH, terms } from "../test/support/recorder.ts";

const LIVE_QUERIES = 1_000;
const rows: Record<string, unknown>[] = [];

/** Reads everything at once and keeps nothing, so that what is measured is the service's own. */
class Reader implements Sink {
  readonly compression = null;
  readonly mode = "json";
  live = 0;

  write(_chunk: Chunk): boolean {
    return true;
  }

  async room(): Promise<boolean> {
    return true;
  }

  async mayRead(): Promise<boolean> {
    return true;
  }

  async snapshotTurn(): Promise<() => void> {
    return () => {};
  }

  reset(): void {}

  failed(error: unknown): void {
    throw error;
  }

  noteUnchanged(): void {}

  becameLive(): void {
    this.live++;
  }
}

/** Bytes in use once everything that can go has gone. */
async function usedBytes(): Promise<number> {
  const { gc } = globalThis;
  assert(gc !== undefined, "run by npm run bench:memory, which exposes the collector");
  // Snapshots that were read are let go of once a second.
  await pause(2_500);
  for (let n = 0; n < 4; n++) {
    gc();
    await pause(20);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test("memory per live query, window and subscriber", async () => {
  // No snapshot is kept for newcomers: that has a bound of its own, whatever the number of live queries.
  const { client, db, feed, spec } = await startFeed({
    limits: { snapshotCacheBytes: 0, lingerMs: 0 },
    history: { bytes: 1_048_576 },
  });
  const things = db.collection("things");
  await things.createIndex({ room: 1, at: -1 });
  const text = "x".repeat(200);
  const documents = (room: number, count: number) =>
    Array.from({ length: count }, (_, n) => ({ room, at: n, author: `user ${n % 10}`, text }));
  for (let room = 0; room < 20; room++) await things.insertMany(documents(room, 1_300));
  // The history has what it may have before anything is measured.
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  await feed.timeline.reached(operationTime.toBigInt(), 60_000);

  const follow = async (specs: readonly LiveQuerySpec[]): Promise<Delivery[]> => {
    const joined = specs.map((one) => {
      const reader = new Reader();
      return { reader, delivery: feed.subscribe(one, reader, terms()) };
    });
    for (const { delivery } of joined) {
      await delivery.open(FRESH);
      delivery.run();
    }
    while (joined.some(({ reader }) => reader.live === 0)) await pause(10);
    return joined.map(({ delivery }) => delivery);
  };
  const measure = async (what: string, count: number, per: string, specs: readonly LiveQuerySpec[]) => {
    // The first of a kind compiles and caches what all share.
    const [first] = specs;
    assert(first !== undefined);
    const warm = await follow([first]);
    const before = await usedBytes();
    const deliveries = await follow(specs);
    const bytes = (await usedBytes()) - before;
    rows.push({
      what,
      count,
      [`KiB per ${per}`]: Math.round(bytes / count / 102.4) / 10,
      "MiB in all": Math.round(bytes / 104_857.6) / 10,
    });
    for (const delivery of [...warm, ...deliveries]) feed.unsubscribe(delivery);
    while (feed.liveQueries > 0) await pause(100);
  };
  const byRoom = (count: number, rest: Partial<LiveQuerySpec> = {}) =>
    Array.from({ length: count }, (_, n) =>
      spec({ room: n % 20, at: { $gte: -n } }, undefined, "things", rest),
    );

  await measure("unsorted, one subscriber each", LIVE_QUERIES, "live query", byRoom(LIVE_QUERIES));
  await measure(
    "further subscribers of one",
    LIVE_QUERIES,
    "subscriber",
    Array.from({ length: LIVE_QUERIES }, () => spec({ room: 1 })),
  );
  for (const [what, aggregate] of [
    ["counts, one subscriber each", {}],
    ["sums by author, ten groups", { by: "author", values: { n: { count: true }, sum: { sum: "at" } } }],
  ] as const)
    await measure(
      what,
      LIVE_QUERIES,
      "live query",
      byRoom(LIVE_QUERIES, { aggregate: parseAggregate(aggregate) }),
    );
  const sort = [["at", -1]] as const;
  for (const [limit, count] of [
    [50, LIVE_QUERIES],
    [1_000, 100],
  ] as const) {
    await measure(`windows of ${limit}`, count, "live query", byRoom(count, { sort, limit }));
  }
  console.table(rows);
});

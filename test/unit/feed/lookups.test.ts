import { BSON, type MongoClient } from "mongodb";
import { expect, onTestFinished, test, vi } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import type { Feed } from "../../../src/feed/feed.ts";
import { Lookups } from "../../../src/feed/lookups.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { SnapshotCursor } from "../../../src/source/snapshot-cursor.ts";

test("a set that was being read when the order of changes broke is not given to anybody", async () => {
  const read = deferred();
  const spy = vi.spyOn(SnapshotCursor, "readAt").mockImplementation(async () => {
    await read.promise;
    return [Buffer.from(BSON.serialize({ _id: 1, room: "a" }))];
  });
  onTestFinished(() => spy.mockRestore());
  // All that reading a set needs of them.
  const feed = { isSettled: true, headTime: 5n, headSeq: 0, entriesAfter: () => [] } as unknown as Feed;
  const parts = { client: {} as MongoClient, metrics: createMetrics() } as ConstructorParameters<
    typeof Lookups
  >[1];
  const lookups = new Lookups(FeedLimits.parse({}), parts, feed);
  const filter = { op: "$and", filters: [] } as const;
  const spec = { key: "k", database: "d", collectionName: "members", filter, value: "room" };
  const asked = lookups.acquire(spec);
  lookups.loseAll();
  read.resolve();
  await expect(asked).rejects.toMatchObject({ code: "unavailable", retry: "later" });
  expect((await lookups.acquire(spec)).values).toHaveLength(1);
});

import { pino } from "pino";
import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { Lookups } from "../../../src/feed/lookups.ts";
import { FeedLimits } from "../../../src/feed/options.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { docOf, newTimeline } from "./feed-parts.ts";

test("a set that was being read when the order of changes broke is not given to anybody", async () => {
  const read = deferred();
  const reader = {
    readAt: async () => {
      await read.promise;
      return [docOf({ _id: 1, room: "a" })];
    },
  };
  const timeline = newTimeline();
  const parts = { reader, timeline, metrics: createMetrics(), log: pino({ level: "silent" }) };
  const lookups = new Lookups(FeedLimits.parse({}), parts);
  const filter = { op: "$and", filters: [] } as const;
  const spec = { key: "k", database: "d", collectionName: "members", filter, value: "room" };
  const asked = lookups.acquire(spec);
  lookups.loseAll();
  read.resolve();
  await expect(asked).rejects.toMatchObject({ code: "unavailable", retry: "later" });
  expect((await lookups.acquire(spec)).values).toHaveLength(1);
});

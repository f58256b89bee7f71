import { expect, test } from "vitest";
import { liveQueryAnswers } from "../../../src/admin/live-query-answers.ts";
import type { Feed } from "../../../src/feed/feed.ts";
import type { LiveQueryView } from "../../../src/feed/live-query-view.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";

const VALUES = 5_000;
const filter = parseFilter(
  { room: { $in: Array.from({ length: VALUES }, (_, n) => n) } },
  { regex: "prefix", maxDepth: 5, maxPredicates: 5, maxValues: VALUES },
);

const view = (number: number) =>
  ({
    number,
    namespace: "db.items",
    spec: {
      filter,
      projection: EVERYTHING,
      aggregate: null,
      sort: null,
      limit: null,
      collectionName: "items",
    },
    subscribers: 1,
    costMs: 0,
    heldBytes: 0,
    trackedDocuments: 0,
    resets: 0,
    isIndexed: true,
  }) as unknown as LiveQueryView;

test("a list of live queries with large filters lets other work run between its rows", async () => {
  const views = Array.from({ length: 50 }, (_, number) => view(number));
  const feed = { views: () => views } as unknown as Feed;
  const answers = liveQueryAnswers(feed, { node: "n", id: "0123456789ab" }, () =>
    Promise.reject(new Error()),
  );
  let turns = 0;
  let isOver = false;
  const count = () => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const rows = await answers.liveQueries({ limit: 50, sort: "id", mayReadDocuments: true });
  isOver = true;
  expect(rows).toHaveLength(50);
  expect(turns).toBeGreaterThan(5);
});

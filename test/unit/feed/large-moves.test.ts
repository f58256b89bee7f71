/** Differences of rights over many missed changes: small documents too are compared with pauses. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { Evaluation } from "../../../src/feed/evaluation.ts";
import { type GrantMove, readGrantDiff } from "../../../src/feed/grant-diff.ts";
import type { LiveQuery } from "../../../src/feed/live-query.ts";
import { Pace, type Pacer } from "../../../src/feed/pace.ts";
import { Slices } from "../../../src/feed/slices.ts";
import type { Timeline } from "../../../src/feed/timeline.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";
import type { ChangeEvent } from "../../../src/source/change-event.ts";

const COUNT = 5_000;

/** All that a difference of an unsorted result looks at. */
function queryOf(filter: object, pacer: Pacer): LiveQuery {
  const parsed = parseFilter(filter, { regex: "prefix" });
  return {
    ...pacer,
    evaluation: new Evaluation("d.c", parsed, EVERYTHING),
    spec: { filter: parsed, projection: EVERYTHING, sort: null, limit: null, aggregate: null },
    snapshotQuery: { database: "d", collection: "c", maxTimeMs: 1_000 },
  } as unknown as LiveQuery;
}

async function differenceOf(operation: "update" | "delete") {
  const events = Array.from({ length: COUNT }, (_, n): ChangeEvent => {
    const image = (a: number) => BSON.serialize({ _id: n, a });
    const after = operation === "delete" ? undefined : image(2);
    return { namespace: "d.c", operation, documentKey: BSON.serialize({ _id: n }), before: image(1), after };
  });
  // A slice is over at each step, so that pauses count the steps.
  let now = 0;
  const slices = new Slices(1, { now: () => now++, yield: async () => {} });
  let workMs = 0;
  const pacer = { newPace: () => new Pace(slices, (ms) => (workMs += ms)) };
  const move = {
    from: queryOf({ a: { $gte: 0 } }, pacer),
    to: queryOf({ a: { $gte: -1 } }, pacer),
    at: { entry: null, clusterTime: 1n, seq: 1 },
    held: [],
    missed: { seq: 0, heldAt: 1n, wantsDocuments: true },
  } as unknown as GrantMove;
  const history = { entriesAfter: () => [{ commit: { events } }] };
  const parts = { timeline: { isSettled: true, history } as unknown as Timeline };
  const changes = await readGrantDiff({ ...pacer, readAt: async () => [], keep: () => {} }, move, 10, parts);
  return { changes: changes ?? [], pauses: slices.pauses, workMs };
}

test.each(["update", "delete"] as const)(
  "%ss of thousands of small documents pause in between, and their time is charged to the live query",
  async (operation) => {
    const { changes, pauses, workMs } = await differenceOf(operation);
    expect(changes).toHaveLength(COUNT);
    expect(changes.every(({ type }) => type === (operation === "update" ? "changed" : "removed"))).toBe(true);
    // Twice for finding the documents, and once for comparing them.
    expect(pauses).toBeGreaterThanOrEqual(3 * Math.floor(COUNT / 1_000));
    expect(workMs).toBeGreaterThanOrEqual(pauses);
  },
);

import { beforeEach, expect, test, vi } from "vitest";
import { IndexCheck } from "../../../src/feed/index-check.ts";
import type { LiveQuery } from "../../../src/feed/live-query.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { SnapshotPlan } from "../../../src/source/snapshot-plan.ts";

const planSnapshot = vi.fn<() => Promise<SnapshotPlan>>();

const plan = { indexes: ["a_1"], readsEverything: false, sortsInMemory: false, usesPartialIndex: false };

beforeEach(() => {
  planSnapshot.mockReset().mockResolvedValue(plan);
});

function start() {
  const at = { ms: 0 };
  const check = new IndexCheck({ plan: planSnapshot }, createMetrics(), () => at.ms);
  const ask = (filter: object, requireIndex = true) => {
    const spec = { filter: parseFilter(filter, { regex: "prefix" }), sort: null, requireIndex };
    // The check needs no more.
    return check.check({ namespace: "d.c", spec, snapshotQuery: {} } as unknown as LiveQuery);
  };
  return { at, check, ask, asked: () => planSnapshot.mock.calls.length };
}

test("asks the planner once for all filters of one shape, and again for another type or operator", async () => {
  const { ask, asked } = start();
  for (const a of [1, 2, 3]) await ask({ a });
  expect(asked()).toBe(1);
  await ask({ a: "text" });
  await ask({ a: { $gt: 1 } });
  await ask({ b: 1 });
  expect(asked()).toBe(4);
});

test("does not ask the server if no rule requires an index", async () => {
  const { ask, asked } = start();
  await ask({ a: 1 }, false);
  expect(asked()).toBe(0);
});

test("what a partial index serves, and what is refused, counts for equal filters alone", async () => {
  const { ask, asked } = start();
  planSnapshot.mockResolvedValue({ ...plan, usesPartialIndex: true });
  for (const a of [1, 1, 2]) await ask({ a });
  expect(asked()).toBe(2);
  planSnapshot.mockResolvedValue({ ...plan, readsEverything: true });
  for (const b of [1, 1, 2]) await expect(ask({ b })).rejects.toMatchObject({ code: "forbidden" });
  expect(asked()).toBe(4);
});

test("refuses a query that would sort in memory", async () => {
  const { ask } = start();
  planSnapshot.mockResolvedValue({ ...plan, sortsInMemory: true });
  await expect(ask({ a: 1 })).rejects.toMatchObject({ code: "forbidden", details: { part: "index" } });
});

test("reuses an answer of the server for one minute", async () => {
  const { at, ask, asked } = start();
  await ask({ a: 1 });
  at.ms = 59_999;
  await ask({ a: 1 });
  expect(asked()).toBe(1);
  at.ms = 60_000;
  await ask({ a: 1 });
  expect(asked()).toBe(2);
});

test("keeps a bounded number of answers, however many filters come", async () => {
  const { check, ask } = start();
  planSnapshot.mockResolvedValue({ ...plan, usesPartialIndex: true });
  for (let a = 0; a < 1_100; a++) await ask({ a });
  expect(check.size).toBe(1_000);
});

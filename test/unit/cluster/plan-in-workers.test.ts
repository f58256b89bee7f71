import { expect, test } from "vitest";
import type { EditPlan } from "../../../src/admin/plan-edit.ts";
import { type Planner, planInWorkers } from "../../../src/cluster/plan-in-workers.ts";
import { deferred } from "../../../src/feed/deferred.ts";

const planOf = (connections: number): EditPlan => ({
  generation: 1,
  diff: { limits: [], collections: [] } as unknown as EditPlan["diff"],
  live: { connections, subscriptions: 0, newLiveQueries: 0, collections: [], affected: [] },
});

/** A worker that computes until it is ended, and how often it was ended. */
function busyWorker(): Planner & { readonly ends: number } {
  const ended = deferred();
  let ends = 0;
  return {
    plan: () => ended.promise.then(() => planOf(0)),
    endPlan: () => {
      ends++;
      ended.reject(new Error("AbortError: in the worker"));
    },
    get ends() {
      return ends;
    },
  };
}

const worker = (connections: number): Planner => ({
  plan: async () => planOf(connections),
  endPlan: () => expect.unreachable(),
});

test("the plan of all workers is the sum of theirs", async () => {
  const gone = new AbortController();
  const plan = await planInWorkers([worker(2), worker(3)], "text", gone.signal);
  expect(plan).toMatchObject({ live: { connections: 5 } });
  // A sender that leaves with its answer ends nothing.
  gone.abort();
});

test("a sender that leaves ends the plan in every worker, and the reason is the sender's", async () => {
  const gone = new AbortController();
  const workers = [busyWorker(), busyWorker()];
  const plan = planInWorkers(workers, "text", gone.signal);
  gone.abort(new Error("left"));
  await expect(plan).rejects.toBe(gone.signal.reason);
  expect(workers.map(({ ends }) => ends)).toEqual([1, 1]);
});

test("a sender that has left before its turn asks no worker", async () => {
  const asked: Planner = { plan: () => expect.unreachable(), endPlan: () => expect.unreachable() };
  await expect(planInWorkers([asked], "text", AbortSignal.abort())).rejects.toThrow("aborted");
});

test("a worker that gives no plan fails the plan, after the others have finished", async () => {
  const slow = deferred();
  const failing: Planner = { plan: async () => Promise.reject(new Error("no answer")), endPlan: () => {} };
  let isOver = false;
  const plan = planInWorkers(
    [failing, { plan: () => slow.promise.then(() => planOf(1)), endPlan: () => {} }],
    "text",
  ).finally(() => {
    isOver = true;
  });
  plan.catch(() => {}); // looked at below
  await new Promise(setImmediate);
  expect(isOver).toBe(false);
  slow.resolve();
  await expect(plan).rejects.toThrow("no answer");
});

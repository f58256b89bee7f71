import { expect, test } from "vitest";
import type { Readiness } from "../../../src/admin/readiness.ts";
import { joinReadiness, type WorkerReadiness } from "../../../src/cluster/join-readiness.ts";

const own = { node: "n", id: "0", lastReload: "none", rulesGeneration: 3 } as const;
const worker = (parts: Partial<Readiness> = {}): WorkerReadiness => ({
  pid: 1,
  ready: true,
  status: "ready",
  node: "n-1",
  id: "1",
  rulesGeneration: 3,
  lastReload: "none",
  rulesBehind: null,
  stream: "running",
  streamDown: null,
  connections: 2,
  revocation: "on",
  images: { "shop.items": "on" },
  ...parts,
});
const silent = (status: "starting" | "no-answer"): WorkerReadiness => ({
  pid: 2,
  ready: false,
  status,
  node: "n-2",
});

test("is ready when every worker is; connections add up", () => {
  expect(joinReadiness(own, [worker(), worker()])).toMatchObject({
    ready: true,
    status: "ready",
    node: "n",
    connections: 4,
    stream: "running",
  });
});

test.each([
  [worker({ ready: false, status: "catching-up" }), "catching-up"],
  [silent("starting"), "starting"],
  [silent("no-answer"), "no-answer"],
  [worker({ ready: false, status: "mongodb-unreachable", stream: "interrupted" }), "mongodb-unreachable"],
])("is not ready where one of them is not, and says why", (other, status) => {
  const joined = joinReadiness(own, [worker(), other]);
  expect(joined).toMatchObject({ ready: false, status });
  expect(joined.workers).toEqual([worker(), other]);
});

test("the change stream is down for as long as the one that is down longest", () => {
  const down = (seconds: number) => worker({ streamDown: { reason: "no-answer", seconds } });
  const joined = joinReadiness(own, [worker(), down(3), down(20), down(7), silent("starting")]);
  expect(joined.streamDown).toEqual({ reason: "no-answer", seconds: 20 });
  expect(joinReadiness(own, [worker(), silent("starting")]).streamDown).toBeNull();
});

test("the generation of the rules is the lowest of those that say one", () => {
  const generation = (workers: readonly WorkerReadiness[]) => joinReadiness(own, workers).rulesGeneration;
  expect(generation([worker({ rulesGeneration: 4 }), worker(), silent("starting")])).toBe(3);
  expect(generation([worker({ rulesGeneration: 4 }), silent("starting")])).toBe(4);
  expect(generation([silent("starting")])).toBe(3);
});

test("images are on where every worker has them on", () => {
  const images = (own: Readiness["images"]) => worker({ images: own });
  const joined = joinReadiness(own, [
    images({ a: "on", b: "on" }),
    images({ a: "on", b: "off" }),
    images({ a: "on", b: "on" }),
  ]);
  expect(joined.images).toEqual({ a: "on", b: "off" });
});

/** The client for Python behind a network that does its worst, and on a node that shuts down: it ends up with what `find` gives. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Collection } from "mongodb";
import { beforeAll, expect, onTestFinished, type TestContext, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { FUZZ_FACTOR } from "../../property/seed.ts";
import { FaultProxy } from "../../support/fault-proxy.ts";
import { skipWithout } from "../../support/installed.ts";
import type { Program } from "../../support/program.ts";
import { pythonWith } from "../../support/python.ts";
import {
  followThings,
  foundThings,
  judge,
  linesOf,
  PATIENCE,
  seededRandom,
  untilShown,
} from "../../support/python-program.ts";
import type { Random } from "../../support/random.ts";
import { startTestService, toConfig } from "../../support/service.ts";

interface Thing {
  _id: number;
  owner: string;
  n: number;
  v: number;
}

const COLLECTIONS = { things: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } };
/** All documents of the user, some of them as deltas, and a sorted window. */
const QUERIES = [
  {},
  { filter: { n: { $gte: 5 } }, delta: true },
  { sort: [["n", -1] as const], limit: 7, delta: true },
];
const FAULTS = 60 * FUZZ_FACTOR;

let python: Awaited<ReturnType<typeof pythonWith>>;
beforeAll(async () => {
  python = await pythonWith("websockets>=15");
});
const pythonOrSkip = (skip: TestContext["skip"]): string =>
  "python" in python ? python.python : skipWithout(skip, python.missing);

/** Writes until it is stopped; `v` of a document only grows, so that going back in time shows. */
async function write(things: Collection<Thing>, random: Random, signal: AbortSignal): Promise<void> {
  let v = 0;
  while (!signal.aborted) {
    const _id = random.int(0, 39);
    const set = { owner: random.pick(["u1", "u2"]), n: random.int(0, 9), v: ++v };
    const kind = random.next();
    if (kind < 0.15) await things.deleteOne({ _id });
    else if (kind < 0.3) await things.updateMany({ n: set.n }, { $set: { v: set.v }, $inc: { n: 1 } });
    else await things.updateOne({ _id }, { $set: set }, { upsert: true });
    await sleep(random.int(0, 6));
  }
}

/** Compares all three queries, and the order of the window, with `find`. */
async function expectAsFound(things: Collection<Thing>, program: Program): Promise<void> {
  const db = things.db;
  const window = await things.find({ owner: "u1" }).sort({ n: -1, _id: 1 }).limit(7).toArray();
  await untilShown(program, await foundThings(db, { owner: "u1" }), 0);
  await untilShown(program, await foundThings(db, { owner: "u1", n: { $gte: 5 } }), 1);
  await untilShown(program, new Map(window.map(({ _id, v }) => [_id, v])), 2);
  const order = () => linesOf(program, 2).findLast(({ type }) => type === "order")?.ids;
  await expect.poll(order, PATIENCE).toEqual(window.map(({ _id }) => _id));
  for (const q of QUERIES.keys()) expect(judge(linesOf(program, q), false).wrong).toEqual([]);
}

test(
  `ends up with what find gives after ${FAULTS} faults of every kind, and reports no change twice`,
  async ({ skip }) => {
    const command = pythonOrSkip(skip);
    const random = seededRandom();
    const { service, db } = await startTestService({ collections: COLLECTIONS, heartbeatMs: 250 });
    const things = db.collection<Thing>("things");
    const proxy = await FaultProxy.start(service.address.port);
    const program = await followThings(command, {
      url: `http://127.0.0.1:${proxy.port}`,
      queries: QUERIES,
      connect: { silence: 1.5, connect_timeout: 3 },
    });
    await expect.poll(() => [program.ofType("subscribed").length, program.errors], PATIENCE).toEqual([3, []]);
    const writing = new AbortController();
    const writer = write(things, random.fork(), writing.signal);
    const total = () => Object.values(proxy.faults).reduce((sum, number) => sum + number, 0);
    const greet = (welcome: FaultProxy["welcome"]) => {
      proxy.welcome = welcome;
      proxy.cut();
    };
    const weighted: readonly (readonly [weight: number, inject: () => unknown])[] = [
      [30, () => proxy.cut()],
      [20, () => proxy.cutAfter(random.int(1, 3_000))],
      [15, () => proxy.delay(random.int(1, 60))],
      [2, () => proxy.freeze()],
      [10, () => proxy.duplicate()],
      [10, () => greet("refuse")],
      [10, () => greet("bad-gateway")],
      [1, () => greet("silence")],
    ];
    const kinds = weighted.flatMap(([weight, inject]) => Array.from({ length: weight }, () => inject));
    while (total() < FAULTS) {
      random.pick(kinds)();
      await sleep(random.int(0, 60));
      if (random.chance(0.3)) continue; // one fault upon another
      const before = program.ofType("welcome").length;
      proxy.welcome = "pass";
      const deadlineMs = Date.now() + 2_000;
      while (program.ofType("welcome").length === before && Date.now() < deadlineMs) await sleep(5);
      await sleep(random.int(0, 120));
    }
    writing.abort();
    await writer;
    proxy.heal();
    console.log(JSON.stringify(proxy.faults), `${program.ofType("welcome").length} connections`);
    await expectAsFound(things, program);
  },
  240_000 * FUZZ_FACTOR,
);

test("[3.2, draining] a draining node is left without a gap: nothing is lost, and nothing arrives twice", async ({
  skip,
}) => {
  const command = pythonOrSkip(skip);
  const first = await startTestService({
    collections: COLLECTIONS,
    server: { drainTimeout: "4s" },
    // The sorted query continues on the other node out of its history, however long the move takes.
    history: { window: "5m" },
  });
  const second = await startService(toConfig(first.file));
  onTestFinished(() => second.stop());
  await expect.poll(() => second.readiness().ready).toBe(true);
  const things = first.db.collection<Thing>("things");
  const proxy = await FaultProxy.start(first.service.address.port);
  const program = await followThings(command, { url: `http://127.0.0.1:${proxy.port}`, queries: QUERIES });
  await expect.poll(() => [program.ofType("subscribed").length, program.errors], PATIENCE).toEqual([3, []]);
  const writing = new AbortController();
  const writer = write(things, seededRandom(), writing.signal);
  proxy.target = second.address.port;
  await first.service.drain();
  const changes = () => judge(linesOf(program), false).changes;
  const before = changes();
  await expect.poll(changes, PATIENCE).toBeGreaterThan(before + 10);
  writing.abort();
  await writer;
  await expectAsFound(things, program);
  // The trace shows the connection in use: it changed once, and the client was connected all the time.
  expect(program.ofType("snapshot")).toHaveLength(QUERIES.length);
  expect(program.ofType("status").map(({ status }) => status)).toEqual(["connecting", "connected"]);
});

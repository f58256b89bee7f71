/** The client behind a network that does its worst: whatever happens, it ends up with what `find` gives. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Collection } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { type Change, type Client, type ClientOptions, createClient } from "../../../src/client/client.ts";
import { startService } from "../../../src/server.ts";
import { FUZZ_FACTOR, startSeed } from "../../property/seed.ts";
import { FaultProxy, type Welcome } from "../../support/fault-proxy.ts";
import { Random } from "../../support/random.ts";
import { signToken, startTestService, toConfig } from "../../support/service.ts";

interface Thing {
  _id: number;
  owner: string;
  n: number;
  v: number;
}

const COLLECTIONS = {
  things: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] },
};
const OWNERS = ["u1", "u2"];
/** The back-off is short, so that many faults fit into little time; patience is not, for slow machines. */
const QUICK: Partial<ClientOptions> = {
  reconnect: { minMs: 5, maxMs: 60, stableAfterMs: 1_000, attemptsPerMinute: 100_000 },
  connectTimeoutMs: 3_000,
  silenceMs: 1_500,
};
const HEARTBEAT_MS = 250;

/** Checks every reported change against the earlier ones: no change twice, and no change of an unknown document. */
class Model {
  readonly docs = new Map<number, Thing>();
  readonly complaints: string[] = [];
  changes = 0;

  take(change: Change<Thing>): void {
    this.changes++;
    if (change.type === "snapshot") {
      this.docs.clear();
      for (const doc of change.docs) this.docs.set(doc._id, doc);
      return;
    }
    const id = change.type === "removed" ? change._id : change.doc._id;
    const held = this.docs.get(id);
    if ((change.type === "added") === (held !== undefined))
      this.complaints.push(JSON.stringify({ change, held }));
    if (change.type === "changed" && held !== undefined && change.doc.v < held.v) {
      this.complaints.push(`goes back: ${JSON.stringify({ change, held })}`);
    }
    if (change.type === "removed") this.docs.delete(id);
    else this.docs.set(id, change.doc);
  }
}

/** Writes until it is stopped; `v` of a document only grows, so that going back in time shows. */
async function write(things: Collection<Thing>, random: Random, signal: AbortSignal): Promise<void> {
  let v = 0;
  while (!signal.aborted) {
    const _id = random.int(0, 39);
    const set = { owner: random.pick(OWNERS), n: random.int(0, 9), v: ++v };
    const kind = random.next();
    if (kind < 0.15) await things.deleteOne({ _id });
    else if (kind < 0.3) await things.updateMany({ n: set.n }, { $set: { v: set.v }, $inc: { n: 1 } });
    else await things.updateOne({ _id }, { $set: set }, { upsert: true });
    await sleep(random.int(0, 6));
  }
}

const sorted = (docs: Iterable<Thing>) => [...docs].sort((a, b) => a._id - b._id);

test(
  `ends up with what find gives, after ${500 * FUZZ_FACTOR} faults of every kind`,
  async () => {
    const random = new Random(startSeed("the client under faults"));
    const { service, db } = await startTestService({ collections: COLLECTIONS, heartbeatMs: HEARTBEAT_MS });
    const things = db.collection<Thing>("things");
    const CLIENTS = 8;
    const perClient = Math.ceil((510 * FUZZ_FACTOR) / CLIENTS);
    const writing = new AbortController();
    const writer = write(things, random.fork(), writing.signal);
    const runs = Array.from({ length: CLIENTS }, async (_, index) => {
      const dice = random.fork();
      const proxy = await FaultProxy.start(service.address.port);
      const client = createClient({
        url: `http://127.0.0.1:${proxy.port}`,
        token: () => signToken({ sub: OWNERS[index % 2] }),
        WebSocket,
        ...QUICK,
        upgradeAfterMs: 500,
      });
      onTestFinished(() => client.close());
      const watched = follow(client, OWNERS[index % 2]!);
      const used = new Set<string>();
      client.onState(({ status, transport }) => status === "connected" && used.add(transport));
      await injectFaults(client, proxy, dice, perClient);
      return { proxy, watched, used };
    });
    const clients = await Promise.all(runs);
    writing.abort();
    await writer;
    for (const { proxy } of clients) proxy.heal();
    const faults: Record<string, number> = {};
    for (const { proxy, watched } of clients) {
      for (const [name, count] of Object.entries(proxy.faults)) faults[name] = (faults[name] ?? 0) + count;
      for (const { query, model, find } of watched) {
        const expected = await find(things);
        await expect.poll(() => query.getState().data, { timeout: 120_000 }).toEqual(expected);
        expect(query.getState().status).not.toBe("stopped");
        expect(sorted(model.docs.values())).toEqual(sorted(query.getState().data));
        expect(model.complaints).toEqual([]);
      }
    }
    const count = Object.values(faults).reduce((sum, number) => sum + number, 0);
    console.log(
      `${count} faults: ${JSON.stringify(faults)}; transports used:`,
      clients.map(({ used }) => [...used].join()),
    );
    expect(count).toBeGreaterThanOrEqual(500 * FUZZ_FACTOR);
    expect(Object.keys(faults).length).toBe(9);
  },
  600_000 * FUZZ_FACTOR,
);

/** Three queries over one connection: all of the user's, some of them as deltas, and a sorted window. */
function follow(client: Client, owner: string) {
  const things = client.collection<Thing>("things");
  const watched = [
    {
      query: things.find(),
      find: (all: Collection<Thing>) => all.find({ owner }).toArray(),
      isSorted: false,
    },
    {
      query: things.find({ n: { $gte: 5 } }, { documents: "delta" }),
      find: (all: Collection<Thing>) => all.find({ owner, n: { $gte: 5 } }).toArray(),
      isSorted: false,
    },
    {
      query: things.find().sort("n", -1).limit(7),
      find: (all: Collection<Thing>) => all.find({ owner }).sort({ n: -1, _id: 1 }).limit(7).toArray(),
      isSorted: true,
    },
  ];
  return watched.map(({ query, find, isSorted }) => {
    const model = new Model();
    query.subscribe({ change: (change) => model.take(change) });
    if (isSorted) return { query, model, find };
    // Without a sort the order is that of arrival: both sides are put in one.
    const ordered = { getState: () => ({ ...query.getState(), data: sorted(query.getState().data) }) };
    return { query: ordered, model, find: async (all: Collection<Thing>) => sorted(await find(all)) };
  });
}

async function injectFaults(client: Client, proxy: FaultProxy, random: Random, count: number): Promise<void> {
  const total = () => Object.values(proxy.faults).reduce((sum, number) => sum + number, 0);
  const weighted: readonly (readonly [weight: number, inject: () => unknown])[] = [
    [30, () => proxy.cut()],
    [20, () => proxy.cutAfter(random.int(1, 3_000))],
    [15, () => proxy.delay(random.int(1, 60))],
    [2, () => proxy.freeze()],
    [10, () => proxy.duplicate()],
    [10, () => greet("refuse")],
    [10, () => greet("bad-gateway")],
    [1, () => greet("silence")],
    [10, () => greet("no-websocket")],
  ];
  const greet = (welcome: Welcome) => {
    proxy.welcome = welcome;
    proxy.cut();
  };
  const kinds = weighted.flatMap(([weight, inject]) => Array.from({ length: weight }, () => inject));
  // Each kind once for sure, also the rare ones.
  const greetings = ["silence", "bad-gateway", "refuse", "no-websocket"] as const;
  for (const welcome of greetings) {
    greet(welcome);
    const counted = welcome === "no-websocket" ? "refused upgrade" : welcome;
    await expect.poll(() => proxy.faults[counted], { timeout: 60_000 }).toBeGreaterThan(0);
  }
  proxy.welcome = "pass";
  await expect.poll(() => proxy.freeze(), { timeout: 60_000 }).toBe(true);
  await expect.poll(() => proxy.duplicate(), { timeout: 60_000 }).toBe(true);
  while (total() < count) {
    random.pick(kinds)();
    await sleep(random.int(0, 60));
    if (random.chance(0.3)) continue; // one fault upon another
    proxy.welcome = random.chance(0.1) ? "no-websocket" : "pass";
    const deadlineMs = Date.now() + 5_000;
    while (client.state.status !== "connected" && Date.now() < deadlineMs) await sleep(5);
    await sleep(random.int(0, 120));
  }
}

test("[3.2, draining] a draining node moves its clients: nothing is lost, nothing arrives twice, no client is disconnected", async () => {
  const first = await startTestService({ collections: COLLECTIONS, server: { drainTimeout: "6s" } });
  const second = await startService(toConfig(first.file));
  onTestFinished(() => second.stop());
  await expect.poll(() => second.readiness().ready).toBe(true);
  const things = first.db.collection<Thing>("things");
  const proxy = await FaultProxy.start(first.service.address.port);
  const clients = Array.from({ length: 10 }, () => {
    const client = createClient({
      url: `http://127.0.0.1:${proxy.port}`,
      token: () => signToken({ sub: "u1" }),
      WebSocket,
      reconnect: { attemptsPerMinute: 1_000 },
    });
    onTestFinished(() => client.close());
    return client;
  });
  const watched = clients.flatMap((client) => follow(client, "u1"));
  const statuses = clients.map((client) => {
    const seen: string[] = [];
    client.onState(({ status }) => seen.push(status));
    return seen;
  });
  for (const client of clients) await client.collection<Thing>("things").find().snapshot();
  for (const { query } of watched) await expect.poll(() => query.getState().status).toBe("live");
  const writing = new AbortController();
  const writer = write(things, new Random(startSeed("draining")), writing.signal);
  proxy.target = second.address.port;
  await first.service.drain();
  for (const { model } of watched)
    await expect.poll(() => model.changes, { timeout: 60_000 }).toBeGreaterThan(10);
  writing.abort();
  await writer;
  for (const { query, model, find } of watched) {
    const expected = await find(things);
    await expect.poll(() => query.getState().data, { timeout: 60_000 }).toEqual(expected);
    expect(model.complaints).toEqual([]);
  }
  // Make before break: no client was ever without a connection.
  for (const seen of statuses) expect(seen).toEqual(["connecting", "connected"]);
});

test("a service that is killed and started again: clients go on where they were", async () => {
  const first = await startTestService({ collections: COLLECTIONS });
  const things = first.db.collection<Thing>("things");
  const proxy = await FaultProxy.start(first.service.address.port);
  const client = createClient({
    url: `http://127.0.0.1:${proxy.port}`,
    token: () => signToken({ sub: "u1" }),
    WebSocket,
    ...QUICK,
    silenceMs: 10_000,
  });
  onTestFinished(() => client.close());
  await things.insertOne({ _id: 1, owner: "u1", n: 1, v: 1 });
  const query = client.collection<Thing>("things").find();
  const types: string[] = [];
  query.subscribe({ change: ({ type }) => types.push(type) });
  await query.snapshot();
  await first.service.stop();
  await things.insertOne({ _id: 2, owner: "u1", n: 1, v: 1 });
  const second = await startService(toConfig(first.file));
  onTestFinished(() => second.stop());
  proxy.target = second.address.port;
  await expect.poll(() => query.getState().data.length, { timeout: 60_000 }).toBe(2);
  await expect.poll(() => query.getState().status, { timeout: 60_000 }).toBe("live");
  expect(types).toEqual(["snapshot", "added"]);
});

test("where WebSockets are refused on the way, the client gets through all the same, and says how", async () => {
  const { service, db } = await startTestService({ collections: COLLECTIONS });
  const things = db.collection<Thing>("things");
  const proxy = await FaultProxy.start(service.address.port);
  proxy.welcome = "no-websocket";
  const client = createClient({
    url: `http://127.0.0.1:${proxy.port}`,
    token: () => signToken({ sub: "u1" }),
    WebSocket,
    ...QUICK,
    silenceMs: 10_000,
    connectTimeoutMs: 5_000,
  });
  onTestFinished(() => client.close());
  const query = client.collection<Thing>("things").find();
  await query.snapshot();
  expect(client.state).toMatchObject({ status: "connected", transport: "sse" });
  query.subscribe({});
  await things.insertOne({ _id: 1, owner: "u1", n: 1, v: 1 });
  await expect.poll(() => query.getState().data.length, { timeout: 60_000 }).toBe(1);
});

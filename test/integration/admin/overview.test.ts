/** The fleet and its live queries, as an admin sees them. */

import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { API } from "../../../src/admin/api/endpoint.ts";
import { startService } from "../../../src/server.ts";
import { until } from "../../support/mongod.ts";
import { startTestService, toConfig } from "../../support/service.ts";

const TOKEN = "a-token-for-the-admins-of-a-test-0123456789";
const COLLECTIONS = {
  items: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] },
  notes: { rules: [{ name: "all" }] },
};
const PATIENCE = { timeout: 60_000, interval: 50 };

type Row = Readonly<Record<string, unknown>>;
type Body = Readonly<Record<"nodes" | "troubles" | "samples" | "liveQueries", readonly Row[]>> & {
  readonly isComplete: boolean;
  readonly totals: Row;
  readonly next: string | null;
};

const asker =
  (port: number) =>
  async (path: string, method = "GET") => {
    const init = { method, headers: { authorization: `Bearer ${TOKEN}` } };
    const answer = await fetch(`http://127.0.0.1:${port}${API}${path}`, init);
    return { status: answer.status, body: (await answer.json()) as Body }; // as the endpoint answers
  };

async function start() {
  const started = await startTestService({
    collections: COLLECTIONS,
    server: { node: "rack-1", admin: { port: 0, token: TOKEN } },
  });
  return { ...started, ask: asker(started.service.adminAddress.port) };
}

test("the overview has every node of the fleet, from any of them, until a node stops", async () => {
  const one = await start();
  const { server } = one.file as { server: object };
  const other = await startService(
    toConfig({ ...one.file, server: { ...server, node: "rack-2" } }),
    pino({ level: "silent" }),
  );
  onTestFinished(() => other.stop());
  const client = await one.connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "1", collection: "items" });
  const askOther = asker(other.adminAddress.port);
  const overview = async (ask = one.ask) => (await ask("/overview")).body;
  for (const ask of [one.ask, askOther]) {
    await expect
      .poll(async () => (await overview(ask)).nodes.map(({ node, ready }) => [node, ready]), PATIENCE)
      .toEqual([
        ["rack-1", true],
        ["rack-2", true],
      ]);
  }
  const { totals, isComplete, nodes, troubles } = await overview();
  expect(isComplete).toBe(true);
  expect(troubles).toEqual([]);
  expect(totals).toEqual({ nodes: 2, connections: 1, subscriptions: 1, liveQueries: 1 });
  expect(nodes[0]).toEqual({
    node: "rack-1",
    id: one.service.id,
    version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    startedAt: expect.stringMatching(/Z$/),
    reportedAgoMs: 0,
    isSilent: false,
    ready: true,
    status: "ready",
    headAgeMs: expect.any(Number),
    rulesGeneration: 1,
    lastReload: "none",
    connections: 1,
    subscriptions: 1,
    liveQueries: 1,
  });
  // A connection of another node is not closed from here, and the answer says where it is.
  const id = `${one.service.id}.00000000-0000-0000-0000-000000000000`;
  expect(await askOther(`/connections/${id}/disconnect`, "POST")).toMatchObject({
    status: 409,
    body: { code: "other-node", error: expect.stringContaining("rack-1") },
  });
  expect((await one.ask(`/connections/${id}/disconnect`, "POST")).status).toBe(404);
  await other.stop();
  await expect.poll(async () => (await overview()).nodes.length, PATIENCE).toBe(1);
});

test("a node that was killed is silent after two reports that it missed, and the totals leave it out", async () => {
  const { ask, client, name } = await start();
  const nodes = client.db(`${name}-state`).collection<{ _id: string; status: object }>("nodes");
  const reported = async () => {
    const own = await nodes.findOne({ _id: "rack-1" });
    return own !== null && "id" in own.status ? own.status : undefined;
  };
  const status = await until("the report of the node", reported);
  const overviewWith = async (secondsAgo: number) => {
    const at = new Date(Date.now() - secondsAgo * 1_000);
    const killed = { ...status, node: "rack-0", id: "000000000000", connections: 7, at };
    await nodes.updateOne({ _id: "rack-0" }, { $set: { status: killed } }, { upsert: true });
    return (await ask("/overview")).body;
  };
  const late = await overviewWith(3);
  expect(late.nodes).toMatchObject([{ node: "rack-0", isSilent: false }, { node: "rack-1" }]);
  expect(late.totals).toMatchObject({ nodes: 2, connections: 7 });
  const silent = await overviewWith(12);
  expect(silent.nodes).toMatchObject([{ node: "rack-0", isSilent: true }, { isSilent: false }]);
  expect(silent.totals).toMatchObject({ nodes: 1, connections: 0 });
});

test("the load is sampled: deliveries appear as a rate", async () => {
  const { ask, connect, db, now } = await start();
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "1", collection: "notes" });
  await client.until(({ type }) => type === "snapshot");
  // Deliveries are counted for those who follow along already.
  await client.fence(await now());
  await db.collection("notes").insertMany(Array.from({ length: 10 }, (_, n) => ({ n })));
  await client.fence(await now());
  const rates = async () =>
    (await ask("/overview")).body.samples.map(({ deliveriesPerSecond }) => Number(deliveriesPerSecond));
  await expect.poll(async () => Math.max(0, ...(await rates())), PATIENCE).toBeGreaterThan(0);
});

test("live queries show subscribers, memory, index and plan, the largest first, in pages", async () => {
  const { ask, connect, db } = await start();
  await db.collection("items").createIndex({ owner: 1 });
  await db
    .collection("notes")
    .insertMany(Array.from({ length: 50 }, (_, n) => ({ n, text: "x".repeat(20) })));
  const [ada, bob] = [await connect({ sub: "ada" }), await connect({ sub: "bob" })];
  await ada.ask({ type: "subscribe", id: "1", collection: "items" });
  for (const client of [ada, bob]) {
    await client.ask({ type: "subscribe", id: "2", collection: "notes", sort: [["n", 1]], limit: 20 });
    await client.until(({ type }) => type === "snapshot");
  }
  const list = async (query = "") => (await ask(`/live-queries${query}`)).body;
  const largestNow = async () => (await list("?sort=bytes")).liveQueries[0];
  await expect.poll(async () => Number((await largestNow())?.["heldBytes"]), PATIENCE).toBeGreaterThan(0);
  const largest = await largestNow();
  expect(largest).toMatchObject({
    namespace: expect.stringContaining(".notes"),
    subscribers: 2,
    sort: '[["n",1]]',
    limit: 20,
    isIndexed: false,
    resets: 0,
    aggregate: null,
  });
  expect((await list("?sort=subscribers")).liveQueries[0]).toEqual(largest);
  const [own] = (await list("?collection=items")).liveQueries;
  expect(own).toMatchObject({ filter: '{"owner":"ada"}', subscribers: 1, isIndexed: true, heldBytes: 0 });
  const first = await list("?sort=id&limit=1");
  const second = await list(`?sort=id&limit=1&after=${first.next}`);
  expect([first.liveQueries.length, second.liveQueries.length, second.next]).toEqual([1, 1, null]);
  expect(first.liveQueries[0]?.["id"]).not.toBe(second.liveQueries[0]?.["id"]);
  const planOf = async (id: unknown) =>
    ((await ask(`/live-queries/${String(id)}`)).body as unknown as { snapshot: unknown }).snapshot;
  expect(await planOf(own?.["id"])).toEqual({ indexes: ["owner_1"], readsEverything: false });
  expect(await planOf(largest?.["id"])).toEqual({ indexes: [], readsEverything: true });
  expect((await ask(`/live-queries/${"0".repeat(12)}.1`)).status).toBe(404);
});

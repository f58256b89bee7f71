/** Several processes on one port: what one of them suffers is nothing to the others, and nobody misses anything. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startSeed } from "../property/seed.ts";
import { testDatabase, until } from "../support/mongod.ts";
import { Random } from "../support/random.ts";
import { pushRules } from "../support/rule-sets.ts";
import { signToken, testConfig } from "../support/service.ts";
import type { SpawnedService } from "../support/spawn-service.ts";
import { isRunning, pidsOf, scrape, spawnWorkers } from "../support/worker-fleet.ts";
import { WsClient } from "../support/ws-client.ts";
import { COLLECTIONS, describeCounts, FLAWLESS, Fleet } from "./fleet.ts";

const PATIENCE = { timeout: 60_000, interval: 50 };
const EVERYONE = { items: { rules: [{ name: "everyone" }] } };
const NOBODY_ELSE = { items: { rules: [{ name: "owner", filter: { owner: "%%user.sub" } }] } };

/** Clients that follow everything, so many, one after another. */
async function connectAll(url: string, count: number): Promise<WsClient[]> {
  const token = await signToken({ sub: "u1" });
  const clients: WsClient[] = [];
  while (clients.length < count) {
    const client = await WsClient.connect(url, { token });
    onTestFinished(() => client.socket.terminate());
    const answer = await client.ask({ type: "subscribe", id: "all", collection: "items" });
    expect(answer).toMatchObject({ start: "snapshot" });
    clients.push(client);
  }
  return clients;
}

const nodeOf = ({ received }: WsClient) => received.find(({ type }) => type === "welcome")?.["node"];

/** How many clients each node has. */
function spread(clients: readonly WsClient[]): number[] {
  const nodes = new Map<unknown, number>();
  for (const client of clients) nodes.set(nodeOf(client), (nodes.get(nodeOf(client)) ?? 0) + 1);
  return [...nodes.values()];
}

const changesOf = ({ received }: WsClient) => received.filter(({ type }) => type === "added").length;

test("two workers on one port share the connections, everyone gets everything, and the metrics are sums", async () => {
  const { uri, name: database, client: mongo, db } = await testDatabase();
  const { service, health, url } = await spawnWorkers(
    testConfig(uri, database, { collections: EVERYONE }),
    2,
  );
  expect(service.log.filter((line) => line.includes('"listening"'))).toHaveLength(1);
  const clients = await connectAll(url, 10);
  expect(spread(clients)).toEqual([5, 5]);
  // Deliveries are counted for those who follow along already.
  const fence = async () => {
    const { operationTime } = await mongo.db("admin").command({ ping: 1 });
    for (const client of clients) await client.fence(operationTime);
  };
  await fence();
  await db.collection("items").insertMany(Array.from({ length: 20 }, (_, i) => ({ n: i })));
  await fence();
  expect(clients.map(changesOf)).toEqual(clients.map(() => 20));
  expect(await scrape(service, "tidewire_workers")).toBe(2);
  expect(await scrape(service, "tidewire_connections")).toBe(10);
  expect(await scrape(service, "tidewire_deliveries_total")).toBe(200);
  expect(await health()).toMatchObject({ ready: true, connections: 10, rulesGeneration: 1 });
  for (const path of ["/livez", "/readyz"]) expect((await fetch(`${service.url}${path}`)).status).toBe(200);
});

test("[G2] a worker that is killed costs its own clients a resumption and the others nothing, and is started again", async () => {
  const seed = startSeed("workers");
  const { name: database, uri } = await testDatabase();
  const { service, health, url } = await spawnWorkers(
    testConfig(uri, database, {
      collections: COLLECTIONS,
      server: { heartbeat: "1s" },
      history: { window: "5m" },
    }),
    2,
  );
  const fleet = await Fleet.start({ uri, database, url: () => url, random: new Random(seed) });
  const follows = () => fleet.clients.every((client) => client.isFollowing);
  const counter = "tidewire_connections_opened_total";
  for (const victim of [0, 1]) {
    await expect.poll(follows, PATIENCE).toBe(true);
    const before = fleet.clients.map(({ connections }) => connections);
    const { workers } = await health();
    const [hit, spared] = victim === 0 ? workers : [...workers].reverse();
    const opened = await scrape(service, counter);
    process.kill(hit?.pid ?? 0, "SIGKILL");
    const restarts = () => scrape(service, "tidewire_worker_restarts_total");
    await expect.poll(restarts, PATIENCE).toBe(victim + 1);
    await expect.poll(async () => (await health()).ready, PATIENCE).toBe(true);
    await expect.poll(follows, PATIENCE).toBe(true);
    const cameBack = fleet.clients.filter(({ connections }, i) => connections > (before[i] ?? 0));
    expect(cameBack, "clients that had to come back").toHaveLength(
      hit !== undefined && "connections" in hit ? hit.connections : Number.NaN,
    );
    expect(pidsOf(await health())).toContain(spared?.pid);
    expect(await scrape(service, counter), "counters do not fall").toBeGreaterThan(opened);
  }
  expect(service.log.filter((line) => line.includes("a worker has ended"))).toHaveLength(2);
  const counts = await fleet.settle();
  console.log(`workers: seed ${seed}: ${describeCounts(counts)}`);
  expect(counts).toMatchObject(FLAWLESS);
  expect(Object.keys(counts["starts"] as object).sort()).toEqual(["resumed", "snapshot"]);
});

test("a connection that waits for a worker that hangs is served by another once that has ended", async () => {
  const { uri, name: database } = await testDatabase();
  const config = testConfig(uri, database, { collections: EVERYONE });
  const { service, health, url } = await spawnWorkers(config, 2);
  const [first, second] = (await health()).workers;
  // Of two that have as many connections, the first gets the next one.
  process.kill(first?.pid ?? 0, "SIGSTOP");
  const connecting = WsClient.connect(url, { token: await signToken({ sub: "u1" }) });
  expect(await (await fetch(`${service.adminUrl}/readyz`)).json()).toMatchObject({ status: "no-answer" });
  process.kill(first?.pid ?? 0, "SIGKILL");
  const client = await connecting;
  onTestFinished(() => client.socket.terminate());
  expect(second).toMatchObject({ id: nodeOf(client) });
});

/** Saves an edit, and waits for what becomes of it. */
async function edit(
  service: SpawnedService,
  config: Record<string, unknown>,
  outcome: object,
): Promise<void> {
  // `testConfig` gives every section of the file.
  await service.writeConfig({ ...config, mongodb: config["mongodb"] as Record<string, unknown> });
  const readyz = async () => (await fetch(`${service.adminUrl}/readyz`)).json();
  await expect.poll(readyz, PATIENCE).toMatchObject(outcome);
}

test("an edit of the rules takes effect in all workers, one that cannot be had in none, and a worker that is new has the rules of now", async () => {
  const { name: database, uri, db } = await testDatabase();
  const token = "a-token-for-the-admins-of-a-test-0123456789";
  const config = testConfig(uri, database, {
    collections: EVERYONE,
    server: { workers: 2, admin: { token } },
  });
  const { service, health, url } = await spawnWorkers(config, 2);
  await db.collection("items").insertOne({ owner: "u2" });
  await db.createCollection("view", { viewOn: "items", pipeline: [] });
  const clients = await connectAll(url, 4);
  expect(spread(clients)).toEqual([2, 2]);

  const withView = { ...EVERYONE, view: { rules: [{ name: "everyone" }] } };
  await edit(service, { ...config, collections: withView }, { rulesGeneration: 1, lastReload: "rejected" });
  const refused = await clients[0]?.ask({ type: "subscribe", id: "view", collection: "view" });
  expect(refused).toMatchObject({ type: "error", code: "unknown-collection" });

  const body = JSON.stringify({ ...config, collections: NOBODY_ELSE });
  const plan = await fetch(`${service.adminUrl}/api/v1/plan`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body,
  });
  expect(await plan.json()).toMatchObject({ live: { connections: 4, subscriptions: 4 } });

  await edit(service, { ...config, collections: NOBODY_ELSE }, { rulesGeneration: 2, lastReload: "applied" });
  expect((await health()).workers).toMatchObject([{ rulesGeneration: 2 }, { rulesGeneration: 2 }]);
  for (const client of clients) {
    expect(await client.until((message) => message.type === "removed")).toMatchObject({ cause: "grant" });
  }
  expect(await scrape(service, "tidewire_rules_reloads_total")).toBe(2);

  const [pid = 0] = pidsOf(await health());
  process.kill(pid, "SIGKILL");
  await expect
    .poll(async () => (await health()).ready && !pidsOf(await health()).includes(pid), PATIENCE)
    .toBe(true);
  expect(await health()).toMatchObject({ rulesGeneration: 2 });
  const [fresh] = await connectAll(url, 1);
  const snapshot = await fresh?.until((message) => message.type === "snapshot");
  expect(snapshot, "what only another one may see").toMatchObject({ docs: [], last: true });
});

test("a rule set of the database takes effect in all workers, each reports it, and a worker that is new has it", async () => {
  const { name: database, uri, client: mongo } = await testDatabase();
  onTestFinished(() =>
    mongo
      .db(`${database}-state`)
      .dropDatabase()
      .then(() => {}),
  );
  await pushRules(mongo, database, EVERYONE);
  const config = testConfig(uri, database, { collections: EVERYONE, rules: { from: "database" } });
  const { service, health, url } = await spawnWorkers(config, 2);
  const clients = await connectAll(url, 2);
  await mongo.db(database).collection("items").insertOne({ owner: "u2" });
  for (const client of clients) await client.until(({ type }) => type === "added");
  await pushRules(mongo, database, NOBODY_ELSE);
  for (const client of clients) {
    expect(await client.until(({ type }) => type === "removed")).toMatchObject({ cause: "grant" });
  }
  await expect.poll(async () => (await health()).rulesGeneration, PATIENCE).toBe(2);
  const reported = () =>
    mongo.db(`${database}-state`).collection("nodes").countDocuments({ "rules.generation": 2 });
  await expect.poll(reported, PATIENCE).toBe(2);
  const [pid = 0] = pidsOf(await health());
  process.kill(pid, "SIGKILL");
  await expect
    .poll(async () => (await health()).ready && !pidsOf(await health()).includes(pid), PATIENCE)
    .toBe(true);
  expect((await health()).workers).toMatchObject([{ rulesGeneration: 2 }, { rulesGeneration: 2 }]);
  expect(service.log.filter((line) => line.includes("the edited rules are in force"))).toHaveLength(2);
});

test("SIGTERM lets all workers hand their clients over, and they end in good order, as does the embedded mongod", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "tidewire-workers-"));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const config = testConfig("embedded", "shop", { collections: EVERYONE, mongodb: { dataDir } });
  const { service, health, url } = await spawnWorkers(config, 2);
  const pids = [...pidsOf(await health()), mongodPid(service)];
  const clients = await connectAll(url, 4);
  const ended = service.kill("SIGTERM");
  for (const client of clients) {
    expect(await client.until((message) => message.type === "draining")).toMatchObject({ withinMs: 1_000 });
    expect(await client.untilClosed()).toMatchObject({ code: 4202 });
  }
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(pids.filter(isRunning)).toEqual([]);
});

/** As its log says. */
function mongodPid({ log }: SpawnedService): number {
  const line = log.find((text) => text.includes("embedded mongod is ready")) ?? "{}";
  return JSON.parse(line).pid;
}

test("nothing is left behind when the primary is killed, whenever that is", async () => {
  const { name: database, uri } = await testDatabase();
  const { service, health, url } = await spawnWorkers(
    testConfig(uri, database, { collections: EVERYONE }),
    2,
  );
  const clients = await connectAll(url, 2);
  const pids = pidsOf(await health());
  // One of the workers is just being started again.
  process.kill(pids[0] ?? 0, "SIGKILL");
  await until("another process", async () => !pidsOf(await health()).includes(pids[0] ?? 0));
  const all = new Set([...pids, ...pidsOf(await health())]);
  await service.kill("SIGKILL");
  for (const client of clients) await client.untilClosed();
  await expect.poll(() => [...all].filter(isRunning), PATIENCE).toEqual([]);
});

/** The fields of the API's answers that the test reads. */
type Listed = Readonly<Record<"connections" | "entries", readonly { id: string; node: string }[]>> & {
  readonly next: string | null;
};

test("the admin listener lists and closes the connections of all workers, and the audit is one", async () => {
  const { uri, name: database } = await testDatabase();
  const token = "a-token-for-the-admins-of-a-test-0123456789";
  const config = testConfig(uri, database, { collections: EVERYONE, server: { admin: { token } } });
  const { service, health, url } = await spawnWorkers(config, 2);
  const clients = await connectAll(url, 4);
  expect(spread(clients)).toEqual([2, 2]);
  const ask = async (path: string, method = "GET", json?: object) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const init = { method, headers, ...(json === undefined ? {} : { body: JSON.stringify(json) }) };
    const answer = await fetch(`${service.adminUrl}/api/v1${path}`, init);
    return { status: answer.status, body: (await answer.json()) as Listed }; // as the endpoint answers
  };
  const listed = async () => (await ask("/connections")).body.connections;
  const first = (await ask("/connections?limit=3")).body;
  const rest = (await ask(`/connections?limit=3&after=${first.next}`)).body;
  const paged = [...first.connections, ...rest.connections];
  // The state of a connection may change between two answers.
  const idsOf = (connections: Listed["connections"]) => connections.map(({ id }) => id);
  expect(idsOf(paged)).toEqual(idsOf(await listed()));
  expect(new Set(paged.map(({ node }) => node)).size).toBe(2);
  for (const { id } of paged) {
    expect((await ask(`/connections/${id}`)).body).toMatchObject({ id, list: [{ id: "all" }] });
    expect(await ask("/try", "POST", { connection: id, collection: "items" })).toMatchObject({
      status: 200,
      body: { outcome: "allowed", user: { claims: { sub: expect.any(String) } } },
    });
    expect((await ask(`/connections/${id}/disconnect`, "POST")).status).toBe(200);
  }
  for (const client of clients) expect((await client.untilClosed()).code).toBe(4003);
  expect((await ask("/audit")).body.entries).toHaveLength(8);
  expect((await health()).ready).toBe(true);
});

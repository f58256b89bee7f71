/** Traces of users whose connections are in worker processes: the primary answers, and has no connections of its own. */
import { expect, onTestFinished, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API } from "../../../src/admin/api/endpoint.ts";
import type { AnswerOf } from "../../../src/admin/api/endpoints.ts";
import { testDatabase } from "../../support/mongod.ts";
import { signToken, testConfig } from "../../support/service.ts";
import { pidsOf, scrape, spawnWorkers } from "../../support/worker-fleet.ts";
import { WsClient } from "../../support/ws-client.ts";

const PATIENCE = { timeout: 60_000, interval: 50 };
const SECRET = "the-secret-of-an-admin-of-several-workers";
const tokens = [
  { name: "ada", sha256: digestOf(SECRET).toString("hex"), roles: ["view", "act", "documents"] },
];

type Trace = AnswerOf<"readTrace">;
type Connections = AnswerOf<"connections">;
type Change = Extract<Trace["entries"][number], { kind: "change" }>;

/** Two workers, and questions to the primary. */
async function startWorkers() {
  const { uri, name, db } = await testDatabase();
  const config = testConfig(uri, name, {
    collections: { orders: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } },
    server: { admin: { port: 0, tokens } },
  });
  const { service, url, health } = await spawnWorkers(config, 2);
  const ask = async <T>(method: string, path: string, body?: object) => {
    const headers = { authorization: `Bearer ${SECRET}`, "content-type": "application/json" };
    const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) };
    const answer = await fetch(`${service.adminUrl}${API}${path}`, init);
    return { status: answer.status, body: (await answer.json()) as T };
  };
  const follow = async (sub: string) => {
    const client = await WsClient.connect(url, { token: await signToken({ sub }) });
    onTestFinished(() => client.socket.terminate());
    await client.ask({ type: "subscribe", id: "1", collection: "orders" });
    return client;
  };
  const connectionsOf = async (sub: string) =>
    (await ask<Connections>("GET", `/connections?sub=${sub}`)).body.connections.map(({ id }) => id);
  const orders = db.collection<{ _id: number; owner: string }>("orders");
  return { service, health, ask, follow, connectionsOf, orders };
}

/** The process of a connection, a live query or an entry, which is the first part of each id. */
const processOf = (id: string): string => id.split(".")[0] ?? "";
const processesOf = (ids: readonly string[]): string[] => [...new Set(ids.map(processOf))].sort();

const arrived = (client: WsClient, id: number) =>
  client.until(({ type, doc }) => type === "added" && (doc as { _id: number })._id === id);

test("a trace shows the events of a user whose connections are in two workers, and none after it was stopped", async () => {
  const { service, ask, follow, connectionsOf, orders } = await startWorkers();
  const clients = [await follow("ada")];
  // The primary chooses the worker.
  while (processesOf(await connectionsOf("ada")).length < 2) clients.push(await follow("ada"));
  await follow("ben");
  const connections = await connectionsOf("ada");
  const begun = await ask<{ id: string }>("POST", "/traces", { sub: "ada", seconds: 600 });
  expect(begun.status).toBe(200);
  const path = `/traces/${begun.body.id}`;
  const read = async (after = "") => (await ask<Trace>("GET", path + after)).body;

  const before = await read();
  expect(before.ended).toBeNull();
  expect(before.entries.map((entry) => entry.kind === "rights" && entry.connection).sort()).toEqual(
    [...connections].sort(),
  );
  await orders.insertOne({ _id: 1, owner: "ada" });
  await Promise.all(clients.map((client) => arrived(client, 1)));
  // Each worker has an entry of its own for the event, with the subscribers that it serves.
  const changesSince = async () =>
    (await read(`?after=${before.next}`)).entries.filter((entry): entry is Change => entry.kind === "change");
  const sendsOf = (changes: readonly Change[]) =>
    changes.flatMap(({ decisions }) => decisions.flatMap(({ sends }) => sends));
  await expect
    .poll(async () => sendsOf(await changesSince()).filter(({ state }) => state === "sent").length, PATIENCE)
    .toBe(clients.length);
  const changes = await changesSince();
  expect(changes).toHaveLength(2);
  for (const { decisions } of changes)
    expect(decisions).toMatchObject([{ effect: "added", rules: ["own"], because: expect.any(String) }]);
  const sends = sendsOf(changes);
  expect(sends.map(({ connection }) => connection).sort()).toEqual([...connections].sort());
  for (const send of sends) expect(send).toMatchObject({ sub: "ada", messages: ["added"] });
  expect(await scrape(service, "tidewire_traces")).toBe(2);

  expect((await ask("DELETE", path)).status).toBe(200);
  expect(await scrape(service, "tidewire_traces")).toBe(0);
  const stopped = await read();
  expect(stopped.ended).toBe("stopped");
  await orders.insertOne({ _id: 2, owner: "ada" });
  await Promise.all(clients.map((client) => arrived(client, 2)));
  const after = await read();
  expect(after.entries).toEqual(stopped.entries);
  expect((await read(`?after=${stopped.next}`)).entries).toEqual([]);
});

test("a trace goes on when a worker that holds none of its connections is killed, and can be stopped", async () => {
  const { ask, follow, connectionsOf, orders, health } = await startWorkers();
  const client = await follow("ada");
  const begun = await ask<{ id: string }>("POST", "/traces", { sub: "ada", seconds: 600 });
  const path = `/traces/${begun.body.id}`;
  const read = async () => (await ask<Trace>("GET", path)).body;
  const [held = ""] = await connectionsOf("ada");
  const other = (await health()).workers.find((worker) => "id" in worker && worker.id !== processOf(held));
  if (other?.pid === undefined) throw new Error("there are two workers");
  process.kill(other.pid, "SIGKILL");
  await expect.poll(async () => pidsOf(await health()).includes(other.pid ?? 0), PATIENCE).toBe(false);
  await expect.poll(async () => (await health()).ready, PATIENCE).toBe(true);
  await orders.insertOne({ _id: 1, owner: "ada" });
  await arrived(client, 1);
  await expect
    .poll(async () => (await read()).entries.filter(({ kind }) => kind === "change").length, PATIENCE)
    .toBe(1);
  expect((await ask("DELETE", path)).status).toBe(200);
  expect((await read()).ended).toBe("stopped");
});

test("a worker that is started again takes up the running trace before it serves clients, and the answer says so", async () => {
  const { service, ask, follow, connectionsOf, orders, health } = await startWorkers();
  await follow("ada");
  const [held = ""] = await connectionsOf("ada");
  const begun = await ask<{ id: string }>("POST", "/traces", { sub: "ada", seconds: 600 });
  const path = `/traces/${begun.body.id}`;
  const read = async (after = "") => (await ask<Trace>("GET", path + after)).body;
  const before = await read();
  expect(before).toMatchObject({ lostWorkers: 0, entries: [{ kind: "rights" }] });
  const { workers } = await health();
  const holder = workers.find((worker) => "id" in worker && worker.id === processOf(held));
  process.kill(holder?.pid ?? 0, "SIGKILL");
  await expect.poll(async () => pidsOf(await health()).includes(holder?.pid ?? 0), PATIENCE).toBe(false);
  await expect.poll(async () => (await read(`?after=${before.next}`)).lostWorkers, PATIENCE).toBe(1);
  await expect.poll(async () => (await health()).ready, PATIENCE).toBe(true);
  const old = processesOf(workers.flatMap((worker) => ("id" in worker ? worker.id : [])));
  const isNew = (id: string) => !old.includes(processOf(id));
  let connections: string[] = [];
  while (!connections.some(isNew)) {
    await follow("ada");
    connections = await connectionsOf("ada");
  }
  await orders.insertOne({ _id: 1, owner: "ada" });
  const entriesOfNew = async () => (await read()).entries.filter(({ key }) => isNew(key));
  await expect
    .poll(async () => (await entriesOfNew()).map(({ kind }) => kind), PATIENCE)
    .toEqual(["rights", "change"]);
  expect((await read()).lostWorkers).toBe(1);
  expect(await scrape(service, "tidewire_traces")).toBe(2);
  expect((await ask("DELETE", path)).status).toBe(200);
  expect(await scrape(service, "tidewire_traces")).toBe(0);
});

test("a worker that is started again does not take up a trace that was stopped", async () => {
  const { service, ask, health } = await startWorkers();
  const ids: string[] = [];
  for (const sub of ["ada", "ben"])
    ids.push((await ask<{ id: string }>("POST", "/traces", { sub, seconds: 600 })).body.id);
  await ask("DELETE", `/traces/${ids[0]}`);
  const [pid = 0] = pidsOf(await health());
  process.kill(pid, "SIGKILL");
  await expect.poll(async () => pidsOf(await health()).includes(pid), PATIENCE).toBe(false);
  await expect.poll(async () => (await health()).ready, PATIENCE).toBe(true);
  expect(await scrape(service, "tidewire_traces")).toBe(2);
});

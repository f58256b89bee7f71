/** The effect on subscriptions of edited rules, of nodes that start and stop, and of another deployment. */
import type { Timestamp } from "mongodb";
import { afterEach, expect, test } from "vitest";
import { startReplicaSet, until } from "../support/mongod.ts";
import { signToken } from "../support/service.ts";
import { type Received, WsClient } from "../support/ws-client.ts";
import { endEpoch } from "./forge.ts";
import { briefly, eventually, held, type Note } from "./scenario.ts";
import { COLLECTIONS, type SharedService, startShared } from "./shared-service.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(...args: Parameters<typeof startShared>) {
  const shared = await startShared(...args);
  ends.push(() => shared.stop());
  const notes = shared.client.db(shared.database).collection<Note>("notes");
  const now = async () => (await shared.client.db("admin").command({ ping: 1 }))["operationTime"];
  return { shared, notes, now };
}

async function connect({ url }: SharedService, claims: Record<string, unknown> | null = { sub: "u1" }) {
  const client = await WsClient.connect(url, claims === null ? {} : { token: await signToken(claims) });
  ends.push(() => client.socket.terminate());
  return client;
}

const subscribe = (client: WsClient, id = "a", more: object = {}) =>
  client.ask({ type: "subscribe", id, collection: "notes", ...more });
const place = ({ cursor, ticket }: Received) => ({ cursor, ticket });

/** The configuration with other rules for `notes`. */
const withNotes = ({ file }: SharedService, ...rules: object[]) => ({
  ...file,
  collections: { ...COLLECTIONS, notes: { rules } },
});
const OWNER = COLLECTIONS.notes.rules[1] as object;

test("[4] an edit that narrows the rules: reset, and nothing that was withdrawn is ever pushed again", async () => {
  const { shared, notes, now } = await start();
  await notes.insertMany([
    { _id: "1", owner: "u1", n: 1, title: "t" },
    { _id: "2", owner: "u1", n: 2 },
  ]);
  const client = await connect(shared);
  const first = await subscribe(client);
  await client.fence(await now());
  expect(held(client.received)).toHaveLength(2);
  const from = client.received.length;
  await shared.reload(
    withNotes(shared, {
      name: "owner",
      filter: { owner: "%%user.sub", n: 1 },
      fields: { exclude: ["title"] },
    }),
  );
  await notes.updateOne({ _id: "2" }, { $set: { x: 1 } });
  await notes.updateOne({ _id: "1" }, { $set: { title: "u" } });
  await notes.deleteOne({ _id: "2" });
  await client.fence(await now());
  const after = client.received.slice(from);
  expect(briefly(after)[0]).toEqual(["subscribed", "reset", "rights-changed"]);
  expect(after[0]?.["query"]).not.toBe(first["query"]);
  expect(held(after)).toEqual([{ _id: "1", owner: "u1", n: 1 }]);
  expect(JSON.stringify(after)).not.toMatch(/title|"2"/);
});

test("[4] an edit that widens the rules: reset, and all that may be seen now", async () => {
  const { shared, notes, now } = await start();
  await notes.insertMany([
    { _id: "1", owner: "u1" },
    { _id: "2", owner: "u2" },
  ]);
  const client = await connect(shared);
  await subscribe(client);
  await client.fence(await now());
  await shared.reload(withNotes(shared, { name: "all" }));
  await client.fence(await now());
  expect(held(client.received)).toHaveLength(2);
});

test("[4] an edit that concerns a subscription not at all sends nothing, and cursor and ticket stay good", async () => {
  const { shared, notes, now } = await start();
  const client = await connect(shared);
  const first = await subscribe(client);
  await client.fence(await now());
  const from = client.received.length;
  const edited = {
    ...shared.file,
    collections: { ...COLLECTIONS, staff: { rules: [{ name: "everybody" }] } },
  };
  await shared.reload(edited);
  await notes.insertOne({ _id: "1", owner: "u1" });
  await client.fence(await now());
  expect(client.received.slice(from).map(({ type }) => type)).toEqual(["added", "fenced"]);
  const again = await connect(shared);
  expect(await subscribe(again, "a", place(first))).toMatchObject({ start: "resumed" });
});

test("[3.2] an edit that leaves no rule ends the subscription as forbidden, one that takes the collection away as config", async () => {
  const { shared, notes, now } = await start();
  const client = await connect(shared);
  await subscribe(client, "a");
  await subscribe(client, "b", { collection: "board" });
  await client.fence(await now());
  const from = client.received.length;
  const { board: _gone, ...rest } = COLLECTIONS;
  const nobody = { rules: [{ name: "admin", when: { "%%user.roles": { $in: ["admin"] } } }] };
  await shared.reload({ ...shared.file, collections: { ...rest, notes: nobody } });
  await notes.insertOne({ _id: "1", owner: "u1", public: true });
  await client.fence(await now());
  expect(client.received.slice(from, -1)).toEqual([
    { type: "unsubscribed", id: "a", reason: "forbidden" },
    { type: "unsubscribed", id: "b", reason: "config" },
  ]);
  expect(await subscribe(client, "a")).toMatchObject({ code: "forbidden" });
});

test("[3.2] the reason does not reveal to an anonymous client whether a collection still exists", async () => {
  const { shared } = await start({ auth: { anonymous: true } });
  const client = await connect(shared, null);
  await subscribe(client, "a", { collection: "board" });
  const { board: _gone, ...rest } = COLLECTIONS;
  await shared.reload({ ...shared.file, collections: rest });
  expect(await client.until(({ type }) => type === "unsubscribed")).toMatchObject({ reason: "forbidden" });
});

test("[3.3] subscriptions that an edit maps to one live query share it", async () => {
  const { shared, notes, now } = await start();
  await notes.insertOne({ _id: "1", owner: "u1", secret: "s" });
  const client = await connect(shared);
  await subscribe(client, "a", { fields: ["owner"] });
  await subscribe(client, "b", { fields: ["owner", "n"] });
  await client.fence(await now());
  const from = client.received.length;
  await shared.reload(
    withNotes(shared, { name: "narrow", filter: { owner: "%%user.sub" }, fields: { include: ["owner"] } }),
  );
  await client.fence(await now());
  const after = client.received.slice(from);
  expect(after.filter(({ type }) => type === "snapshot").length).toBeLessThanOrEqual(1);
  const last = new Map<unknown, Received>();
  for (const got of client.received) if (got.type === "subscribed") last.set(got["id"], got);
  expect(new Set([...last.values()].map((got) => got["query"])).size).toBe(1);
  await notes.insertOne({ _id: "2", owner: "u1" });
  await client.fence(await now());
  expect(client.received.slice(from).filter(({ type }) => type === "added")).toHaveLength(1);
});

test("[3.3] after an edit, a ticket of before is answered by rights-changed; with snapshot: false no snapshot comes", async () => {
  const { shared, notes, now } = await start();
  await notes.insertOne({ _id: "1", owner: "u1" });
  const client = await connect(shared);
  await client.fence(await now());
  const first = await subscribe(client, "a", { snapshot: false });
  await shared.reload(withNotes(shared, { name: "other", filter: { owner: "%%user.sub", n: null } }));
  await client.fence(await now());
  expect(briefly(client.received.slice(2))).toEqual([
    ["subscribed", "live"],
    ["subscribed", "reset", "rights-changed"],
    ["fenced"],
  ]);
  const again = await connect(shared);
  const answer = await subscribe(again, "a", place(first));
  expect(answer).toMatchObject({ start: "reset", reason: "rights-changed" });
});

test("[4] after edits in the middle of subscribing and writing, every client equals find under the last rules", async () => {
  const { shared, notes, now } = await start();
  const clients = [await connect(shared), await connect(shared, { sub: "u2" }), await connect(shared)];
  const rules = [
    [OWNER],
    [{ name: "few", filter: { owner: "%%user.sub", n: { $lt: 3 } } }],
    [{ name: "all", fields: { include: ["owner"] } }],
    [{ name: "admin", when: { "%%user.sub": "u2" } }, OWNER],
  ];
  let n = 0;
  for (const set of [...rules, ...rules, ...rules]) {
    for (const client of clients) {
      client.send({ type: "subscribe", id: `${n++}`, collection: "notes" });
      if (n % 3 === 0) client.send({ type: "unsubscribe", id: `${n - 4}` });
    }
    const writes = [1, 2, 3, 4].map((k) =>
      notes.updateOne(
        { _id: `${k}` },
        { $set: { owner: `u${1 + ((n + k) % 2)}`, n: (n + k) % 6 } },
        { upsert: true },
      ),
    );
    await shared.reload(withNotes(shared, ...(set as object[])));
    await Promise.all(writes);
  }
  for (const client of clients) await client.fence(await now());
  const expected = (sub: string) =>
    notes.find(sub === "u2" ? {} : { owner: sub }, { projection: { secret: 0 } }).toArray();
  for (const [index, sub] of ["u1", "u2", "u1"].entries()) {
    const { received } = clients[index]!;
    const living = new Map<unknown, unknown>();
    for (const got of received) {
      if (got.type === "subscribed") living.set(got["id"], got["query"]);
      if (got.type === "unsubscribed") living.delete(got["id"]);
    }
    expect(living.size).toBeGreaterThan(0);
    for (const query of new Set(living.values())) {
      const documents = held(
        received.filter(
          (got) => got["query"] === query && !(got.type === "subscribed" && got["start"] === "shared"),
        ),
      );
      expect(sorted(documents)).toEqual(sorted(await expected(sub)));
    }
  }
});

const sorted = (documents: readonly unknown[]) =>
  documents.map((doc) => JSON.stringify(Object.entries(doc as object).sort())).sort();

test("[3.2] draining: notifies every client, continues to deliver, and closes the remaining connections with 4202", async () => {
  const { shared, notes, now } = await start({ server: { drainTimeout: "4s" } });
  const clients = [await connect(shared), await connect(shared)];
  for (const client of clients) await subscribe(client);
  const drained = shared.service.drain();
  for (const client of clients) {
    const told = await client.until(({ type }) => type === "draining");
    expect(told).toEqual({ type: "draining", withinMs: 4_000 });
  }
  expect(shared.service.readiness()).toMatchObject({ ready: false, status: "draining" });
  await notes.insertOne({ _id: "1", owner: "u1" });
  await clients[0]?.fence(await now());
  expect(held(clients[0]?.received ?? [])).toHaveLength(1);
  await expect(WsClient.connect(shared.url, { silent: true })).rejects.toThrow();
  for (const client of clients) {
    expect((await client.untilClosed()).code).toBe(4202);
    expect(client.received.at(-1)).toMatchObject({ type: "error", code: "unavailable" });
  }
  await drained;
});

test("[3.2] draining ends as soon as the last client has left", async () => {
  const { shared } = await start({ server: { drainTimeout: "60s" } });
  const client = await connect(shared);
  const drained = shared.service.drain();
  await client.until(({ type }) => type === "draining");
  await client.close();
  await drained;
});

test("[G2] cursor and ticket are valid on another node, and after a restart", async () => {
  const { shared, notes, now } = await start();
  const client = await connect(shared);
  const first = await subscribe(client);
  await notes.insertOne({ _id: "1", owner: "u1" });
  const restarted = await shared.restart();
  ends.push(() => restarted.service.stop());
  await notes.insertOne({ _id: "2", owner: "u1" });
  const again = await connect(restarted);
  const answer = await subscribe(again, "a", place(first));
  expect(answer).toMatchObject({ start: "resumed" });
  await again.fence(await now());
  expect(briefly(again.received).filter(([type]) => type === "added")).toEqual([
    ["added", "insert", { _id: "1", owner: "u1" }],
    ["added", "insert", { _id: "2", owner: "u1" }],
  ]);
});

test("[3.3] answers a cursor that is older than the oplog with reset (history-lost), and a complete snapshot", async () => {
  // The oplog is cut no further than to the last checkpoint of the storage.
  const set = await startReplicaSet({ members: 1, args: ["--oplogSize", "2", "--syncdelay", "1"] });
  ends.push(() => set.stop());
  const { shared, notes, now } = await start({ history: { bytes: "1MiB" } }, set.uri);
  await notes.insertOne({ _id: "1", owner: "u1" });
  const before = await connect(shared);
  const old = await subscribe(before);
  const { t } = await now();
  const pad = "x".repeat(1_000_000);
  const oplog = shared.client.db("local").collection<{ ts: Timestamp }>("oplog.rs");
  await until("the oplog to forget", async () => {
    await notes.replaceOne({ _id: "large" }, { owner: "u2", pad }, { upsert: true });
    const oldest = await oplog.findOne({}, { sort: { $natural: 1 } });
    return oldest !== null && oldest.ts.t > t + 1 ? true : undefined;
  });
  const client = await connect(shared);
  const answer = await subscribe(client, "a", place(old));
  expect(answer).toMatchObject({ start: "reset", reason: "history-lost" });
  await client.fence(await now());
  expect(held(client.received)).toEqual([{ _id: "1", owner: "u1" }]);
});

test("[3.3] a cursor of another epoch is history-lost with its own ticket, and cursor-invalid with any other or none", async () => {
  const { shared, notes, now } = await start();
  await notes.insertOne({ _id: "1", owner: "u1" });
  const before = await connect(shared);
  const old = await subscribe(before);
  await shared.service.stop();
  await endEpoch(shared);
  const restarted = await shared.restart();
  ends.push(() => restarted.service.stop());
  const client = await connect(restarted);
  const fresh = await subscribe(client, "fresh");
  await client.ask({ type: "unsubscribe", id: "fresh" });
  const thief = await connect(restarted, { sub: "u2" });
  const cases: readonly (readonly [WsClient, object, string])[] = [
    [client, place(old), "history-lost"],
    [client, { cursor: old["cursor"], ticket: fresh["ticket"] }, "cursor-invalid"],
    [client, { cursor: fresh["cursor"], ticket: old["ticket"] }, "cursor-invalid"],
    [client, { cursor: old["cursor"] }, "cursor-invalid"],
    [thief, place(old), "cursor-invalid"],
  ];
  for (const [reader, given, reason] of cases) {
    expect(await subscribe(reader, "a", given)).toMatchObject({ start: "reset", reason });
    await reader.fence(await now());
    await reader.ask({ type: "unsubscribe", id: "a" });
  }
  await eventually(() => client.received.some(({ type }) => type === "snapshot"), "a snapshot");
});

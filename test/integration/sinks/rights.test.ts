/** Sinks with claims of the configuration: the rules judge them as they judge a client. */
import { MongoClient } from "mongodb";
import { expect, test } from "vitest";
import { SinkStore } from "../../../src/sinks/sink-store.ts";
import { RevocationStore } from "../../../src/source/revocation-store.ts";
import { startTestService, toConfig } from "../../support/service.ts";
import { WebhookReceiver } from "../../support/webhook-receiver.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
const OWN = { name: "own", filter: { owner: "%%user.sub" }, fields: { exclude: ["secret"] } };

interface Order {
  _id: number;
  owner: string;
  city?: string;
  secret?: number;
}

async function start(rule: Record<string, unknown> = OWN, sink: Record<string, unknown> = {}) {
  const receiver = await WebhookReceiver.start();
  const started = await startTestService({
    collections: { orders: { rules: [rule] } },
    sinks: { ada: { collection: "orders", as: { sub: "ada" }, snapshot: true, to: receiver.to, ...sink } },
  });
  const client = await new MongoClient(started.uri).connect();
  const state = client.db(`${started.name}-state`);
  const store = new SinkStore(state, client);
  const stateOf = async () => (await store.states())[0];
  await expect.poll(async () => (await stateOf())?.position ?? null, PATIENCE).not.toBeNull();
  return {
    ...started,
    receiver,
    client,
    state,
    store,
    stateOf,
    orders: started.db.collection<Order>("orders"),
  };
}

test("sends what the rules show to the user of the sink, and nothing else", async () => {
  const { receiver, orders, client } = await start();
  await orders.insertMany([
    { _id: 1, owner: "ada", secret: 1 },
    { _id: 2, owner: "bob" },
    { _id: 3, owner: "ada" },
  ]);
  await receiver.holds(2);
  expect(receiver.accepted.map(({ subject }) => subject).sort()).toEqual(["1", "3"]);
  expect(JSON.stringify(receiver.accepted)).not.toContain("secret");
  await client.close();
});

test("an edit of the rules reaches a sink: what it may not see any more is removed", async () => {
  const { receiver, orders, file, service, client } = await start();
  await orders.insertMany([
    { _id: 1, owner: "ada", city: "Oslo" },
    { _id: 2, owner: "ada", city: "Rome" },
  ]);
  await receiver.holds(2);
  const rule = { ...OWN, filter: { owner: "%%user.sub", city: "Oslo" } };
  await service.reload(toConfig({ ...file, collections: { orders: { rules: [rule] } } }));
  await receiver.holds(3);
  expect(receiver.accepted.at(-1)).toMatchObject({ subject: "2", data: { type: "removed", cause: "grant" } });
  await orders.updateOne({ _id: 2 }, { $set: { secret: 3 } });
  await orders.insertOne({ _id: 3, owner: "ada", city: "Oslo" });
  await receiver.holds(4);
  expect(receiver.accepted.at(-1)?.subject).toBe("3");
  await client.close();
});

test("a revoked user's sink sends nothing more, until the revocation is undone", async () => {
  const { receiver, orders, state, stateOf, client } = await start();
  const revocations = new RevocationStore(state);
  const which = { iss: null, sub: "ada", jti: null };
  const nowMs = Date.now();
  await revocations.revoke({ ...which, issuedBeforeMs: nowMs, expiresAtMs: nowMs + 3_600_000 });
  await expect.poll(async () => (await stateOf())?.trouble, PATIENCE).toContain("unauthenticated");
  await orders.insertOne({ _id: 1, owner: "ada" });
  await receiver.rests();
  expect(receiver.requests).toBe(0);
  await revocations.undo(which);
  await receiver.holds(1);
  expect(receiver.accepted[0]?.subject).toBe("1");
  await client.close();
});

test("messages that wait are not sent while the user of the sink is revoked", async () => {
  const { receiver, orders, state, stateOf, client } = await start();
  await receiver.close();
  await orders.insertMany([1, 2, 3].map((_id) => ({ _id, owner: "ada" })));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(3);
  const revocations = new RevocationStore(state);
  const which = { iss: null, sub: "ada", jti: null };
  const nowMs = Date.now();
  await revocations.revoke({ ...which, issuedBeforeMs: nowMs, expiresAtMs: nowMs + 3_600_000 });
  await expect.poll(async () => (await stateOf())?.trouble, PATIENCE).toContain("unauthenticated");
  await receiver.open();
  // Longer than the pause between two attempts at a target that was down.
  await receiver.rests(2_000);
  expect(receiver.requests).toBe(0);
  await revocations.undo(which);
  await receiver.holds(3);
  expect(new Set(receiver.accepted.map(({ subject }) => subject))).toEqual(new Set(["1", "2", "3"]));
  await client.close();
});

const ONLY_OSLO = { ...OWN, filter: { owner: "%%user.sub", city: "Oslo" } };

test("[G5] messages that wait say nothing any more that an edit of the rules forbids", async () => {
  const { receiver, orders, file, service, stateOf, client } = await start();
  await orders.insertOne({ _id: 4, owner: "ada", city: "Oslo" });
  await receiver.holds(1);
  await receiver.close();
  await orders.insertMany([1, 2, 3].map((_id) => ({ _id, owner: "ada", city: _id === 1 ? "Oslo" : "Rome" })));
  // 1 was shown before in a form that the new rule hides, 3 has left, and 4 is known to the receiver.
  await orders.updateOne({ _id: 1 }, { $set: { city: "Rome" } });
  await orders.updateOne({ _id: 1 }, { $set: { city: "Oslo" } });
  await orders.deleteOne({ _id: 3 });
  await orders.updateOne({ _id: 4 }, { $set: { city: "Rome" } });
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(7);
  await service.reload(toConfig({ ...file, collections: { orders: { rules: [ONLY_OSLO] } } }));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(4);
  await receiver.open();
  await receiver.holds(5);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  const later = receiver.accepted.slice(1);
  expect(later.map(({ subject, data }) => `${subject} ${data.type}`).sort()).toEqual([
    "1 changed",
    "2 removed",
    "3 removed",
    "4 removed",
  ]);
  expect(JSON.stringify(later)).not.toContain("Rome");
  expect(receiver.valuesOf("1", "city")).toEqual(["Oslo"]);
  expect((await stateOf())?.resets).toBe(0);
  await client.close();
});

test("[G5] a sink without a snapshot drops the messages that wait when its rights change, and says so", async () => {
  const { receiver, orders, file, service, stateOf, client } = await start(OWN, { snapshot: false });
  await receiver.close();
  await orders.insertMany([1, 2].map((_id) => ({ _id, owner: "ada", city: "Rome" })));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(2);
  await service.reload(toConfig({ ...file, collections: { orders: { rules: [ONLY_OSLO] } } }));
  await expect.poll(async () => (await stateOf())?.lastReset?.reason, PATIENCE).toBe("rights-changed");
  await expect.poll(async () => (await stateOf())?.position ?? null, PATIENCE).not.toBeNull();
  await receiver.open();
  await orders.insertOne({ _id: 3, owner: "ada", city: "Oslo" });
  await receiver.holds(1);
  await receiver.rests(1_000);
  expect(receiver.accepted.map(({ subject }) => subject)).toEqual(["3"]);
  expect(await stateOf()).toMatchObject({ resets: 1, spooledMessages: 0 });
  await client.close();
});

test("[G5] a message that was parked before the rights changed is removed in place of a replay", async () => {
  const { receiver, orders, file, service, store, stateOf, client } = await start(OWN, {
    retry: { attempts: 1 },
  });
  receiver.respond = () => 400;
  await orders.insertOne({ _id: 1, owner: "ada", city: "Rome" });
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(1);
  await service.reload(toConfig({ ...file, collections: { orders: { rules: [ONLY_OSLO] } } }));
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(2);
  // The second one is `removed`, which the new rights have brought.
  receiver.respond = () => 200;
  expect(await store.askReplay("ada", null)).toBe(2);
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(0);
  await receiver.holds(1);
  expect(receiver.accepted.map(({ data }) => data.type)).toEqual(["removed"]);
  await client.close();
});

test("an edit of the rules does not reset a sink without a snapshot", async () => {
  const { receiver, orders, file, service, stateOf, client } = await start(OWN, { snapshot: false });
  await orders.insertOne({ _id: 1, owner: "ada", city: "Rome" });
  await receiver.holds(1);
  const rule = { ...OWN, filter: { owner: "%%user.sub", city: "Oslo" } };
  await service.reload(toConfig({ ...file, collections: { orders: { rules: [rule] } } }));
  await orders.insertMany([
    { _id: 2, owner: "ada", city: "Rome" },
    { _id: 3, owner: "ada", city: "Oslo" },
  ]);
  await receiver.holds(2);
  expect(receiver.accepted.map(({ subject }) => subject)).toEqual(["1", "3"]);
  await expect.poll(async () => (await stateOf())?.delivered, PATIENCE).toBe(2);
  expect((await stateOf())?.resets).toBe(0);
  await client.close();
});

test("a sink whose claims no rule admits waits, and names the reason", async () => {
  const receiver = await WebhookReceiver.start();
  const { uri, name } = await startTestService({
    collections: { orders: { rules: [{ ...OWN, when: { "%%user.roles": "admin" } }] } },
    sinks: { ada: { collection: "orders", as: { sub: "ada" }, to: receiver.to } },
  });
  const client = await new MongoClient(uri).connect();
  const store = new SinkStore(client.db(`${name}-state`), client);
  await expect.poll(async () => (await store.states())[0]?.trouble, PATIENCE).toContain("forbidden");
  await client.close();
});

/** Sinks with claims of the configuration: the rules judge them as they judge a client. */
import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import type { SinkStore } from "../../../src/sinks/sink-store.ts";
import { RevocationStore } from "../../../src/source/revocation-store.ts";
import { toConfig } from "../../support/service.ts";
import { startWebhookSink } from "../../support/webhook-world.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
const OWN = { name: "own", filter: { owner: "%%user.sub" }, fields: { exclude: ["secret"] } };

interface Order {
  _id: number;
  owner: string;
  city?: string;
  secret?: number;
  until?: Date;
}

async function start(rule: Record<string, unknown> = OWN, sink: Record<string, unknown> = {}) {
  const started = await startWebhookSink<Order>({ as: { sub: "ada" }, snapshot: true, ...sink }, [rule]);
  await started.follows();
  return started;
}

test("sends what the rules show to the user of the sink, and nothing else", async () => {
  const { receiver, orders } = await start();
  await orders.insertMany([
    { _id: 1, owner: "ada", secret: 1 },
    { _id: 2, owner: "bob" },
    { _id: 3, owner: "ada" },
  ]);
  await receiver.holds(2);
  expect(receiver.accepted.map(({ subject }) => subject).sort()).toEqual(["1", "3"]);
  expect(JSON.stringify(receiver.accepted)).not.toContain("secret");
});

test("an edit of the rules reaches a sink: what it may not see any more is removed", async () => {
  const { receiver, orders, file, service } = await start();
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
});

test("a revoked user's sink sends nothing more, until the revocation is undone", async () => {
  const { receiver, orders, state, stateOf } = await start();
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
});

test("messages that wait are not sent while the user of the sink is revoked", async () => {
  const { receiver, orders, state, stateOf } = await start();
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
});

const ONLY_OSLO = { ...OWN, filter: { owner: "%%user.sub", city: "Oslo" } };

test("[G5] messages that wait say nothing any more that an edit of the rules forbids", async () => {
  const { receiver, orders, file, service, stateOf } = await start();
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
});

test("[G5] a sink without a snapshot drops the messages that wait when its rights change, and says so", async () => {
  const { receiver, orders, file, service, stateOf } = await start(OWN, { snapshot: false });
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
});

test("[G5] a message that was parked before the rights changed is removed in place of a replay", async () => {
  const { receiver, orders, file, service, store, stateOf } = await start(OWN, {
    retry: { attempts: 1 },
  });
  receiver.respond = () => 400;
  await orders.insertOne({ _id: 1, owner: "ada", city: "Rome" });
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(1);
  await service.reload(toConfig({ ...file, collections: { orders: { rules: [ONLY_OSLO] } } }));
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(2);
  // The second one is `removed`, which the new rights have brought.
  receiver.respond = () => 200;
  expect(await store.askReplay("late", null)).toBe(2);
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(0);
  await receiver.holds(1);
  expect(receiver.accepted.map(({ data }) => data.type)).toEqual(["removed"]);
});

test("an edit of the rules does not reset a sink without a snapshot", async () => {
  const { receiver, orders, file, service, stateOf } = await start(OWN, { snapshot: false });
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
});

/** Long, because the next step of a sink that is followed again would hide what a resumption does. */
const STEP_MS = 8_000;
const VALID = { name: "valid", filter: { owner: "%%user.sub", until: { $gt: "%%now" } } };

async function startWithNow(sink: Record<string, unknown>) {
  const options = { rules: { nowStep: `${STEP_MS}ms` }, history: { window: "5m" } };
  const started = await startWebhookSink<Order>({ as: { sub: "ada" }, ...sink }, [VALID], options);
  await started.follows();
  // Long enough for what a test does before, on a busy machine as well.
  const until = new Date(Date.now() + 10_000);
  return { ...started, until, later: new Date(Date.now() + 3_600_000) };
}

/** Waits for the beginning of a step of `%%now` after a time. */
async function stepAfter(time: Date): Promise<void> {
  const step = Math.floor(time.getTime() / STEP_MS) + 1;
  const isEarly = () => Date.now() > step * STEP_MS && Date.now() % STEP_MS < STEP_MS / 4;
  await expect.poll(isEarly, PATIENCE).toBe(true);
}

/** No node follows the sink until a time has passed, and `%%now` has just taken a step past it. */
async function restUntil(time: Date, store: SinkStore): Promise<void> {
  await store.setControl("late", { isPaused: false, disabled: { at: new Date(), reason: "a test" } });
  await stepAfter(time);
  await store.setControl("late", { isPaused: false, disabled: null });
}

test("[G5] messages that wait say nothing that a step of %%now forbids, taken while no node follows the sink", async () => {
  const { receiver, orders, store, stateOf, until, later } = await startWithNow({ snapshot: true });
  await receiver.close();
  await orders.insertMany([
    { _id: 1, owner: "ada", city: "Rome", until },
    { _id: 2, owner: "ada", city: "Oslo", until: later },
  ]);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(2);
  await restUntil(until, store);
  await receiver.open();
  await receiver.holds(2);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  const sent = receiver.accepted.map(({ subject, data }) => `${subject} ${data.type}`);
  expect(sent.sort()).toEqual(["1 removed", "2 added"]);
  expect((await stateOf())?.resets).toBe(0);
});

test("[G5] a sink without a snapshot drops the messages that wait if %%now has taken a step meanwhile", async () => {
  const { receiver, orders, store, stateOf, until, later } = await startWithNow({ snapshot: false });
  await receiver.close();
  await orders.insertOne({ _id: 1, owner: "ada", city: "Rome", until });
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(1);
  await restUntil(until, store);
  await receiver.open();
  await expect.poll(async () => (await stateOf())?.lastReset?.reason, PATIENCE).toBe("rights-changed");
  await expect.poll(async () => (await stateOf())?.position ?? null, PATIENCE).not.toBeNull();
  await orders.insertOne({ _id: 2, owner: "ada", until: later });
  await receiver.holds(1);
  await receiver.rests(1_000);
  expect(receiver.accepted.map(({ subject }) => subject)).toEqual(["2"]);
});

test("a run keeps no ids of messages that do not arrive again, because their difference is sent in place of them", async () => {
  const { receiver, orders, store, stateOf, later } = await startWithNow({ snapshot: true });
  const never = deferred();
  let isFirst = true;
  receiver.respond = async ({ subject }) => {
    if (subject !== "1" || !isFirst) return 200;
    isFirst = false;
    await never.promise;
    return 503;
  };
  // The request for 1 holds the position back.
  await orders.insertOne({ _id: 1, owner: "ada", until: later });
  await expect.poll(() => receiver.requests, PATIENCE).toBe(1);
  await orders.insertOne({ _id: 2, owner: "ada", until: later });
  await expect.poll(async () => (await stateOf())?.ahead.length, PATIENCE).toBe(1);
  await restUntil(new Date(), store);
  await expect.poll(async () => (await stateOf())?.delivered, PATIENCE).toBe(3);
  expect(await stateOf()).toMatchObject({ ahead: [], resets: 0 });
  never.resolve();
});

test("a sink whose claims no rule admits waits, and names the reason", async () => {
  const rule = { ...OWN, when: { "%%user.roles": "admin" } };
  const { stateOf } = await startWebhookSink({ as: { sub: "ada" } }, [rule]);
  await expect.poll(async () => (await stateOf())?.trouble, PATIENCE).toContain("forbidden");
});

/** The way from a change to the push service: retries, collapse, rights that are withdrawn, other holders. */
import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { PARTITIONS, partitionOf } from "../../../src/push/partition-of.ts";
import { LeaseStore } from "../../../src/source/lease-store.ts";
import { RevocationStore } from "../../../src/source/revocation-store.ts";
import { testDatabase } from "../../support/mongod.ts";
import { startNode } from "../../support/node.ts";
import { PushClient } from "../../support/push-client.ts";
import { PushEndpoint } from "../../support/push-endpoint.ts";
import { ORDERS, pushSection, startPushService } from "../../support/push-world.ts";
import { testConfig, toConfig } from "../../support/service.ts";

test("a push service that fails is asked again, and a burst meanwhile collapses to the latest change", async () => {
  const { as, endpoint, orders, outcomes } = await startPushService();
  await as("ada").registered(endpoint.subscription(), { on: ["added", "changed"] });
  let isDown = true;
  endpoint.answerBy(() => ({ status: isDown ? 503 : 201 }));
  await orders.insertOne({ _id: 1, number: 1, owner: "ada", status: "s0" });
  await expect.poll(() => endpoint.received.length).toBeGreaterThan(1);
  for (let n = 1; n <= 50; n++) await orders.updateOne({ _id: 1 }, { $set: { status: `s${n}` } });
  await expect.poll(async () => (await outcomes())["collapsed"]).toBe(50);
  isDown = false;
  await endpoint.until(({ title }) => title === "Order 1 is s50");
  expect(endpoint.accepted()).toHaveLength(1);
  await expect.poll(async () => (await outcomes())["accepted"]).toBe(1);
});

test("Retry-After is honoured up to push.retryMax, and a push is dropped after push.attempts while the registration stays", async () => {
  const { as, endpoint, orders, outcomes } = await startPushService({ attempts: 3, retryMax: "1s" });
  await as("ada").registered(endpoint.subscription());
  const times: number[] = [];
  endpoint.answerBy(() => {
    times.push(performance.now());
    return { status: 429, headers: { "retry-after": "3600" } };
  });
  await orders.insertOne({ _id: 1, owner: "ada" });
  await expect.poll(async () => (await outcomes())["dropped"]).toBe(1);
  expect(times).toHaveLength(3);
  for (const [index, time] of times.entries())
    if (index > 0) expect(time - times[index - 1]!).toBeGreaterThan(995);
  endpoint.answerBy(() => ({ status: 201 }));
  await orders.insertOne({ _id: 2, number: 2, owner: "ada" });
  await endpoint.until(({ title }) => title === "Order 2");
});

test.each([404, 410])("an answer with %i removes the registration", async (status) => {
  const { as, endpoint, orders, pushes, metric } = await startPushService();
  const ada = as("ada");
  await ada.registered(endpoint.subscription());
  endpoint.answerBy(() => ({ status }));
  await orders.insertOne({ _id: 1, owner: "ada" });
  await expect.poll(() => pushes.countDocuments()).toBe(0);
  // The list is read from a majority, which follows.
  await expect.poll(() => ada.list()).toEqual([]);
  await expect.poll(() => metric("tidewire_push_removed_total")).toBe(1);
});

test("a push that is refused for good is not repeated, and the next one is tried", async () => {
  const { as, endpoint, orders, outcomes } = await startPushService();
  await as("ada").registered(endpoint.subscription());
  endpoint.answerBy(() => ({ status: 403 }));
  await orders.insertOne({ _id: 1, owner: "ada" });
  await expect.poll(async () => (await outcomes())["refused"]).toBe(1);
  endpoint.answerBy(() => ({ status: 201 }));
  await orders.insertOne({ _id: 2, number: 2, owner: "ada" });
  await endpoint.until(({ title }) => title === "Order 2");
  expect(endpoint.received).toHaveLength(2);
});

test("a host that refuses is called less and less often, and fills no log", async () => {
  const { as, endpoint, orders, outcomes } = await startPushService({ retryFirst: "30s", retryMax: "10m" });
  await as("ada").registered(endpoint.subscription("refuses"));
  await as("bob").registered(endpoint.subscription("accepts"));
  endpoint.answerBy(({ browser }) => ({ status: browser === "refuses" ? 400 : 201 }));
  for (let n = 1; n <= 3; n++) {
    await orders.insertMany(["ada", "bob"].map((owner) => ({ _id: `${owner} ${n}`, owner })));
    await expect.poll(() => endpoint.accepted("accepts")).toHaveLength(n);
    // The push for one was offered before the push for the other was, and goes to the same host.
    await expect.poll(async () => (await outcomes())["refused"]).toBe(1);
  }
  expect(endpoint.received.filter(({ browser }) => browser === "refuses")).toHaveLength(1);
});

test("a slow host of one user has push.concurrencyPerUser requests, and delays nobody else", async () => {
  const options = { concurrency: 3, concurrencyPerUser: 2, timeout: "2m" };
  const { as, endpoint, orders, metric } = await startPushService(options);
  let slow = 0;
  endpoint.answerBy(({ browser }) => {
    if (!browser.startsWith("slow-")) return { status: 201 };
    slow++;
    return new Promise(() => {});
  });
  for (let n = 1; n <= 4; n++) await as("eve").registered(endpoint.subscription(`slow-${n}`));
  await as("ada").registered(endpoint.subscription("ada"));
  await orders.insertOne({ _id: 1, owner: "eve" });
  await expect.poll(() => slow).toBe(2);
  await expect.poll(() => metric("tidewire_push_held_back")).toBe(2);
  await orders.insertOne({ _id: 2, number: 2, owner: "ada" });
  await endpoint.until(({ title }) => title === "Order 2");
  expect(slow).toBe(2);
});

test("a redirect is a refusal: the service calls no address that a push service names", async () => {
  const { as, endpoint, orders, outcomes } = await startPushService();
  const other = await PushEndpoint.start();
  await as("ada").registered(endpoint.subscription());
  endpoint.answerBy(() => ({ status: 307, headers: { location: `${other.url}/x` } }));
  await orders.insertOne({ _id: 1, owner: "ada" });
  await expect.poll(async () => (await outcomes())["refused"]).toBe(1);
  expect(other.received).toEqual([]);
});

test("without push.allowPrivate nothing is sent to a private address", async () => {
  const { as, endpoint, orders, outcomes } = await startPushService({ allowPrivate: false });
  const browser = endpoint.subscription();
  expect((await as("ada").register(browser)).status).toBe(400);
  await as("ada").registered({ ...browser, endpoint: browser.endpoint.replace("http:", "https:") });
  await orders.insertOne({ _id: 1, owner: "ada" });
  await expect.poll(async () => (await outcomes())["refused"]).toBe(1);
  expect(endpoint.received).toEqual([]);
});

test("[G5] a right that a lookup withdraws ends at that commit, and drops the push that waits", async () => {
  const { as, endpoint, orders, members, outcomes } = await startPushService();
  await members.insertOne({ user: "ada", team: "red" });
  await as("ada", { team: true }).registered(endpoint.subscription());
  let isDown = true;
  endpoint.answerBy(() => ({ status: isDown ? 503 : 201 }));
  await orders.insertOne({ _id: 1, number: 1, team: "red" });
  await expect.poll(() => endpoint.received.length).toBeGreaterThan(0);
  await members.deleteOne({ user: "ada" });
  await expect.poll(async () => (await outcomes())["withdrawn"]).toBe(1);
  isDown = false;
  await orders.insertOne({ _id: 2, number: 2, team: "red" });
  await members.insertOne({ user: "ada", team: "red" });
  await orders.insertOne({ _id: 3, number: 3, team: "red" });
  await endpoint.until(({ title }) => title === "Order 3");
  expect(endpoint.accepted().map(({ title }) => title)).toEqual(["Order 3"]);
});

test("[G5] a rule edit ends the right at once, and the registration continues when the rules grant it again", async () => {
  const { as, endpoint, orders, service, uri, name } = await startPushService({}, {});
  const ada = as("ada");
  await ada.registered(endpoint.subscription());
  const push = pushSection();
  const configOf = (collections: Record<string, unknown>) =>
    toConfig(testConfig(uri, name, { collections, push }));
  const [admin] = ORDERS.orders.rules;
  await service.reload(configOf({ ...ORDERS, orders: { rules: [admin] } }));
  await orders.insertOne({ _id: 1, owner: "ada" });
  await expect.poll(async () => (await ada.list())[0]?.["state"]).toBe("suspended");
  await service.reload(configOf(ORDERS));
  // The service tries again within a minute; a client that registers again does not have to wait.
  await ada.registered(endpoint.subscription("again"), { filter: { number: 2 } });
  await orders.insertOne({ _id: 2, number: 2, owner: "ada" });
  await endpoint.until(({ title }) => title === "Order 2");
  expect(endpoint.accepted().some(({ url }) => url === "/orders/1")).toBe(false);
});

test("[G5] a revocation of the token removes the registration at its commit", async () => {
  const { as, endpoint, orders, client, name, pushes } = await startPushService();
  const [ada, bob] = [as("ada"), as("bob")];
  await ada.registered(endpoint.subscription("ada"));
  await bob.registered(endpoint.subscription("bob"));
  const nowMs = Date.now();
  await new RevocationStore(client.db(`${name}-state`)).revoke({
    sub: "ada",
    iss: null,
    jti: null,
    issuedBeforeMs: nowMs,
    expiresAtMs: nowMs + 3_600_000,
  });
  await orders.insertMany([
    { _id: 1, owner: "ada" },
    { _id: 2, owner: "bob" },
  ]);
  await expect.poll(() => endpoint.accepted("bob")).toHaveLength(1);
  await expect.poll(() => pushes.countDocuments()).toBe(1);
  expect(endpoint.accepted("ada")).toEqual([]);
  expect((await ada.register(endpoint.subscription())).status).toBe(401);
});

test("a busy query whose push service is slow does not hold the position of its partition back", async () => {
  const { as, endpoint, orders, client, name, pushes } = await startPushService({ timeout: "2m" });
  await as("ada").registered(endpoint.subscription(), { on: ["added", "changed"] });
  const asked = deferred();
  endpoint.answerBy(() => {
    asked.resolve();
    return new Promise(() => {});
  });
  await orders.insertOne({ _id: 1, owner: "ada", n: 0 });
  await asked.promise;
  const leases = new LeaseStore(client.db(`${name}-state`));
  const lease = `push-${(await pushes.findOne())?.["partition"]}`;
  let changes = 0;
  // The first move may belong to a look that began before the push.
  for (let moves = 0; moves < 2; moves++) {
    const before = (await leases.read(lease))?.data?.["cursor"];
    const afterChange = async () => {
      await orders.updateOne({ _id: 1 }, { $set: { n: ++changes } });
      return (await leases.read(lease))?.data?.["cursor"];
    };
    await expect.poll(afterChange, { interval: 100 }).not.toEqual(before);
  }
  expect((await pushes.findOne())?.["pending"]).toMatchObject({ attempts: 0 });
});

/** A node on a database of its own, so that it can be stopped and followed by another. */
async function fleet() {
  const { name, uri, client, db } = await testDatabase();
  const endpoint = await PushEndpoint.start();
  const options = { collections: ORDERS, push: pushSection(), history: { window: "5m" } };
  const start = async () => (await startNode(uri, name, options)).service;
  const orders = db.collection<{ _id: number } & Record<string, unknown>>("orders");
  const state = client.db(`${name}-state`);
  return { start, endpoint, orders, state };
}

test("another node continues where a node stopped: nothing is lost, and what waited is sent", async () => {
  const { start, endpoint, orders, state } = await fleet();
  const first = await start();
  const base = `http://127.0.0.1:${first.address.port}`;
  const users = Array.from({ length: 24 }, (_, n) => `user-${n}`);
  for (const user of users)
    await new PushClient(() => base, { sub: user }).registered(endpoint.subscription(user));
  expect((await state.collection("pushes").distinct("partition")).length).toBeGreaterThan(3);
  const [waits = ""] = users;
  endpoint.answerBy(({ browser }) => ({ status: browser === waits ? 503 : 201 }));
  await orders.insertMany(users.map((owner, _id) => ({ _id, number: 1, owner })));
  await expect.poll(() => endpoint.accepted().length).toBe(users.length - 1);
  await first.stop();
  const saved = await state.collection("pushes").findOne({ "identity.sub": waits });
  expect(saved?.["pending"]).toMatchObject({ kind: "added" });
  expect(JSON.stringify(saved?.["pending"])).not.toContain("Order");
  await orders.insertMany(users.slice(1).map((owner, n) => ({ _id: 100 + n, number: 2, owner })));
  endpoint.answerBy(() => ({ status: 201 }));
  await start();
  await expect
    .poll(() => endpoint.accepted().filter(({ title }) => title === "Order 2").length)
    .toBe(users.length - 1);
  await expect.poll(() => endpoint.accepted(waits).length).toBe(1);
  expect(endpoint.accepted().filter(({ title }) => title === "Order 1")).toHaveLength(users.length);
});

test("a registration that was just made by another node misses nothing", async () => {
  const { start, endpoint, orders } = await fleet();
  const [, second] = [await start(), await start()];
  const ada = new PushClient(() => `http://127.0.0.1:${second.address.port}`, { sub: "ada" });
  await ada.registered(endpoint.subscription());
  await orders.insertOne({ _id: 1, number: 1, owner: "ada" });
  await endpoint.until(({ title }) => title === "Order 1");
  expect(endpoint.accepted()).toHaveLength(1);
});

test("only the newest holder of a lease sends: one that was overtaken stops", async () => {
  const { start, endpoint, orders, state } = await fleet();
  const service = await start();
  const ada = new PushClient(() => `http://127.0.0.1:${service.address.port}`, { sub: "ada" });
  await ada.registered(endpoint.subscription());
  await orders.insertOne({ _id: 1, number: 1, owner: "ada" });
  await endpoint.until(({ title }) => title === "Order 1");
  const store = new LeaseStore(state);
  const lease = `push-${partitionOf((await state.collection("pushes").findOne())?.["identity"].subject)}`;
  const overtake = async () => store.take(lease, await store.read(lease), "another", 600_000);
  await expect.poll(overtake).not.toBeNull();
  await state.collection("pushes").updateMany({}, [{ $set: { fence: { $add: ["$fence", 1] } } }]);
  await orders.insertOne({ _id: 2, number: 2, owner: "ada" });
  await expect
    .poll(async () => (await service.metrics.pushPartitions.get()).values[0]?.value)
    .toBe(PARTITIONS - 1);
  expect(endpoint.accepted()).toHaveLength(1);
});

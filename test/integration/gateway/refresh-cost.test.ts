/** The cost of a newer token: nothing if the rules give the same, and otherwise never more than a turn at a time. */
import { expect, onTestFinished, test, vi } from "vitest";
import { Feed } from "../../../src/feed/feed.ts";
import { workTurns } from "../../../src/gateway/connection/work-turns.ts";
import { signToken, startTestService } from "../../support/service.ts";
import type { WsClient } from "../../support/ws-client.ts";

const RULES = {
  items: {
    rules: [
      { name: "staff", when: { "%%user.role": "staff" }, filter: { hidden: { $ne: true } } },
      { name: "user", when: { "%%user.role": "user" }, filter: { owner: "%%user.sub" } },
    ],
  },
};
const SUBSCRIPTIONS = 100;
const VALUES = 990;

async function start(limits: object = {}) {
  const setup = await startTestService({
    collections: RULES,
    limits: {
      requestsPerSecond: 1_000_000,
      requestBurst: 1_000_000,
      refreshBurst: 40,
      ...limits,
    },
  });
  const client = await setup.connect({ sub: "u1", role: "staff" });
  return { ...setup, client };
}

async function subscribeMany(client: WsClient): Promise<void> {
  for (let i = 0; i < SUBSCRIPTIONS; i++) {
    const values = Array.from({ length: VALUES }, (_, value) => `${i}-${value}`);
    client.send({
      type: "subscribe",
      id: `s${i}`,
      collection: "items",
      filter: { text: { $in: values } },
      snapshot: false,
    });
  }
  const isLast = () => client.received.filter(({ type }) => type === "subscribed").length === SUBSCRIPTIONS;
  await client.until(isLast, client.received.length, 60_000);
}

function count<T extends object>(target: T, method: keyof T & string) {
  const spy = vi.spyOn(target, method as never);
  onTestFinished(() => spy.mockRestore());
  return () => spy.mock.calls.length;
}

const refresh = async (client: WsClient, claims: Record<string, unknown>) =>
  client.send({ type: "refresh", token: await signToken({ sub: "u1", ...claims }) });

async function refreshed(client: WsClient, claims: Record<string, unknown>): Promise<void> {
  const from = client.received.length;
  await refresh(client, claims);
  const answer = await client.until(({ type }) => type === "refreshed" || type === "error", from);
  expect(answer).toMatchObject({ type: "refreshed" });
}

const refreshedTimes = (client: WsClient) =>
  client.received.filter(({ type }) => type === "refreshed").length;

test("[3.1] 40 newer tokens that give the same cost no work for 100 large filters, and send nothing for them", async () => {
  const { client } = await start();
  await subscribeMany(client);
  const before = client.received.filter(({ type }) => type === "subscribed").length;
  const [decided, made] = [count(workTurns, "run"), count(Feed.prototype, "subscribe")];
  for (let i = 0; i < 40; i++) await refresh(client, { role: "staff", jti: `t${i}`, iat: i });
  await client.until(() => refreshedTimes(client) === 40, client.received.length);
  expect([decided(), made()]).toEqual([0, 0]);
  expect(client.received.filter(({ type }) => type === "subscribed")).toHaveLength(before);
});

test("[G6] a token with other rights for 100 large filters leaves other users their turns, and so do 40 of them", async () => {
  const { client, connect, now } = await start();
  await subscribeMany(client);
  const bystander = await connect({ sub: "u2", role: "user" });
  const ping = async (nonce: string) => {
    bystander.send({ type: "ping", nonce });
    await bystander.until((got) => got.type === "pong" && got["nonce"] === nonce);
  };
  const decided = count(workTurns, "run");
  const from = client.received.length;
  const subscribed = () => client.received.slice(from).filter(({ type }) => type === "subscribed").length;
  await refresh(client, { role: "user" });
  let answers = 0;
  for (; subscribed() < SUBSCRIPTIONS; answers++) await ping(`ping-${answers}`);
  expect(decided()).toBe(SUBSCRIPTIONS);
  // From the first decision to the last the bystander was answered again and again.
  expect(answers).toBeGreaterThan(3);
  for (let i = 0; i < 38; i++) await refresh(client, { role: i % 2 === 0 ? "staff" : "user" });
  await ping("last");
  await client.until(() => refreshedTimes(client) === 39, client.received.length);
  await client.fence(await now());
});

test("[5] refreshes within limits.refreshBurst are taken, one more is refused with a time to wait, and changes nothing", async () => {
  const { client, items, now } = await start({ refreshBurst: 3, refreshesPerMinute: 1 }).then((setup) => ({
    ...setup,
    items: setup.db.collection("items"),
  }));
  await client.ask({ type: "subscribe", id: "a", collection: "items" });
  for (let i = 0; i < 3; i++) await refresh(client, { role: "staff" });
  await client.until(() => refreshedTimes(client) === 3);
  await refresh(client, { role: "none" });
  const refused = await client.until(({ type }) => type === "error");
  expect(refused).toMatchObject({
    code: "too-many-requests",
    retry: "later",
    details: { limit: "refreshesPerMinute", value: 1 },
    retryAfterMs: expect.any(Number),
  });
  await items.insertOne({ text: "still seen" });
  await client.fence(await now());
  expect(JSON.stringify(client.received)).toContain("still seen");
});

test("limits.userRefreshesPerMinute: the connections of one user share a rate of changed rights, and other users have their own", async () => {
  const { service, client, connect, db, now } = await start({
    userRefreshBurst: 4,
    userRefreshesPerMinute: 0.01,
  });
  const subscribe = { type: "subscribe", id: "a", collection: "items" };
  const second = await connect({ sub: "u1", role: "staff" });
  const other = await connect({ sub: "u2", role: "staff" });
  for (const one of [client, second, other]) await one.ask(subscribe);
  // The same rights cost nothing.
  for (let i = 0; i < 5; i++) await refreshed(client, { role: "staff", jti: `t${i}` });
  for (const role of ["user", "staff"]) {
    for (const one of [client, second]) await refreshed(one, { role });
  }
  await refresh(second, { role: "user" });
  expect(await second.until(({ type }) => type === "error")).toMatchObject({
    code: "too-many-requests",
    retry: "later",
    details: { limit: "userRefreshesPerMinute", value: 0.01 },
    retryAfterMs: expect.any(Number),
  });
  other.send({ type: "refresh", token: await signToken({ sub: "u2", role: "user" }) });
  await other.until(({ type }) => type === "refreshed");
  // The token in force stays, and so do its rights.
  await db.collection("items").insertOne({ text: "still seen" });
  await second.fence(await now());
  expect(JSON.stringify(second.received)).toContain("still seen");
  const hits = await service.metrics.registry.getSingleMetric("tidewire_limit_hits_total")?.get();
  expect(hits?.values).toContainEqual(
    expect.objectContaining({ labels: { limit: "userRefreshesPerMinute", outcome: "refused" } }),
  );
});

test("[5] a connection that goes on changing rights above limits.userRefreshesPerMinute is closed with 4429", async () => {
  const { client, connect } = await start({ userRefreshBurst: 1, userRefreshesPerMinute: 0.01 });
  await client.ask({ type: "subscribe", id: "a", collection: "items" });
  await refreshed(client, { role: "user" });
  const refusals = () => client.received.filter(({ type }) => type === "error").length;
  for (let i = 0; i < 10; i++) await refresh(client, { role: "staff", jti: `t${i}` });
  await client.until(() => refusals() === 10, client.received.length);
  expect(client.closed).toBeUndefined();
  await refresh(client, { role: "staff" });
  expect(await client.untilClosed()).toMatchObject({ code: 4429 });
  const returned = await connect({ sub: "u1", role: "staff" });
  expect(await returned.ask({ type: "subscribe", id: "a", collection: "items" })).toMatchObject({
    type: "subscribed",
  });
});

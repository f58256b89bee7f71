/** The limits of one user over all connections; nothing stays charged after the user has left. */
import { expect, test } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { Random } from "../../support/random.ts";
import { startTestService } from "../../support/service.ts";
import type { WsClient } from "../../support/ws-client.ts";

const THINGS = { things: { rules: [{ name: "all", anonymous: true }] } };
const PATIENCE = { timeout: 60_000 };
const subscribe = (id: string, n: number) => ({
  type: "subscribe",
  id,
  collection: "things",
  filter: { n },
});

const refusedBy = (limit: string, value: number) => ({
  type: "error",
  code: "too-many-subscriptions",
  retry: "later",
  details: { limit, value },
});

test("limits.subscriptionsPerUser: counts over all connections of one user alone", async () => {
  const { connect } = await startTestService({
    collections: THINGS,
    limits: { subscriptionsPerUser: 2 },
  });
  const [one, two, other] = [
    await connect({ sub: "u1" }),
    await connect({ sub: "u1" }),
    await connect({ sub: "u2" }),
  ];
  expect(await one.ask(subscribe("a", 1))).toMatchObject({ type: "subscribed" });
  expect(await two.ask(subscribe("b", 1))).toMatchObject({ type: "subscribed" });
  expect(await two.ask(subscribe("c", 1))).toMatchObject(refusedBy("subscriptionsPerUser", 2));
  expect(await other.ask(subscribe("a", 1))).toMatchObject({ type: "subscribed" });
  await one.ask({ type: "unsubscribe", id: "a" });
  expect(await two.ask(subscribe("c", 1))).toMatchObject({ type: "subscribed" });
});

test("anonymous users of one address share one account", async () => {
  const { connect } = await startTestService({
    collections: THINGS,
    auth: { anonymous: true },
    limits: { subscriptionsPerUser: 1 },
  });
  const [one, two] = [await connect(), await connect()];
  expect(await one.ask(subscribe("a", 1))).toMatchObject({ type: "subscribed" });
  expect(await two.ask(subscribe("a", 1))).toMatchObject(refusedBy("subscriptionsPerUser", 1));
});

test("limits.liveQueriesPerUser: live queries left behind make room before anything is refused", async () => {
  const { service, connect } = await startTestService({
    collections: THINGS,
    limits: { liveQueriesPerUser: 3, linger: "1h" },
  });
  const client = await connect({ sub: "u1" });
  await client.ask(subscribe("kept", 0));
  for (let n = 1; n <= 20; n++) {
    expect(await client.ask(subscribe(`q${n}`, n))).toMatchObject({ type: "subscribed" });
    await client.ask({ type: "unsubscribe", id: `q${n}` });
  }
  await expect.poll(() => metricOf(service, "tidewire_live_queries"), PATIENCE).toBe(3);
  expect(await client.ask(subscribe("x", 100))).toMatchObject({ type: "subscribed" });
  expect(await client.ask(subscribe("y", 101))).toMatchObject({ type: "subscribed" });
  expect(await client.ask(subscribe("z", 102))).toMatchObject(refusedBy("liveQueriesPerUser", 3));
  // A live query that the user has already costs nothing more.
  expect(await client.ask(subscribe("same", 0))).toMatchObject({ type: "subscribed" });
  expect(await metricOf(service, "tidewire_limit_hits_total")).toBe(1);
});

test("limits.lingeringPerUser: so many live queries linger, and the oldest is removed for one more", async () => {
  const { service, connect } = await startTestService({
    collections: THINGS,
    limits: { lingeringPerUser: 5, linger: "1h" },
  });
  for (let round = 0; round < 4; round++) {
    const client = await connect({ sub: "u1" });
    for (let n = 0; n < 10; n++) await client.ask(subscribe(`q${n}`, round * 10 + n));
    client.socket.close();
    await client.until(() => false);
  }
  await expect.poll(() => metricOf(service, "tidewire_live_queries"), PATIENCE).toBe(5);
  await expect.poll(() => metricOf(service, "tidewire_lingering_live_queries"), PATIENCE).toBe(5);
});

test("nothing stays charged once all clients have left, in whatever order and however they left", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = new Random(seed);
  const { service, db, connect } = await startTestService({
    collections: {
      ...THINGS,
      mine: {
        lookups: { rooms: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } },
        rules: [{ name: "member", filter: { room: { $in: "%%lookup.rooms" } } }],
      },
    },
    limits: { linger: "0s", subscriptionsPerUser: 20, liveQueriesPerUser: 10, lingeringPerUser: 3 },
  });
  await db.collection("members").insertMany([
    { user: "u1", room: 1 },
    { user: "u2", room: 2 },
  ]);
  const clients: Awaited<ReturnType<typeof connect>>[] = [];
  for (let step = 0; step < 300; step++) {
    const client = clients.length === 0 ? undefined : random.pick(clients);
    if (client === undefined || (clients.length < 6 && random.chance(0.1))) {
      clients.push(await connect({ sub: random.pick(["u1", "u2"]) }));
    } else if (random.chance(0.05)) {
      clients.splice(clients.indexOf(client), 1);
      if (random.chance(0.5)) client.socket.terminate();
      else client.socket.close();
    } else if (random.chance(0.6)) {
      const collection = random.pick(["things", "mine"]);
      const window = random.chance(0.3) ? { sort: [["n", 1]], limit: 3 } : {};
      client.send({ ...subscribe(`${random.int(0, 30)}`, random.int(0, 15)), collection, ...window });
    } else client.send({ type: "unsubscribe", id: `${random.int(0, 30)}` });
  }
  for (const client of clients) client.socket.close();
  const metrics = ["subscriptions", "connections", "live_queries", "lingering_live_queries", "user_accounts"];
  for (const name of metrics) {
    const value = () => metricOf(service, `tidewire_${name}`);
    await expect.poll(value, { ...PATIENCE, message: `${name}, seed ${seed}` }).toBe(0);
  }
});

/** Sends a ping and waits for what is answered. */
async function ping(client: WsClient): Promise<Record<string, unknown> | undefined> {
  const from = client.received.length;
  client.send({ type: "ping" });
  return client.until(({ type }) => type === "pong" || type === "error", from);
}

test("limits.userRequestsPerSecond: the connections of one user share a rate, and other users have their own", async () => {
  const { service, connect } = await startTestService({
    collections: THINGS,
    limits: { userRequestsPerSecond: 1, userRequestBurst: 20, requestsPerSecond: 1_000, requestBurst: 1_000 },
  });
  const [one, two, other] = [
    await connect({ sub: "u1" }),
    await connect({ sub: "u1" }),
    await connect({ sub: "u2" }),
  ];
  // Within the burst nothing is refused, on whichever connection.
  for (let n = 0; n < 10; n++)
    for (const client of [one, two]) expect(await ping(client)).toMatchObject({ type: "pong" });
  for (const client of [one, two]) for (let n = 0; n < 15; n++) client.send({ type: "ping" });
  const refused = await two.until(({ type }) => type === "error", 0);
  expect(refused).toMatchObject({
    code: "too-many-requests",
    retry: "later",
    details: { limit: "userRequestsPerSecond", value: 1 },
    retryAfterMs: expect.any(Number),
  });
  expect(Number(refused?.["retryAfterMs"])).toBeLessThanOrEqual(1_000);
  for (let n = 0; n < 15; n++) expect(await ping(other)).toMatchObject({ type: "pong" });
  const hits = await service.metrics.registry.getSingleMetric("tidewire_limit_hits_total")?.get();
  expect(hits?.values).toContainEqual(
    expect.objectContaining({ labels: { limit: "userRequestsPerSecond", outcome: "refused" } }),
  );
});

test("limits.userRequestBurst: a user who leaves and comes back has no new burst", async () => {
  const { connect } = await startTestService({
    collections: THINGS,
    limits: { userRequestsPerSecond: 0.001, userRequestBurst: 10 },
  });
  const first = await connect({ sub: "u1" });
  for (let n = 0; n < 10; n++) expect(await ping(first)).toMatchObject({ type: "pong" });
  first.socket.close();
  // Accounts to which nothing is charged are dropped once a second.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  expect(await ping(await connect({ sub: "u1" }))).toMatchObject({ code: "too-many-requests" });
});

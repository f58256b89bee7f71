/** The client against the service as it is, over every transport. */
import { ObjectId } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import {
  type Change,
  type ClientOptions,
  count,
  createClient,
  sum,
  type TransportKind,
} from "../../../src/client/client.ts";
import { signToken, startTestService } from "../../support/service.ts";

const COLLECTIONS = {
  orders: {
    rules: [
      { name: "staff", when: { "%%user.roles": { $in: ["admin"] } } },
      { name: "customer", filter: { customerId: "%%user.sub" }, fields: { exclude: ["margin"] } },
    ],
  },
};

interface Order {
  _id: number;
  customerId: string;
  total: number;
  margin?: number;
  at?: Date;
}

async function setUp(
  options: Partial<ClientOptions> = {},
  claims: Record<string, unknown> = { sub: "u1" },
  limits: Record<string, unknown> = {},
) {
  const setup = await startTestService({ collections: COLLECTIONS, limits });
  const client = createClient({
    url: `http://127.0.0.1:${setup.service.address.port}`,
    token: () => signToken(claims),
    WebSocket,
    reconnect: { minMs: 10, maxMs: 50 },
    ...options,
  });
  onTestFinished(() => client.close());
  const written = setup.db.collection<Order>("orders");
  return { ...setup, live: client, written, orders: client.collection<Order>("orders") };
}

const byId = <T extends { _id: unknown }>(docs: readonly T[]) =>
  [...docs].sort((a, b) => Number(a._id) - Number(b._id));

test.each<[TransportKind]>([["ws"], ["sse"], ["poll"]])(
  "follows what the user may see, over %s",
  async (transport) => {
    const { orders, written, live } = await setUp({ transports: [transport] });
    await written.insertMany([
      { _id: 1, customerId: "u1", total: 5, margin: 1 },
      { _id: 2, customerId: "u2", total: 5 },
    ]);
    const query = orders.find({ total: { $gte: 5 } }).fields("total");
    const changes: Change<{ _id: number; total: number }>[] = [];
    query.subscribe({ change: (change) => void changes.push(change) });
    expect(await query.snapshot()).toEqual([{ _id: 1, total: 5 }]);
    expect(live.state).toMatchObject({ status: "connected", transport });
    await written.insertOne({ _id: 3, customerId: "u1", total: 6 });
    await written.updateOne({ _id: 1 }, { $set: { total: 7 } });
    await written.updateOne({ _id: 3 }, { $set: { total: 1 } });
    await written.updateOne({ _id: 2 }, { $set: { customerId: "u1" } });
    await expect.poll(() => changes.length, { timeout: 60_000 }).toBe(5);
    expect(changes.map(({ type }) => type)).toEqual(["snapshot", "added", "changed", "removed", "added"]);
    expect(byId(query.getState().data)).toEqual([
      { _id: 1, total: 7 },
      { _id: 2, total: 5 },
    ]);
  },
);

test.each<[TransportKind]>([["ws"], ["sse"], ["poll"]])(
  "follows counts and groups, over %s",
  async (transport) => {
    const { orders, written } = await setUp({ transports: [transport] });
    await written.insertMany([
      { _id: 1, customerId: "u1", total: 5 },
      { _id: 2, customerId: "u1", total: 5.5 },
      { _id: 3, customerId: "u2", total: 5 },
    ]);
    const numbers = orders.find().count();
    const totals = orders
      .find({ total: { $gte: 5 } })
      .groupBy("total")
      .values({ n: count(), sum: sum("total") });
    const both = () => [numbers.getState().data, byId(totals.getState().data)];
    numbers.subscribe({});
    totals.subscribe({});
    await Promise.all([numbers.snapshot(), totals.snapshot()]);
    expect(both()).toEqual([
      [{ _id: null, count: 2 }],
      [
        { _id: 5, n: 1, sum: 5 },
        { _id: 5.5, n: 1, sum: 5.5 },
      ],
    ]);
    await written.updateMany({}, { $set: { total: 5.5 } });
    await written.insertOne({ _id: 4, customerId: "u1", total: 1 });
    await expect
      .poll(both, { timeout: 60_000 })
      .toEqual([[{ _id: null, count: 3 }], [{ _id: 5.5, n: 2, sum: 11 }]]);
  },
);

test("an aggregate that grows beyond its limit stops with that error", async () => {
  const { orders, written } = await setUp({}, { sub: "u1" }, { aggregateGroups: 1 });
  await written.insertOne({ _id: 1, customerId: "u1", total: 1 });
  const query = orders.find().groupBy("total");
  const statuses: string[] = [];
  query.subscribe(({ status }) => void statuses.push(status));
  await query.snapshot();
  await written.insertOne({ _id: 2, customerId: "u1", total: 2 });
  await expect.poll(() => statuses.at(-1), { timeout: 60_000 }).toBe("stopped");
  expect(query.getState().error).toMatchObject({ code: "snapshot-too-large" });
});

test("reads its own writes by a fence", async () => {
  const { orders, written, live, now } = await setUp();
  const query = orders.find();
  query.subscribe({});
  await query.snapshot();
  for (let _id = 0; _id < 50; _id++) {
    await written.insertOne({ _id, customerId: "u1", total: _id });
    const { t, i } = await now();
    await live.fence({ t, i });
    expect(query.getState().data.length).toBe(_id + 1);
  }
});

test("filters by ObjectId and Date as they are in the database", async () => {
  const { db, live } = await setUp({}, { sub: "u1", roles: ["admin"] });
  const _id = new ObjectId();
  const at = new Date("2026-02-03T04:05:06.007Z");
  await db.collection<{ _id: ObjectId; at: Date }>("orders").insertOne({ _id, at });
  const orders = live.collection<{ _id: string; at: string }>("orders");
  for (const filter of [{ _id }, { at }, { _id: { $in: [_id] } }, { at: { $lte: at } }]) {
    expect(await orders.find(filter).snapshot()).toEqual([{ _id: _id.toHexString(), at: at.toISOString() }]);
  }
  expect(await orders.find({ _id: _id.toHexString() }).snapshot()).toEqual([]);
});

test("keeps a sorted window exactly as find would, in full and as deltas", async () => {
  const { orders, written } = await setUp();
  await written.insertMany(
    Array.from({ length: 20 }, (_, _id) => ({ _id, customerId: "u1", total: (_id * 7) % 20 })),
  );
  const queries = (["full", "delta"] as const).map((documents) =>
    orders.find({}, { documents }).sort("total", -1).limit(5),
  );
  for (const query of queries) query.subscribe({});
  await Promise.all(queries.map((query) => query.snapshot()));
  for (let step = 0; step < 60; step++) {
    const _id = (step * 13) % 20;
    if (step % 5 === 4) await written.deleteOne({ _id });
    else
      await written.updateOne(
        { _id },
        { $set: { customerId: "u1", total: (step * 11) % 40 } },
        { upsert: true },
      );
  }
  const expected = await written
    .find({ customerId: "u1" }, { projection: { margin: 0 } })
    .sort({ total: -1, _id: 1 })
    .limit(5)
    .toArray();
  for (const query of queries) {
    await expect.poll(() => query.getState().data, { timeout: 60_000 }).toEqual(expected);
  }
});

test("a query that is not allowed stops, and says why; others go on", async () => {
  const { orders, live } = await setUp();
  await expect(orders.find({ margin: 1 }).snapshot()).rejects.toMatchObject({ code: "forbidden" });
  await expect(live.collection("nothing").find().snapshot()).rejects.toMatchObject({
    code: "unknown-collection",
  });
  expect(await orders.find().snapshot()).toEqual([]);
});

test("a token that is not genuine stops the client", async () => {
  const { live, orders } = await setUp({ token: async () => "not.a.token" });
  await expect(orders.find().snapshot()).rejects.toMatchObject({ code: "unauthenticated" });
  expect(live.state.status).toBe("stopped");
});

test("queries with the same live query share their result", async () => {
  const { orders, written } = await setUp();
  await written.insertOne({ _id: 1, customerId: "u1", total: 5 });
  const queries = [orders.find({ total: 5 }), orders.find({ $and: [{ total: { $eq: 5 } }] })];
  for (const query of queries) query.subscribe({});
  await Promise.all(queries.map((query) => query.snapshot()));
  expect(queries[0]!.getState().data).toEqual([{ _id: 1, customerId: "u1", total: 5 }]);
  expect(queries[1]!.getState().data[0]).toBe(queries[0]!.getState().data[0]);
});

test("many queries are subscribed without tripping over the rate limit", async () => {
  const { orders } = await setUp();
  const queries = Array.from({ length: 100 }, (_, index) => orders.find({ total: index }));
  const errors: unknown[] = [];
  for (const query of queries) query.subscribe({ error: (error) => errors.push(error) });
  await Promise.all(queries.map((query) => query.snapshot()));
  expect(errors).toEqual([]);
});

test.each<[TransportKind]>([["ws"], ["sse"], ["poll"]])(
  "a result with one document too many stops the query, rejects its snapshot and says what to do, over %s",
  async (transport) => {
    const texts: string[] = [];
    const logger = { warn: (text: string) => void texts.push(text) };
    const { orders, written } = await setUp({ transports: [transport], logger }, undefined, {
      snapshotDocuments: 2,
    });
    await written.insertMany([1, 2, 3].map((_id) => ({ _id, customerId: "u1", total: _id })));
    const query = orders.find();
    query.subscribe(() => {});
    await expect(query.snapshot()).rejects.toMatchObject({
      code: "snapshot-too-large",
      retry: "never",
      message: expect.stringContaining("sort with limit"),
    });
    expect(query.getState().status).toBe("stopped");
    expect(await orders.find({ total: { $lt: 3 } }).snapshot()).toHaveLength(2);
    expect(await orders.find().sort("total").limit(2).snapshot()).toHaveLength(2);
  },
);

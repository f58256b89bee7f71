/** Live queries of TanStack DB over collections that load what they need, against the service as it is. */
import {
  count,
  createCollection,
  createLiveQueryCollection,
  eq,
  gt,
  gte,
  isNull,
  lt,
  lte,
  not,
} from "@tanstack/db";
import { Decimal128, Double, Long, ObjectId, UUID } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { createClient } from "../../../src/client/client.ts";
import { tidewireOnDemandOptions } from "../../../src/tanstack-db/on-demand.ts";
import { tidewireCollectionOptions } from "../../../src/tanstack-db/tanstack-db.ts";
import { metricOf } from "../../support/metric.ts";
import { signToken, startTestService } from "../../support/service.ts";

const PATIENCE = { timeout: 60_000, interval: 10 };
const all = { rules: [{ name: "all" }] };

interface Order {
  _id: number;
  status: string;
  customerId: string;
  total: number;
}
interface Customer {
  _id: string;
  name: string;
}

async function setUp() {
  const { service, db, now } = await startTestService({ collections: { orders: all, customers: all } });
  const client = createClient({
    url: `http://127.0.0.1:${service.address.port}`,
    token: () => signToken({ sub: "u1" }),
    WebSocket,
    lingerMs: 0,
  });
  onTestFinished(() => client.close());
  const [orders, customers] = [db.collection<Order>("orders"), db.collection<Customer>("customers")];
  await customers.insertMany(["ada", "ben", "cleo"].map((_id) => ({ _id, name: _id.toUpperCase() })));
  await orders.insertMany([
    { _id: 1, status: "open", customerId: "ada", total: 5 },
    { _id: 2, status: "open", customerId: "ben", total: 50 },
    { _id: 3, status: "paid", customerId: "cleo", total: 500 },
  ]);
  const loaded = {
    orders: createCollection(tidewireOnDemandOptions(client.collection<Order>("orders"))),
    customers: createCollection(tidewireOnDemandOptions(client.collection<Customer>("customers"))),
  };
  return { service, client, now, orders, customers, loaded };
}

const liveQueries = (setup: Awaited<ReturnType<typeof setUp>>) =>
  metricOf(setup.service, "tidewire_live_queries");

test("a query loads only the rows that it asks for, follows them, and leaves them when it ends", async () => {
  const setup = await setUp();
  const { loaded, orders } = setup;
  const open = createLiveQueryCollection((q) =>
    q.from({ order: loaded.orders }).where(({ order }) => eq(order.status, "open")),
  );
  await open.preload();
  const ids = () => Array.from(open.values(), ({ _id }) => _id).sort();
  expect(ids()).toEqual([1, 2]);
  expect(loaded.orders.size).toBe(2);
  await orders.updateOne({ _id: 3 }, { $set: { status: "open" } });
  await orders.updateOne({ _id: 1 }, { $set: { status: "paid" } });
  await orders.insertOne({ _id: 4, status: "open", customerId: "ada", total: 1 });
  await expect.poll(ids, PATIENCE).toEqual([2, 3, 4]);
  await open.cleanup();
  await expect.poll(() => liveQueries(setup), PATIENCE).toBe(0);
});

test("joins and groups are evaluated in the page, over small live queries", async () => {
  const { loaded, orders, customers } = await setUp();
  const named = createLiveQueryCollection((q) =>
    q
      .from({ order: loaded.orders })
      .where(({ order }) => eq(order.status, "open"))
      .join(
        { customer: loaded.customers },
        ({ order, customer }) => eq(order.customerId, customer._id),
        "inner",
      )
      .select(({ order, customer }) => ({ _id: order._id, name: customer.name })),
  );
  const perStatus = createLiveQueryCollection((q) =>
    q
      .from({ order: loaded.orders })
      .where(({ order }) => gt(order.total, 1))
      .groupBy(({ order }) => order.status)
      .select(({ order }) => ({ status: order.status, orders: count(order._id) })),
  );
  await Promise.all([named.preload(), perStatus.preload()]);
  const names = () => Array.from(named.values(), ({ _id, name }) => `${_id} ${name}`).sort();
  const groups = () => Array.from(perStatus.values(), ({ status, orders: n }) => `${status} ${n}`).sort();
  await expect.poll(names, PATIENCE).toEqual(["1 ADA", "2 BEN"]);
  await expect.poll(groups, PATIENCE).toEqual(["open 2", "paid 1"]);
  await orders.updateOne({ _id: 3 }, { $set: { status: "open" } });
  await customers.updateOne({ _id: "ben" }, { $set: { name: "Benjamin" } });
  await expect.poll(names, PATIENCE).toEqual(["1 ADA", "2 Benjamin", "3 CLEO"]);
  await expect.poll(groups, PATIENCE).toEqual(["open 3"]);
});

test("a row that two queries hold stays until both have left it", async () => {
  const { loaded, orders } = await setUp();
  const open = createLiveQueryCollection((q) =>
    q.from({ order: loaded.orders }).where(({ order }) => eq(order.status, "open")),
  );
  const large = createLiveQueryCollection((q) =>
    q.from({ order: loaded.orders }).where(({ order }) => gt(order.total, 20)),
  );
  await Promise.all([open.preload(), large.preload()]);
  const ids = () => Array.from(loaded.orders.keys()).sort();
  expect(ids()).toEqual([1, 2, 3]);
  await open.cleanup();
  await expect.poll(ids, PATIENCE).toEqual([2, 3]);
  await orders.updateOne({ _id: 2 }, { $set: { total: 10 } });
  await expect.poll(ids, PATIENCE).toEqual([3]);
});

test("an optimistic insert stays until the collection holds the written row", async () => {
  const { loaded, orders, now } = await setUp();
  const open = createLiveQueryCollection((q) =>
    q.from({ order: loaded.orders }).where(({ order }) => eq(order.status, "open")),
  );
  await open.preload();
  const sizes: number[] = [];
  open.subscribeChanges(() => sizes.push(open.size));
  const { createTransaction } = await import("@tanstack/db");
  const order: Order = { _id: 9, status: "open", customerId: "ada", total: 1 };
  const transaction = createTransaction({
    mutationFn: async () => {
      await orders.insertOne({ ...order });
      const { t, i } = await now();
      await loaded.orders.utils.written({ t, i });
    },
  });
  transaction.mutate(() => loaded.orders.insert(order));
  await transaction.isPersisted.promise;
  expect(open.size).toBe(3);
  expect(sizes.every((size) => size === 3)).toBe(true);
});

// TanStack DB compares values of several types as JavaScript does, for example `5 < "9"`. Conditions are for one type.
test.each<[string, unknown[], (string | number)[]]>([
  [
    "text, and what is text in the page",
    [
      ...[
        "",
        "10",
        "9",
        "a",
        "B",
        "b",
        "\u{1f600}",
        "\uff5e",
        "2026-01-02",
        "2026-01-02T03:04:05.006Z",
        null,
      ],
      ...[Decimal128.fromString("9.50"), Decimal128.fromString("10"), Long.fromString("9007199254740993")],
      ...[new Date("2026-01-02T03:04:05.006Z"), new Date("2025-01-01"), new Double(Number.NaN)],
      ...[new ObjectId("65a5b1c2d3e4f5a6b7c8d901"), new UUID("0e02b2c3-58cc-4372-a567-0e02b2c3d479")],
    ],
    ["9", "b", "\uff5e", "2026", "2026-01-02T03:04:05.006Z", "65a5b1c2d3e4f5a6b7c8d901"],
  ],
  [
    "numbers",
    [
      ...[5, 9.5, 10, new Double(Number.NaN), null, Long.fromString("9007199254740993")],
      Decimal128.fromString("9.5"),
    ],
    [9.5],
  ],
])("a condition gives the same rows as over the whole collection: %s", async (_title, values, operands) => {
  const { client, orders } = await setUp();
  await orders.deleteMany({});
  await orders.insertMany(values.map((v, _id) => ({ _id, v })) as never[]);
  const rows = client.collection<{ _id: number; v: string }>("orders");
  const everything = createCollection(tidewireCollectionOptions(client, rows.find()));
  const loading = createCollection(tidewireOnDemandOptions(rows));
  const conditions = operands.flatMap((operand) =>
    [eq, gt, gte, lt, lte].map((compare) => ({
      name: `${compare.name} ${operand}`,
      of: (v: unknown) => compare(v as never, operand as never),
    })),
  );
  conditions.push({ name: "isNull", of: (v) => isNull(v as never) });
  const found = async (collection: object, where: (v: unknown) => ReturnType<typeof eq>) => {
    const query = createLiveQueryCollection((q) =>
      q.from({ row: collection as typeof everything }).where(({ row }) => where(row.v)),
    );
    await query.preload();
    const ids = Array.from(query.values(), ({ _id }) => _id).sort((x, y) => x - y);
    await query.cleanup();
    return ids;
  };
  for (const { name, of } of conditions) {
    expect([name, await found(loading, of)]).toEqual([name, await found(everything, of)]);
    const negated = (v: unknown) => not(of(v));
    expect([`not ${name}`, await found(loading, negated)]).toEqual([
      `not ${name}`,
      await found(everything, negated),
    ]);
  }
});

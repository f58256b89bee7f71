import { expect, test } from "vitest";
import { startTestService } from "../../support/service.ts";

const ORDERS = {
  orders: {
    rules: [
      { name: "staff", when: { "%%user.roles": { $in: ["admin"] } } },
      {
        name: "customer",
        when: { "%%user.sub": { $exists: true } },
        filter: { customerId: "%%user.sub" },
        fields: { exclude: ["margin"] },
      },
    ],
  },
};

test("delivers each write only to users who may see it", async () => {
  const { db, connect, now } = await startTestService({ collections: ORDERS });
  const orders = db.collection<{ _id: number; customerId: string; total: number; margin: number }>("orders");
  await orders.insertOne({ _id: 1, customerId: "u1", total: 10, margin: 3 });
  const staff = await connect({ sub: "s1", roles: ["admin"] });
  const customer = await connect({ sub: "u1" });
  const other = await connect({ sub: "u2" });
  for (const client of [staff, customer, other]) {
    expect(await client.ask({ type: "subscribe", id: "a", collection: "orders" })).toMatchObject({
      type: "subscribed",
      start: "snapshot",
    });
  }
  await orders.insertOne({ _id: 2, customerId: "u2", total: 20, margin: 4 });
  await orders.updateOne({ _id: 1 }, { $set: { margin: 5 } });
  await orders.updateOne({ _id: 1 }, { $set: { customerId: "u2" } });
  await orders.deleteOne({ _id: 1 });
  const time = await now();
  for (const client of [staff, customer, other]) await client.fence(time);
  const seen = (client: typeof staff) =>
    client.received
      .filter(({ type }) => ["snapshot", "added", "changed", "removed"].includes(type))
      .map((message) => [message.type, message["docs"] ?? message["doc"] ?? message["_id"]]);
  expect(seen(staff)).toEqual([
    ["snapshot", [{ _id: 1, customerId: "u1", total: 10, margin: 3 }]],
    ["added", { _id: 2, customerId: "u2", total: 20, margin: 4 }],
    ["changed", { _id: 1, customerId: "u1", total: 10, margin: 5 }],
    ["changed", { _id: 1, customerId: "u2", total: 10, margin: 5 }],
    ["removed", 1],
  ]);
  expect(seen(customer)).toEqual([
    ["snapshot", [{ _id: 1, customerId: "u1", total: 10 }]],
    ["removed", 1],
  ]);
  expect(seen(other)).toEqual([
    ["snapshot", []],
    ["added", { _id: 2, customerId: "u2", total: 20 }],
    ["added", { _id: 1, customerId: "u2", total: 10 }],
    ["removed", 1],
  ]);
});

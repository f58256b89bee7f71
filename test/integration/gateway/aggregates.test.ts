/** Live counts and groups of a whole service: their limit, changes of rights, restarts, and many writes at once. */
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { signToken, startTestService, toConfig } from "../../support/service.ts";
import { type Received, WsClient } from "../../support/ws-client.ts";

const ORDERS = { orders: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } };

interface Order {
  _id: number;
  owner: string;
  status: string;
  price: number;
}

const order = (_id: number, status: string, owner = "ada", price = 1): Order => ({
  _id,
  owner,
  status,
  price,
});
const BY_STATUS = { by: "status", values: { orders: { count: true }, total: { sum: "price" } } };
const ask = { type: "subscribe", id: "tabs", collection: "orders", aggregate: BY_STATUS };

/** The rows that a client holds after everything that it has received for one id. Each message must fit the rows before it. */
function rowsOf(client: WsClient, id = "tabs"): Map<unknown, unknown> {
  const rows = new Map<unknown, unknown>();
  let query: unknown;
  for (const message of client.received as Received[]) {
    if (message.type === "subscribed" && message["id"] === id) {
      query = message["query"];
      if (message["start"] === "reset") rows.clear();
    }
    if (!("query" in message) || message["query"] !== query) continue;
    if (message.type === "reset") rows.clear();
    if (message.type === "snapshot") for (const doc of message.docs) rows.set(doc["_id"], doc);
    if (message.type === "added" || message.type === "changed") {
      expect(rows.has(message.doc!["_id"])).toBe(message.type === "changed");
      rows.set(message.doc!["_id"], message.doc);
    }
    if (message.type === "removed") expect(rows.delete(message._id)).toBe(true);
  }
  return rows;
}

const sorted = (rows: Map<unknown, unknown>) => [...rows.values()].map((row) => JSON.stringify(row)).sort();

test("[5] one group more than limits.aggregateGroups is refused, at the start and later, and as many are served", async () => {
  const { connect, db, now } = await startTestService({
    collections: ORDERS,
    limits: { aggregateGroups: 3 },
  });
  const orders = db.collection<Order>("orders");
  await orders.insertMany(["a", "b", "c"].map((status, index) => order(index, status)));
  const client = await connect({ sub: "ada" });
  expect(await client.ask(ask)).toMatchObject({ type: "subscribed", start: "snapshot" });
  await client.fence(await now());
  expect(rowsOf(client).size).toBe(3);
  // Three groups before the transaction and after it: what lies between was never true.
  await db.client.withSession((session) =>
    session.withTransaction(async () => {
      await orders.insertOne(order(8, "d"), { session });
      await orders.deleteOne({ _id: 0 }, { session });
    }),
  );
  await client.fence(await now());
  expect([...rowsOf(client).keys()].sort()).toEqual(["b", "c", "d"]);
  await orders.insertOne(order(9, "e"));
  const error = await client.until(({ type }) => type === "error");
  expect(error).toMatchObject({
    id: "tabs",
    code: "snapshot-too-large",
    retry: "never",
    details: { limit: "aggregateGroups", value: 3 },
  });
  await client.fence(await now());
  expect(client.received.some(({ type }) => type === "unsubscribed")).toBe(false);
  expect(await client.ask({ ...ask, id: "again" })).toMatchObject({
    type: "error",
    code: "snapshot-too-large",
  });
  await orders.deleteOne({ _id: 9 });
  await client.fence(await now());
  expect(await client.ask({ ...ask, id: "third" })).toMatchObject({ type: "subscribed" });
});

test("[3.2] an edit of the rules moves an aggregate by the rows that differ", async () => {
  const { connect, db, now, service, file } = await startTestService({ collections: ORDERS });
  const orders = db.collection<Order>("orders");
  await orders.insertMany([
    order(1, "open"),
    order(2, "late"),
    order(3, "open", "bob"),
    order(4, "paid", "bob"),
  ]);
  const client = await connect({ sub: "ada" });
  await client.ask(ask);
  await client.fence(await now());
  const before = client.received.length;
  await service.reload(edited(file, { filter: { owner: { $in: ["ada", "bob"] } } }));
  await client.until(({ type }) => type === "added", before);
  await client.fence(await now());
  const changes = client.received
    .slice(before)
    .filter(({ type }) => type !== "watermark" && type !== "fenced");
  expect(changes[0]).toMatchObject({ type: "subscribed", start: "moved" });
  expect(new Set(changes.slice(1).map(({ type, cause, doc }) => JSON.stringify([type, cause, doc])))).toEqual(
    new Set([
      '["changed","grant",{"_id":"open","orders":2,"total":2}]',
      '["added","grant",{"_id":"paid","orders":1,"total":1}]',
    ]),
  );
  await service.reload(edited(file, { filter: { owner: "%%user.sub" }, fields: { exclude: ["price"] } }));
  expect(await client.until(({ type }) => type === "unsubscribed")).toMatchObject({ reason: "forbidden" });
});

const edited = (file: Record<string, unknown>, rule: object) =>
  toConfig({ ...file, collections: { orders: { rules: [{ name: "own", ...rule }] } } });

test("[4] a membership that is withdrawn takes its documents out of the rows at that very commit", async () => {
  const lookups = { teams: { collection: "members", filter: { user: "%%user.sub" }, value: "team" } };
  const collections = {
    orders: { lookups, rules: [{ name: "member", filter: { team: { $in: "%%lookup.teams" } } }] },
  };
  const { connect, db, now } = await startTestService({ collections });
  const orders = db.collection<{ _id: number; team: string; status: string; price: number }>("orders");
  const members = db.collection<{ _id: string; user: string; team: string }>("members");
  await members.insertMany(["red", "blue"].map((team) => ({ _id: team, user: "ada", team })));
  await orders.insertMany(
    ["red", "red", "blue"].map((team, _id) => ({ _id, team, status: `${team}-${_id}`, price: 1 })),
  );
  const client = await connect({ sub: "ada" });
  await client.ask(ask);
  await client.fence(await now());
  const before = client.received.length;
  await db.client.withSession((session) =>
    session.withTransaction(async () => {
      await members.deleteOne({ _id: "blue" }, { session });
      await orders.insertOne({ _id: 9, team: "blue", status: "secret", price: 1 }, { session });
    }),
  );
  await client.fence(await now());
  expect([...rowsOf(client).keys()].sort()).toEqual(["red-0", "red-1"]);
  await members.insertOne({ _id: "blue", user: "ada", team: "blue" });
  await client.fence(await now());
  expect([...rowsOf(client).keys()].sort()).toEqual(["blue-2", "red-0", "red-1", "secret"]);
  // The client received nothing of the group in between.
  const seen = client.received.slice(before).filter((message) => JSON.stringify(message).includes("secret"));
  expect(seen.map(({ type, cause }) => [type, cause])).toEqual([["added", "grant"]]);
});

test("[G6] ten thousand documents that one updateMany moves are few messages, and end exactly", async () => {
  const { connect, db, now } = await startTestService({ collections: ORDERS, history: { window: "300s" } });
  const orders = db.collection<Order>("orders");
  const count = 10_000;
  await orders.insertMany(Array.from({ length: count }, (_, n) => order(n, `s${n % 5}`, "ada", n / 100)));
  const client = await connect({ sub: "ada" });
  await client.ask(ask);
  await client.fence(await now());
  const before = client.received.length;
  const startedMs = performance.now();
  await orders.updateMany({}, [
    { $set: { status: { $concat: ["t", { $toString: { $mod: ["$_id", 7] } }] } } },
  ]);
  await client.fence(await now());
  const changes = client.received.slice(before).filter(({ type }) => /added|changed|removed/.test(type));
  const seconds = (performance.now() - startedMs) / 1_000;
  // Five groups leave and seven come. They are sent about six times in the first second, and then once a second.
  expect(changes.length).toBeLessThanOrEqual((5 + 7) * (8 + 2 * seconds));
  const expected = await orders
    .aggregate([
      {
        $group: {
          _id: "$status",
          orders: { $sum: 1 },
          cents: { $sum: { $toInt: { $round: { $multiply: ["$price", 100] } } } },
        },
      },
    ])
    .toArray();
  const rows = rowsOf(client);
  expect([...rows.keys()].sort()).toEqual(expected.map(({ _id }) => _id).sort());
  for (const { _id, orders: number, cents } of expected) {
    const row = rows.get(_id) as { orders: number; total: number };
    expect(row.orders).toBe(number);
    expect(row.total).toBeCloseTo(cents / 100, 6);
  }
});

test("[G2] a resumption on a node that has just started brings the rows that differ, and no snapshot", async () => {
  const started = await startTestService({ collections: ORDERS });
  const orders = started.db.collection<Order>("orders");
  await orders.insertMany([order(1, "open"), order(2, "late"), order(3, "paid")]);
  const client = await started.connect({ sub: "ada" });
  const answer = await client.ask(ask);
  await client.fence(await started.now());
  const cursor = client.received.findLast((message) => "cursor" in message)!["cursor"];
  const held = rowsOf(client);
  client.socket.terminate();
  await started.service.stop();
  const service = await startService(toConfig(started.file), pino({ level: "silent" }));
  onTestFinished(() => service.stop());
  while (!service.readiness().ready) await new Promise((resolve) => setTimeout(resolve, 5));
  await orders.updateOne({ _id: 1 }, { $set: { price: 5 } });
  await orders.deleteOne({ _id: 3 });
  await orders.insertOne(order(4, "new"));
  const url = `ws://127.0.0.1:${service.address.port}/v1/ws`;
  const again = await WsClient.connect(url, { token: await signToken({ sub: "ada" }) });
  onTestFinished(() => again.socket.terminate());
  const back = await again.ask({ ...ask, cursor, ticket: answer["ticket"] });
  expect(back).toMatchObject({ type: "subscribed", start: "resumed" });
  await again.fence(await started.now());
  const changes = again.received.filter(({ type }) => /snapshot|added|changed|removed/.test(type));
  expect(new Set(changes.map(({ type, doc, _id }) => JSON.stringify([type, doc ?? _id])))).toEqual(
    new Set([
      '["changed",{"_id":"open","orders":1,"total":5}]',
      '["removed","paid"]',
      '["added",{"_id":"new","orders":1,"total":1}]',
    ]),
  );
  for (const message of changes) {
    if (message.type === "removed") held.delete(message["_id"]);
    else held.set((message["doc"] as Order)._id, message["doc"]);
  }
  expect(sorted(held)).toEqual(
    sorted(
      new Map([
        ["open", { _id: "open", orders: 1, total: 5 }],
        ["late", { _id: "late", orders: 1, total: 1 }],
        ["new", { _id: "new", orders: 1, total: 1 }],
      ]),
    ),
  );
});

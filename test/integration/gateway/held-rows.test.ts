/** Rows of aggregates that are held back, on every way on which a client may learn that it has everything. */
import { expect, test } from "vitest";
import { signToken, startTestService, type TestServiceOptions, toConfig } from "../../support/service.ts";
import type { Received, WsClient } from "../../support/ws-client.ts";

const BY_STATUS = { by: "status", values: { n: { count: true } } };
const ask = {
  type: "subscribe",
  id: "tabs",
  collection: "orders",
  aggregate: BY_STATUS,
};
/** The same documents as documents, which are never held back. */
const askPlain = { type: "subscribe", id: "plain", collection: "orders" };

interface Order {
  _id: number;
  owner: string;
  status: string;
}
const order = (_id: number, owner = "ada", status = "open"): Order => ({
  _id,
  owner,
  status,
});

/** A client whose rows are held back until something else sends them: the second change, for ten seconds. */
async function holdBack(options: Partial<TestServiceOptions> = {}, claims: object = { sub: "ada" }) {
  const world = await startTestService({
    collections: {
      orders: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] },
    },
    limits: { aggregateInterval: "10s" },
    // A snapshot that takes long must not be older than the history.
    history: { window: "300s" },
    ...options,
  });
  const orders = world.db.collection<Order>("orders");
  await orders.insertOne(order(1));
  const client = await world.connect({ ...claims });
  const answer = await client.ask(ask);
  await client.ask(askPlain);
  await client.fence(await world.now());
  const rows = () => rowsOf(client, answer["query"]);
  /** Writes two orders. The row of the second one is held back. */
  const write = async () => {
    await orders.insertOne(order(2));
    await client.until((message) => isChange(message, answer["query"]));
    await orders.insertOne(order(3));
    await client.until(({ type, doc }) => type === "added" && doc?.["_id"] === 3);
    expect(rows()).toEqual({ open: 2 });
  };
  return { ...world, orders, client, answer, rows, write };
}

const isChange = ({ type, query }: Received, of: unknown) =>
  /added|changed|removed/.test(type) && query === of;

/** The rows that a client has of a live query, by status. */
function rowsOf({ received }: Pick<WsClient, "received">, query: unknown): Record<string, number> {
  const rows: Record<string, number> = {};
  const put = (doc: Record<string, unknown>) => {
    rows[String(doc["_id"])] = Number(doc["n"]);
  };
  for (const message of received) {
    if (!("query" in message) || message["query"] !== query) continue;
    if (message.type === "snapshot") message.docs.forEach(put);
    if (message.type === "added" || message.type === "changed") put(message.doc!);
    if (message.type === "removed") delete rows[String(message._id)];
  }
  return rows;
}

test("[3.4] a fence is answered after the rows that are held back, and does not wait for the interval", async () => {
  const { client, rows, write, now } = await holdBack();
  await write();
  const startedMs = performance.now();
  await client.fence(await now());
  expect(performance.now() - startedMs).toBeLessThan(10_000);
  expect(rows()).toEqual({ open: 3 });
  expect(client.received.at(-1)?.type).toBe("fenced");
});

test("[3.4] a watermark comes after the rows that are held back", async () => {
  const { answer, client, orders } = await holdBack({ heartbeatMs: 100 });
  for (let _id = 2; _id < 10; _id++) {
    await orders.insertOne(order(_id));
    const plain = await client.until(({ type, doc }) => type === "added" && doc?.["_id"] === _id);
    const from = client.received.indexOf(plain!);
    const watermark = await client.until(({ type }) => type === "watermark", from);
    const received = client.received.slice(0, client.received.indexOf(watermark!));
    expect(rowsOf({ received }, answer["query"])).toEqual({ open: _id });
  }
});

test("[3.4] a subscription that joins in between has everything, and both receive the next change once", async () => {
  const { client, answer, connect, orders, rows, write, now } = await holdBack();
  await write();
  const other = await connect({ sub: "ada" });
  const joined = await other.ask(ask);
  await other.fence(await now());
  expect(rowsOf(other, joined["query"])).toEqual({ open: 3 });
  expect(rows()).toEqual({ open: 2 });
  await orders.insertOne(order(4));
  for (const one of [client, other]) await one.fence(await now());
  expect([rows(), rowsOf(other, joined["query"])]).toEqual([{ open: 4 }, { open: 4 }]);
  expect(client.received.filter((message) => isChange(message, answer["query"]))).toHaveLength(2);
});

test("[3.2] a resumption continues after the last row that was sent", async () => {
  const { client, answer, connect, now, write } = await holdBack();
  await write();
  const { cursor } = client.received.findLast((message) => isChange(message, answer["query"]))!;
  const other = await connect({ sub: "ada" });
  const resumed = await other.ask({ ...ask, cursor, ticket: answer["ticket"] });
  expect(resumed).toMatchObject({ start: "resumed" });
  await other.fence(await now());
  const changes = other.received.filter((message) => isChange(message, resumed["query"]));
  expect(changes.map(({ type, doc }) => [type, doc])).toEqual([["changed", { _id: "open", n: 3 }]]);
});

test("[3.2] one more subscription to the same rows does not receive a cursor that passes those held back", async () => {
  const { client, answer, connect, now, write } = await holdBack();
  await write();
  const shared = await client.ask({ ...ask, id: "more" });
  expect(shared).toMatchObject({ start: "shared", query: answer["query"] });
  const other = await connect({ sub: "ada" });
  const resumed = await other.ask({
    ...ask,
    cursor: shared["cursor"],
    ticket: shared["ticket"],
  });
  expect(resumed).toMatchObject({ start: "resumed" });
  await other.fence(await now());
  const changes = other.received.filter((message) => isChange(message, resumed["query"]));
  expect(changes.map(({ type, doc }) => [type, doc])).toEqual([["changed", { _id: "open", n: 3 }]]);
});

test("[3.2] an edit of the rules moves the rows as they are at that point, with those that are held back", async () => {
  const { client, file, now, orders, rows, service, write } = await holdBack();
  await orders.insertOne(order(9, "bob", "paid"));
  await write();
  const from = client.received.length;
  const rules = [{ name: "own", filter: { owner: { $in: ["ada", "bob"] } } }];
  await service.reload(toConfig({ ...file, collections: { orders: { rules } } }));
  await client.fence(await now());
  const tabs = client.received.slice(from).find(({ type, id }) => type === "subscribed" && id === "tabs");
  expect(tabs).toMatchObject({ start: "moved" });
  const changes = client.received.slice(from).filter((message) => isChange(message, tabs!["query"]));
  expect(changes.map(({ type, doc }) => [type, doc])).toEqual([["added", { _id: "paid", n: 1 }]]);
  expect(rows()).toEqual({ open: 3 });
});

test("[3.2] a token with other rights moves the rows as they are at that point, with those that are held back", async () => {
  const rules = [{ name: "teams", filter: { owner: { $in: "%%user.owners" } } }];
  const { client, now, orders, rows, write } = await holdBack(
    { collections: { orders: { rules } } },
    { sub: "ada", owners: ["ada"] },
  );
  await orders.insertOne(order(9, "bob", "paid"));
  await write();
  const from = client.received.length;
  client.send({
    type: "refresh",
    token: await signToken({ sub: "ada", owners: ["ada", "bob"] }),
  });
  await client.until(({ type, id }) => type === "subscribed" && id === "tabs", from);
  await client.fence(await now());
  const tabs = client.received.slice(from).find(({ type, id }) => type === "subscribed" && id === "tabs");
  expect(tabs).toMatchObject({ start: "moved" });
  const changes = client.received.slice(from).filter((message) => isChange(message, tabs!["query"]));
  expect(changes.map(({ type, doc }) => [type, doc])).toEqual([["added", { _id: "paid", n: 1 }]]);
  expect(rows()).toEqual({ open: 3 });
});

test("[4] a membership that changes moves the rows as they are at that commit, with those that are held back", async () => {
  const lookups = {
    owners: {
      collection: "members",
      filter: { user: "%%user.sub" },
      value: "owner",
    },
  };
  const rules = [{ name: "member", filter: { owner: { $in: "%%lookup.owners" } } }];
  const collections = { orders: { lookups, rules } };
  const options = { collections, limits: { aggregateInterval: "10s" } };
  const { connect, db, now } = await startTestService(options);
  const orders = db.collection<Order>("orders");
  const members = db.collection<{ _id: string; user: string; owner: string }>("members");
  await members.insertOne({ _id: "ada", user: "ada", owner: "ada" });
  await orders.insertMany([order(1), order(9, "bob", "paid")]);
  const client = await connect({ sub: "ada" });
  const { query } = await client.ask(ask);
  await client.fence(await now());
  await orders.insertOne(order(2));
  await client.until((message) => isChange(message, query));
  const from = client.received.length;
  await orders.insertOne(order(3));
  await members.insertOne({ _id: "bob", user: "ada", owner: "bob" });
  await client.fence(await now());
  const news = client.received
    .slice(from)
    .filter(({ type }) => /subscribed|added|changed|removed/.test(type));
  expect(news.map(({ type, start, doc }) => [type, start ?? doc])).toEqual([
    ["changed", { _id: "open", n: 3 }],
    ["subscribed", "moved"],
    ["added", { _id: "paid", n: 1 }],
  ]);
});

test("[3.4] a poll brings the rows that are held back, and does not wait for the interval", async () => {
  const { url, orders, client, write } = await holdBack();
  await write();
  const request = new URL("/v1/poll", url.replace("ws:", "http:"));
  const token = await signToken({ sub: "ada" });
  const poll = async (more: Record<string, string>): Promise<Record<string, unknown>> => {
    request.search = new URLSearchParams({
      collection: "orders",
      aggregate: JSON.stringify(BY_STATUS),
      ...more,
    }).toString();
    const response = await fetch(request, {
      headers: { authorization: `Bearer ${token}` },
    });
    return (await response.json()) as Record<string, unknown>;
  };
  const first = await poll({ wait: "0" });
  const last = (first["messages"] as Received[]).at(-1)!;
  expect([last["doc"] ?? last["docs"]].flat()).toEqual([{ _id: "open", n: 3 }]);
  const place = {
    cursor: String(first["cursor"]),
    ticket: String(first["ticket"]),
  };
  await orders.insertOne(order(4));
  await client.until(({ type, doc }) => type === "added" && doc?.["_id"] === 4);
  const second = await poll({ ...place, wait: "0" });
  expect(second["messages"]).toMatchObject([{ type: "changed", doc: { _id: "open", n: 4 } }]);
});

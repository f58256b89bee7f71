/** Pages that a server has rendered: the browser shows its results, and resumes from them. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createClient, type Initial } from "../../../src/client/client.ts";
import { prefetch, toInlineJson } from "../../../src/client/server.ts";
import { FakeService } from "../../support/fake-service.ts";
import { answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const KEY = JSON.stringify({ collection: "orders" });
const initial: Initial = {
  values: "json",
  results: { [KEY]: { docs: [{ _id: 1 }], cursor: "c1", ticket: "k1" } },
};

test("a client shows the results at once, and asks only for what has changed since", async () => {
  const { orders, follow, service } = scriptedClient({ initial });
  const query = orders.find();
  const state = query.getState();
  expect(state).toEqual({ data: [{ _id: 1 }], status: "connecting", error: undefined });
  expect(query.getState()).toBe(state);
  follow(query);
  expect(query.getState()).toEqual(state);
  await settle();
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c1", ticket: "k1" });
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "subscribed", id, query: 1, start: "resumed", cursor: "c1", ticket: "k2" });
  service.socket.tell({ type: "added", query: 1, cursor: "c2", cause: "insert", doc: { _id: 2 } });
  service.socket.tell({ type: "watermark", cursor: "c2" });
  expect(query.getState()).toMatchObject({ data: [{ _id: 1 }, { _id: 2 }], status: "live" });
});

test("results are used once, because later they may be older than what was shown", async () => {
  const { orders, follow, service } = scriptedClient({ initial, lingerMs: 10 });
  const { stop } = follow(orders.find());
  await settle();
  service.socket.welcome();
  stop();
  await pass(1_000);
  expect(orders.find().getState().data).toEqual([]);
});

test("results of another value mode, and of other queries, are not used", async () => {
  const other = scriptedClient({ initial: { ...initial, values: "ejson" } });
  expect(other.orders.find().getState().data).toEqual([]);
  expect(scriptedClient({ initial }).orders.find({ a: 1 }).getState().data).toEqual([]);
});

const options = (service: FakeService) =>
  ({ url: "http://live.test", WebSocket: service.WebSocket, transports: ["ws"] }) as const;

test("a server reads the results of a page, and ends its connection", async () => {
  const service = new FakeService();
  const read = prefetch(options(service), (client) => [client.collection("orders").find()]);
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  await settle();
  expect(await read).toEqual({
    values: "json",
    results: { [KEY]: { docs: [{ _id: 1 }], cursor: "c1", ticket: "ticket1" } },
  });
  expect(service.socket.closedWith).toBe(1000);
});

test("results that do not arrive in time are left out, and so are refused queries", async () => {
  const service = new FakeService();
  const read = prefetch(
    options(service),
    (client) => [
      client.collection("orders").find(),
      client.collection("secrets").find(),
      client.collection("slow").find(),
    ],
    { timeoutMs: 500 },
  );
  await settle();
  service.socket.welcome();
  const [orders, secrets] = service.socket.of("subscribe");
  service.socket.tell({
    type: "error",
    id: secrets?.id ?? "",
    code: "forbidden",
    message: "no",
    retry: "never",
  });
  service.socket.tell(
    { type: "subscribed", id: orders?.id ?? "", query: 1, start: "snapshot", cursor: "c1", ticket: "k1" },
    { type: "snapshot", query: 1, docs: [{ _id: 1 }], cursor: "c1", last: true },
  );
  await pass(600);
  expect(Object.keys((await read).results)).toEqual([KEY]);
});

test("no document can end the element that holds the results", () => {
  const docs = [{ _id: 1, text: "</script><!-- & \u2028" }];
  const text = toInlineJson({ ...initial, results: { [KEY]: { docs, cursor: "c", ticket: "t" } } });
  expect(text).not.toMatch(/[<>&\u2028]/);
  expect(JSON.parse(text).results[KEY].docs).toEqual(docs);
});

test("a client of a schema knows its collections and their documents", () => {
  interface Schema {
    orders: { _id: string; total: number; customer?: { name: string } };
    users: { _id: number };
  }
  const client = createClient<Schema>({ url: "http://live.test", autoConnect: false });
  const totals = () =>
    client
      .collection("orders")
      .find({ total: { $gt: 5 } })
      .sort("customer.name")
      .getState().data;
  const first: number | undefined = totals()[0]?.total;
  expect(first).toBe(undefined);
  // @ts-expect-error the schema has no such collection
  client.collection("odrers");
  // @ts-expect-error an order has no such field
  client.collection("orders").find({ name: "Ada" });
  // @ts-expect-error a total is a number
  client.collection("orders").find({ total: "5" });
  // @ts-expect-error no such path
  client.collection("orders").find().sort("customer.age");
  // @ts-expect-error no such path
  client.collection("users").find().fields("name");
  // @ts-expect-error no such path
  client.collection("users").find().groupBy("name");
});

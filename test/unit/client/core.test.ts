/** The core of the client: a feature works with its part, and says which part it needs without it. */
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import type { Client as FullClient } from "../../../src/client/client.ts";
import { type Client, type CoreOptions, createClient } from "../../../src/client/core.ts";
import type { Link } from "../../../src/client/link.ts";
import { changes } from "../../../src/client/parts/changes.ts";
import { extended } from "../../../src/client/parts/extended.ts";
import { fallback } from "../../../src/client/parts/fallback.ts";
import { fences } from "../../../src/client/parts/fences.ts";
import { growth } from "../../../src/client/parts/growth.ts";
import { initial } from "../../../src/client/parts/initial.ts";
import { memoryStore, persistence } from "../../../src/client/parts/persistence.ts";
import { warnings } from "../../../src/client/parts/warnings.ts";
import { FakeService } from "../../support/fake-service.ts";
import { added, answerSnapshot, pass, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function coreClient(options: Partial<CoreOptions> = {}) {
  const service = new FakeService();
  const client = createClient({
    url: "http://live.test",
    token: async () => "t1",
    WebSocket: service.WebSocket,
    random: () => 1,
    ...options,
  });
  onTestFinished(() => client.close());
  return { service, client, orders: client.collection("orders") };
}

/** A client with a query that is live. */
async function live(options: Partial<CoreOptions> = {}) {
  const setup = coreClient(options);
  const query = setup.orders.find();
  const stop = query.subscribe(() => {});
  await settle();
  setup.service.socket.welcome();
  answerSnapshot(setup.service.socket, [{ _id: 1 }]);
  return { ...setup, query, stop };
}

/** An application in JavaScript, which no compiler has warned. */
const untyped = (options: object) => options as Partial<CoreOptions>;
const names = (part: string) => new RegExp(`\`${part}\` of "tidewire/client/${part}" in \`parts\``);

test("a query is live, and resumes after a cut, without any part", async () => {
  const { service, query } = await live();
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
  service.socket.tell(added(2, "c2"));
  service.socket.drop();
  expect(query.getState().status).toBe("offline");
  await pass(1_000);
  service.socket.welcome();
  const { id, cursor, ticket } = service.socket.last("subscribe");
  expect({ cursor, ticket }).toEqual({ cursor: "c2", ticket: "ticket1" });
  service.socket.tell(
    { type: "subscribed", id, query: 7, start: "resumed", cursor: "c2", ticket: "ticket2" },
    added(3, "c3", 7),
    { type: "watermark", cursor: "c3" },
  );
  await pass(100);
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }, { _id: 2 }, { _id: 3 }] });
});

test("an option that is undefined has its default", async () => {
  const { service, query } = await live(
    untyped({ random: undefined, connectTimeoutMs: undefined, silenceMs: undefined, values: undefined }),
  );
  expect(query.getState().status).toBe("live");
  service.socket.drop();
  await pass(1_000);
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({ ticket: "ticket1" });
});

test.each([
  ["persist", { persist: { store: memoryStore(), scope: "ada" } }, "persistence"],
  ["initial", { initial: { values: "json", results: {} } }, "initial"],
  ["transports", { transports: ["sse"] }, "fallback"],
  ["fetch", { fetch }, "fallback"],
  ["upgradeAfterMs", { upgradeAfterMs: 1 }, "fallback"],
  ["logger", { logger: false }, "warnings"],
])("the option %s names the part that it needs", (option, options, part) => {
  expect(() => coreClient(untyped(options))).toThrow(names(part));
  expect(() => coreClient(untyped(options))).toThrow(new RegExp(`^${option} needs`));
});

test("a client without a WebSocket names the part that it needs", () => {
  vi.stubGlobal("WebSocket", undefined);
  expect(() => createClient({ url: "http://live.test" })).toThrow(names("fallback"));
  expect(() => createClient({ url: "http://live.test", parts: [fallback()] }).close()).not.toThrow();
});

test("a fence, a loop over changes and a date in a filter name the part that they need", async () => {
  const { client, query, orders } = await live();
  await expect(client.fence({ t: 1, i: 1 })).rejects.toThrow(names("fences"));
  expect(() => query.changes()).toThrow(names("changes"));
  expect(() => orders.find({ at: { $gt: new Date(0) } })).toThrow(names("extended"));
  expect(() => orders.find({ at: { $gt: new Date(0) } })).toThrow(/^filter\.at\.\$gt needs/);
  expect(() => orders.find({ at: undefined })).toThrow(expect.objectContaining({ code: "bad-filter" }));
});

test("with their parts, fences, loops and dates work", async () => {
  const { client, service, query, orders } = await live({ parts: [fences, changes, extended] });
  const fence = client.fence({ t: 1, i: 2 });
  const { id, operationTime } = service.socket.last("fence");
  expect(operationTime).toEqual({ $timestamp: { t: 1, i: 2 } });
  service.socket.tell({ type: "fenced", id, cursor: "c1" });
  await expect(fence).resolves.toBeUndefined();

  const loop = query.changes();
  expect(await loop.next()).toMatchObject({ value: { type: "snapshot", docs: [{ _id: 1 }] } });
  service.socket.tell(added(2, "c2"));
  expect(await loop.next()).toMatchObject({ value: { type: "added", doc: { _id: 2 } } });

  orders.find({ at: { $gt: new Date(0) } }).subscribe(() => {});
  await settle();
  expect(service.socket.last("subscribe").filter).toEqual({
    at: { $gt: { $date: "1970-01-01T00:00:00.000Z" } },
  });
});

test("with its part, a reloaded page continues from the results that were kept", async () => {
  const store = memoryStore();
  const parts = () => [persistence({ store, scope: "ada" })];
  const before = await live({ parts: parts() });
  before.client.close();
  await settle();
  const after = coreClient({ parts: parts() });
  const query = after.orders.find();
  query.subscribe(() => {});
  await settle();
  expect(query.getState().data).toEqual([{ _id: 1 }]);
  after.service.socket.welcome();
  expect(after.service.socket.last("subscribe")).toMatchObject({ cursor: "c1", ticket: "ticket1" });
});

test("with its part, a page begins with the results that a server has read", async () => {
  const key = JSON.stringify({ collection: "orders" });
  const results = { [key]: { docs: [{ _id: 5 }], cursor: "c5", ticket: "k5" } };
  const { service, orders } = coreClient({ parts: [initial({ values: "json", results })] });
  const query = orders.find();
  expect(query.getState().data).toEqual([{ _id: 5 }]);
  query.subscribe(() => {});
  await settle();
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c5", ticket: "k5" });
});

test("with its part, a larger window shows the documents of a smaller one; without it, it begins empty", async () => {
  for (const parts of [[], [growth]]) {
    const { service, orders } = coreClient({ parts });
    const sorted = orders.find().sort("a");
    sorted.limit(1).subscribe(() => {});
    await settle();
    service.socket.welcome();
    answerSnapshot(service.socket, [{ _id: 1 }]);
    expect(sorted.limit(2).getState().data).toEqual(parts.length === 0 ? [] : [{ _id: 1 }]);
  }
});

test("with its part, a problem that no observer receives is reported", async () => {
  const warn = vi.fn();
  const { service, orders } = coreClient({ parts: [warnings({ warn })] });
  orders.find().subscribe(() => {});
  await settle();
  service.socket.drop(1006, "");
  await settle();
  expect(warn).toHaveBeenCalledWith(expect.stringMatching(/cannot connect/), expect.anything());
});

test("without a part for warnings, the error is in the state, and observers receive it", async () => {
  const { service, orders } = coreClient();
  const error = vi.fn();
  const query = orders.find();
  query.subscribe({ error });
  await settle();
  service.socket.drop(4401, "no token");
  expect(query.getState()).toMatchObject({ status: "stopped", error: { code: "unauthenticated" } });
  expect(error).toHaveBeenCalledTimes(1);
});

test("what takes a client takes one of the core as well", () => {
  const takes = (client: FullClient): Client => client;
  const { client } = coreClient();
  expect(takes(client)).toBe(client);
});

test("a connection keeps no query that is over", async () => {
  const { service, client, orders } = await live();
  const links = new Set<Link>();
  client.attach({
    isNeeded: false,
    ask: (link) => void links.add(link),
    receive: () => false,
    lost: () => {},
    stopped: () => {},
  });
  service.socket.drop();
  await pass(1_000);
  const socket = service.socket.welcome();
  const [link] = links;
  const held = () => [link?.asked.size, link?.sent.size, link?.serves.size];
  answerSnapshot(socket);
  expect(held()).toEqual([0, 1, 1]);
  const follow = async (n: number) => {
    const leave = orders.find({ n }).subscribe({ error: () => {} });
    await settle();
    answerSnapshot(socket, [], n);
    expect(held()).toEqual([0, 2, 2]);
    return { leave, id: socket.last("subscribe").id };
  };
  const left = await follow(2);
  left.leave();
  await pass(1_000);
  expect(held()).toEqual([0, 1, 1]);
  const ended = await follow(3);
  socket.tell({ type: "unsubscribed", id: ended.id, reason: "forbidden" });
  expect(held()).toEqual([0, 1, 1]);
  orders.find({ n: 4 }).subscribe({ error: () => {} });
  await settle();
  const { id } = socket.last("subscribe");
  socket.tell({ type: "error", id, code: "forbidden", message: "no", retry: "never" });
  expect(held()).toEqual([0, 1, 1]);
});

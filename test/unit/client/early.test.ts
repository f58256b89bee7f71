/** [3.1] Subscriptions that the client sends with `hello`, before the service has answered. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { memoryStore } from "../../../src/client/client.ts";
import type { FakeSocket } from "../../support/fake-service.ts";
import { answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A client that follows so many queries, and whose socket has just been opened. */
async function opened(queries: number, filter: object = {}) {
  const setup = scriptedClient();
  const followed = Array.from({ length: queries }, (_, index) =>
    setup.follow(setup.orders.find({ ...filter, index })),
  );
  await settle();
  setup.service.socket.open();
  return { ...setup, followed };
}

const subscribes = (socket: FakeSocket) => socket.of("subscribe").length;

test("sends hello and the subscriptions together, and needs nothing else until they are answered", async () => {
  const { service, followed } = await opened(2);
  expect(service.socket.sent.map(({ type }) => type)).toEqual(["hello", "subscribe", "subscribe"]);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect(followed[1]?.query.getState()).toMatchObject({ data: [{ _id: 1 }], status: "live" });
  expect(service.socket.sent).toHaveLength(3);
});

test("a resumption sends cursor and ticket with hello", async () => {
  const { service } = await opened(1);
  service.socket.welcome();
  answerSnapshot(service.socket);
  service.socket.drop();
  await pass(1_000);
  service.socket.open();
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c1", ticket: "ticket1" });
});

test("at most 32 subscriptions are early; the others follow after the welcome, within the rate", async () => {
  const { service } = await opened(60);
  expect(subscribes(service.socket)).toBe(32);
  service.socket.welcome();
  expect(subscribes(service.socket)).toBe(50);
  await pass(1_000);
  expect(subscribes(service.socket)).toBe(60);
});

test("large subscriptions are early only as long as half of the burst pays for them, or if there is only one", async () => {
  // In UTF-8 each of these letters takes three bytes, so each subscription costs 15 or 59 requests.
  const [large, largest] = [
    await opened(8, { text: "語".repeat(5_000) }),
    await opened(8, { text: "語".repeat(20_000) }),
  ];
  expect(subscribes(large.service.socket)).toBe(3);
  expect(subscribes(largest.service.socket)).toBe(1);
});

test("subscriptions are early only as long as four messages of the largest size hold them", async () => {
  const { service } = await opened(10);
  service.socket.welcome({ limits: { earlyMessages: 32, messageBytes: 2_048 } });
  service.socket.drop();
  await pass(1_000);
  service.socket.open();
  // Each may have an envelope of 2,500 bytes.
  expect(subscribes(service.socket)).toBe(3);
});

test("the next connection sends as many early subscriptions as the service has said", async () => {
  const { service } = await opened(10);
  service.socket.welcome({ limits: { earlyMessages: 3 } });
  service.socket.drop();
  await pass(1_000);
  service.socket.open();
  expect(subscribes(service.socket)).toBe(3);
  service.socket.welcome();
  expect(subscribes(service.socket)).toBe(10);
});

test("the next connection sends none to a service that names no limit for them", async () => {
  const { service } = await opened(1);
  service.socket.welcome({ limits: { earlyMessages: undefined as unknown as number } });
  service.socket.drop();
  await pass(1_000);
  service.socket.open();
  expect(subscribes(service.socket)).toBe(0);
  service.socket.welcome();
  expect(subscribes(service.socket)).toBe(1);
});

test("a service that closes with 4400 for early messages is asked again, after its welcome and without a report", async () => {
  const logger = { warn: vi.fn() };
  const { service, follow } = scriptedClient({ logger });
  const { query } = follow();
  await settle();
  service.socket.open();
  service.socket
    .tell({ type: "error", code: "bad-request", message: "wait for welcome", retry: "never" })
    .drop(4400, "malformed message");
  await pass(1_000);
  expect(service.sockets).toHaveLength(2);
  service.socket.open();
  expect(subscribes(service.socket)).toBe(0);
  service.socket.welcome();
  answerSnapshot(service.socket);
  expect(query.getState().status).toBe("live");
  expect(logger.warn).not.toHaveBeenCalled();
});

test("4400 after the welcome still stops the client", async () => {
  const { service, followed } = await opened(1);
  service.socket.welcome();
  service.socket.drop(4400, "malformed message");
  await settle();
  expect(followed[0]?.query.getState().status).toBe("stopped");
});

test("a query that is left before the welcome is ended after it", async () => {
  const setup = scriptedClient({ lingerMs: 0 });
  const { stop } = setup.follow();
  setup.follow(setup.orders.find({ a: 1 }));
  await settle();
  const { socket } = setup.service;
  socket.open();
  stop();
  await pass(10);
  expect(socket.of("unsubscribe")).toEqual([]);
  socket.welcome();
  expect(socket.of("unsubscribe")).toEqual([{ type: "unsubscribe", id: socket.of("subscribe")[0]?.id }]);
});

test("a query that is followed between hello and the welcome is early as well, and asked for once", async () => {
  const { service, follow, orders } = await opened(1);
  follow(orders.find({ a: 1 }));
  await settle();
  expect(subscribes(service.socket)).toBe(2);
  service.socket.welcome();
  expect(subscribes(service.socket)).toBe(2);
});

test("a query whose kept copy is still being read is asked for when it has been read", async () => {
  let loaded: () => void = () => {};
  const store = {
    ...memoryStore(),
    load: () => new Promise<undefined>((resolve) => (loaded = () => resolve(undefined))),
  };
  const { service, follow } = scriptedClient({ persist: { store, scope: "ada" } });
  follow();
  await settle();
  service.socket.open();
  expect(subscribes(service.socket)).toBe(0);
  loaded();
  await settle();
  expect(subscribes(service.socket)).toBe(1);
  service.socket.welcome();
  expect(subscribes(service.socket)).toBe(1);
});

test("the connection that replaces a draining one is early as well, and takes over when all is answered", async () => {
  const { service, followed } = await opened(1);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  const [old] = service.sockets;
  old?.tell({ type: "draining", withinMs: 1_000 });
  await pass(1_000);
  expect(service.sockets).toHaveLength(2);
  service.socket.open();
  const { id } = service.socket.last("subscribe");
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c1", ticket: "ticket1" });
  service.socket.welcome();
  expect(old?.closedWith).toBeUndefined();
  service.socket.tell({ type: "subscribed", id, query: 1, start: "resumed", cursor: "c1", ticket: "t2" });
  expect(old?.closedWith).toBe(1000);
  service.socket.tell({ type: "watermark", cursor: "c2" });
  expect(followed[0]?.query.getState()).toMatchObject({ data: [{ _id: 1 }], status: "live" });
});

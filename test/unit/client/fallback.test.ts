/** Where something on the way breaks WebSockets: server-sent events, and long polling after them. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ClientOptions } from "../../../src/client/client.ts";
import type { SnapshotMessage, SubscribedMessage } from "../../../src/protocol/messages.ts";
import { event, FakeHttp } from "../../support/fake-http.ts";
import { WELCOME } from "../../support/fake-service.ts";
import { added, answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(async () => {
  // Loaded when it is needed; here, before the clock stands still.
  await import("../../../src/client/http-transport.ts");
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function clientOver(transports: ClientOptions["transports"], options: Partial<ClientOptions> = {}) {
  const http = new FakeHttp();
  const setup = scriptedClient({ fetch: http.fetch, transports: transports ?? ["ws"], ...options });
  return { ...setup, http };
}

const subscribed: SubscribedMessage = {
  type: "subscribed",
  id: "1",
  query: 4,
  start: "snapshot",
  cursor: "c1",
  ticket: "k1",
};
const snapshot: SnapshotMessage = {
  type: "snapshot",
  query: 4,
  docs: [{ _id: 1 }],
  cursor: "c1",
  last: true,
};

/** A client with one query that is live over server-sent events. */
async function liveOverSse(options: Partial<ClientOptions> = {}) {
  const setup = clientOver(["sse"], options);
  const { query, stop } = setup.follow();
  await settle();
  const stream = setup.http.request.stream();
  stream.write(event(WELCOME) + event(subscribed) + event(snapshot));
  await settle();
  return { ...setup, query, stop, stream };
}

test.each(["sse", "poll"] as const)("[7] takes the answers of any `fetch`, over %s", async (transport) => {
  const http = new FakeHttp();
  // As the polyfills, and as other windows have it: the answer is no `Response` of this realm.
  const fetch: typeof http.fetch = async (input, init) => {
    const response = await http.fetch(input, init);
    const { ok, status, body } = response;
    return { ok, status, body, json: () => response.json() } as Response;
  };
  const { query } = scriptedClient({ fetch, transports: [transport] }).follow();
  await settle();
  if (transport === "sse") http.request.stream().write(event(WELCOME) + event(subscribed) + event(snapshot));
  else http.request.answer({ start: "snapshot", cursor: "c1", ticket: "k1", messages: [snapshot] });
  await settle();
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
});

test("[7] asks for a stream with all of the request in the URL, and the token in the header", async () => {
  const { http, follow, orders } = clientOver(["sse"], { values: "ejson" });
  follow(
    orders
      .find({ a: { $gt: 1 } }, { documents: "delta" })
      .fields("a", "b")
      .sort("a", -1)
      .limit(3),
  );
  await settle();
  expect(http.request).toMatchObject({ path: "/v1/sse", authorization: "Bearer t1" });
  expect(http.request.parameters).toEqual({
    collection: "orders",
    values: "ejson",
    filter: '{"a":{"$gt":1}}',
    fields: "a,b",
    sort: '[["a",-1]]',
    limit: "3",
  });
});

test("[7] shows the messages of a stream, for every division into chunks", async () => {
  const { http, client, follow } = clientOver(["sse"]);
  const { query } = follow();
  await settle();
  const stream = http.request.stream();
  const messages = [WELCOME, subscribed, snapshot, { ...added(2, "c2", 4), more: "ü" }];
  for (const byte of Buffer.from(`:\n\n${messages.map(event).join("")}`)) stream.write(Uint8Array.of(byte));
  await settle();
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }, { _id: 2 }] });
  expect(client.state).toMatchObject({ status: "connected", transport: "sse" });
});

test("[7] each query has a stream of its own; numbers of other streams do not get mixed up", async () => {
  const { http, follow, orders } = clientOver(["sse"]);
  const [first, second] = [follow(orders.find({ a: 1 })), follow(orders.find({ a: 2 }))];
  await settle();
  const streams = [];
  for (const index of [0, 1]) {
    const stream = http.requests[index]!.stream();
    stream.write(event(WELCOME) + event(subscribed) + event({ ...snapshot, docs: [{ _id: index }] }));
    streams.push(stream);
    await settle();
  }
  streams[0]!.write(event(added(7, "c2", 4)));
  await settle();
  expect(first!.query.getState().data).toEqual([{ _id: 0 }, { _id: 7 }]);
  expect(second!.query.getState().data).toEqual([{ _id: 1 }]);
});

test("[7] a stream that ends is asked for again from the last cursor", async () => {
  const { http, stream, query } = await liveOverSse();
  stream.write(event(added(2, "c2", 4)));
  await settle();
  stream.end();
  await settle();
  expect(query.getState().status).toBe("offline");
  await pass(250);
  expect(http.request.parameters).toMatchObject({ cursor: "c2", ticket: "k1" });
});

test("[6] a stream that is silent for a heartbeat and ten seconds is given up; a comment is a sign of life", async () => {
  const { http, stream, query } = await liveOverSse();
  await pass(30_000);
  stream.write(":\n\n");
  await pass(34_999);
  expect(query.getState().status).toBe("live");
  await pass(1);
  expect(query.getState().status).toBe("offline");
  expect(http.requests[0]!.isAborted()).toBe(true);
});

test("[7] unsubscribing from a query ends its stream", async () => {
  const { http, stop } = await liveOverSse({ lingerMs: 0 });
  stop();
  await pass(1);
  expect(http.request.isAborted()).toBe(true);
  await pass(60_000);
  expect(http.requests.length).toBe(1);
});

test("[7] a token that runs out is renewed by another stream, before the old one is left", async () => {
  const { http, stream, token, query } = await liveOverSse();
  token.mockResolvedValue("t2");
  stream.write(event({ type: "expiring", inMs: 60_000 }));
  await settle();
  expect(http.request).toMatchObject({
    authorization: "Bearer t2",
    parameters: { cursor: "c1", ticket: "k1" },
  });
  expect(http.requests[0]!.isAborted()).toBe(false);
  http.request.stream().write(event(WELCOME) + event({ ...subscribed, start: "resumed" }));
  await settle();
  expect(http.requests[0]!.isAborted()).toBe(true);
  expect(query.getState().data).toEqual([{ _id: 1 }]);
});

test.each([
  ["token", "offline", "t2"],
  ["never", "stopped", "t1"],
] as const)("[5] HTTP 401 with `retry: %s` leaves the query %s", async (retry, status, next) => {
  const { http, follow, token } = clientOver(["sse"]);
  const { query } = follow();
  await settle();
  token.mockResolvedValue("t2");
  http.request.answer({ type: "error", code: "unauthenticated", message: "expired", retry }, 401);
  await settle();
  expect(query.getState()).toMatchObject({ status, error: { code: "unauthenticated", message: "expired" } });
  await pass(250);
  expect(http.request.authorization).toBe(`Bearer ${next}`);
});

test("[7] a request that is refused permanently stops that query alone", async () => {
  const { http, follow, orders, query } = await liveOverSse();
  const bad = follow(orders.find({ a: 1 }));
  await settle();
  http.request.answer({ type: "error", code: "bad-filter", message: "no", retry: "never" }, 400);
  await settle();
  expect(bad.query.getState()).toMatchObject({ status: "stopped", error: { code: "bad-filter" } });
  expect(query.getState().status).toBe("live");
});

test("[7] a request that is refused for now is made again later", async () => {
  const { http, follow, query, orders } = await liveOverSse();
  const busy = follow(orders.find({ a: 1 }));
  await settle();
  http.request.answer(
    { type: "error", code: "unavailable", message: "", retry: "later", retryAfterMs: 3_000 },
    503,
  );
  await settle();
  expect([busy.query.getState().status, query.getState().status]).toEqual(["connecting", "live"]);
  await pass(4_000);
  expect(http.requests.length).toBe(3);
});

test("an answer that is not the service's own counts as a broken way", async () => {
  const { http, follow } = clientOver(["sse"]);
  const { query } = follow();
  await settle();
  http.request.answer("<html>Bad gateway</html>", 502);
  await settle();
  expect(query.getState()).toMatchObject({ status: "offline", error: { message: "HTTP 502" } });
});

test("[7] polls: the first does not wait, the next ones go on from the answer before", async () => {
  const { http, follow, client } = clientOver(["poll"]);
  const { query, statuses } = follow();
  await settle();
  expect(http.request).toMatchObject({ path: "/v1/poll", parameters: { collection: "orders", wait: "0" } });
  http.request.answer({ start: "snapshot", messages: [snapshot], cursor: "c1", ticket: "k1" });
  await settle();
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
  expect(http.request.parameters).toEqual({
    collection: "orders",
    values: "json",
    wait: "25",
    cursor: "c1",
    ticket: "k1",
  });
  http.request.answer({ start: "resumed", messages: [added(2, "c2", 9)], cursor: "c3", ticket: "k2" });
  await settle();
  expect(query.getState().data).toEqual([{ _id: 1 }, { _id: 2 }]);
  expect(http.request.parameters).toMatchObject({ cursor: "c3", ticket: "k2" });
  expect(statuses()).toEqual(["connecting", "catching-up", "live"]);
  expect(client.state).toMatchObject({ status: "connected", transport: "poll" });
});

test("[7] a poll that starts with a new snapshot replaces the held result", async () => {
  const { http, follow } = clientOver(["poll"]);
  const { query } = follow();
  await settle();
  http.request.answer({ start: "snapshot", messages: [snapshot], cursor: "c1", ticket: "k1" });
  await settle();
  const fresh = { ...snapshot, docs: [{ _id: 9 }], cursor: "c7" };
  http.request.answer({
    start: "reset",
    reason: "history-lost",
    messages: [fresh],
    cursor: "c7",
    ticket: "k7",
  });
  await settle();
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 9 }] });
});

test("empty answers that arrive at once do not make the client spin", async () => {
  const { http, follow } = clientOver(["poll"]);
  follow();
  await settle();
  http.onRequest = (request) =>
    request.answer({ start: "resumed", messages: [], cursor: "c1", ticket: "k1" });
  http.request.answer({ start: "snapshot", messages: [snapshot], cursor: "c1", ticket: "k1" });
  await pass(10_000);
  expect(http.requests.length).toBeLessThanOrEqual(12);
});

test("a poll that is never answered is given up after its wait and the connect timeout", async () => {
  const { http, follow } = clientOver(["poll"], { connectTimeoutMs: 5_000 });
  const { query } = follow();
  await settle();
  http.request.answer({ start: "snapshot", messages: [snapshot], cursor: "c1", ticket: "k1" });
  await pass(29_999);
  expect(query.getState().status).toBe("live");
  await pass(1);
  expect(query.getState().status).toBe("offline");
});

test("after two failures in a row the next transport is tried, by itself, and the client says which it uses", async () => {
  const { service, http, client, follow } = clientOver(["ws", "sse", "poll"]);
  service.onSocket = (socket) => socket.drop();
  http.onRequest = ({ path, parameters, fail, answer }) => {
    if (path === "/v1/sse") fail();
    else if (parameters["wait"] === "0")
      answer({ start: "snapshot", messages: [snapshot], cursor: "c1", ticket: "k1" });
  };
  const used: string[] = [];
  client.onState(({ status, transport }) => used.push(`${status} ${transport}`));
  const { query } = follow();
  await pass(20_000);
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
  expect(used.filter((text) => text.startsWith("connect"))).toEqual([
    "connecting ws",
    "connecting ws",
    "connecting sse",
    "connecting sse",
    "connecting poll",
    "connected poll",
  ]);
});

test("stays with its transport while the application gives no token, because that says nothing about the transport", async () => {
  const { client, token, follow } = clientOver(["ws", "sse"]);
  token.mockRejectedValue(new Error("the backend is away"));
  follow();
  await pass(30_000);
  expect(token.mock.calls.length).toBeGreaterThan(3);
  expect(client.state).toMatchObject({ transport: "ws" });
});

test("where there is no WebSocket at all, it begins with server-sent events", async () => {
  const { http, client, follow } = clientOver(undefined, {});
  expect(client.state.transport).toBe("ws");
  follow();
  const without = new FakeHttp();
  const { createClient } = await import("../../../src/client/client.ts");
  vi.stubGlobal("WebSocket", undefined);
  const bare = createClient({ url: "http://live.test", fetch: without.fetch });
  vi.unstubAllGlobals();
  bare.collection("orders").find().subscribe({});
  await settle();
  expect(without.request.path).toBe("/v1/sse");
  expect(http.requests.length).toBe(0);
  bare.close();
});

test("a second choice is left for the first one when that works again, make before break", async () => {
  const { service, http, client, follow } = clientOver(["ws", "sse"], { upgradeAfterMs: 60_000 });
  service.onSocket = (socket) => socket.drop();
  const { query } = follow();
  await pass(2_000);
  const stream = http.request.stream();
  stream.write(event(WELCOME) + event(subscribed) + event(snapshot));
  await pass(30_000);
  stream.write(":\n\n");
  await pass(30_000);
  expect(client.state).toMatchObject({ status: "connected", transport: "sse" });
  stream.write(":\n\n");
  service.onSocket = () => {};
  await pass(30_000);
  stream.write(":\n\n");
  await pass(30_000);
  service.socket.welcome();
  const { id, cursor } = service.socket.last("subscribe");
  expect(cursor).toBe("c1");
  service.socket.tell({ type: "subscribed", id, query: 2, start: "resumed", cursor: "c1", ticket: "k2" });
  service.socket.tell({ type: "watermark", cursor: "c2" });
  await settle();
  expect(http.request.isAborted()).toBe(true);
  expect(client.state).toMatchObject({ status: "connected", transport: "ws" });
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
});

test("after an outage that met every transport, the first one, which had worked before, is soon tried again", async () => {
  const { service, http, client, follow } = clientOver(["ws", "sse"]);
  follow();
  await settle();
  service.socket.welcome();
  service.onSocket = (socket) => socket.drop();
  service.socket.drop();
  await pass(8_000);
  const stream = http.request.stream();
  stream.write(event(WELCOME) + event(subscribed) + event(snapshot));
  await settle();
  expect(client.state).toMatchObject({ status: "connected", transport: "sse" });
  const tried = service.sockets.length;
  await pass(5_000);
  expect(service.sockets.length).toBe(tried + 1);
  // It is broken after all: then that is believed, and the usual time taken.
  stream.write(":\n\n");
  await pass(20_000);
  expect(service.sockets.length).toBe(tried + 1);
});

test("an old connection that continues to answer does not undo messages of the new one", async () => {
  const { service, http, follow, orders } = clientOver(["ws", "poll"], { upgradeAfterMs: 60_000 });
  service.onSocket = (socket) => socket.drop();
  const [first] = [follow(orders.find({ a: 1 })), follow(orders.find({ a: 2 }))];
  await pass(2_000);
  const answerAll = (body: object) => {
    for (const request of http.requests.slice(-2)) request.answer({ messages: [], ticket: "k1", ...body });
    return settle();
  };
  // The second is asked for once the first has been answered.
  const snapshots = { start: "snapshot", messages: [snapshot], cursor: "c1", ticket: "k1" };
  http.requests[0]!.answer(snapshots);
  await settle();
  http.requests.find(({ parameters }) => parameters["filter"] === '{"a":2}')!.answer(snapshots);
  await settle();
  service.onSocket = () => {};
  for (let waited = 0; waited < 60_000; waited += 20_000) {
    await pass(20_000);
    await answerAll({ start: "resumed", cursor: "c2" });
  }
  service.socket.welcome();
  const { id } = service.socket.of("subscribe")[0]!;
  service.socket.tell({ type: "subscribed", id, query: 9, start: "resumed", cursor: "c2", ticket: "k9" });
  await answerAll({ start: "resumed", cursor: "c3" });
  service.socket.tell(added(7, "c4", 9));
  expect(first!.query.getState().data).toEqual([{ _id: 1 }, { _id: 7 }]);
});

test("a fence needs a WebSocket, and says so", async () => {
  const { client } = await liveOverSse();
  await expect(client.fence({ t: 1, i: 1 })).rejects.toMatchObject({ code: "unavailable" });
});

test("a WebSocket that has worked is tried again as long as it takes two failures", async () => {
  const { service, follow } = clientOver(["ws", "sse"]);
  follow();
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket);
  service.socket.drop();
  await pass(250);
  expect(service.sockets.length).toBe(2);
  service.socket.drop();
  await pass(500);
  expect(service.sockets.length).toBe(3);
});

test.each([0, 0.3, 1])(
  "[5] where everything is refused, at most 12 attempts a minute over all transports, whatever is followed (dice %d)",
  async (dice) => {
    const { service, http, follow, orders } = clientOver(["ws", "sse", "poll"], { random: () => dice });
    const startMs = Date.now();
    const attemptsAtMs: number[] = [];
    const attempted = () => attemptsAtMs.push(Date.now() - startMs);
    service.onSocket = (socket) => {
      attempted();
      socket.drop();
    };
    http.onRequest = (request) => {
      attempted();
      request.fail();
    };
    for (const a of [1, 2, 3]) follow(orders.find({ a }));
    await pass(300_000);
    const inAMinute = attemptsAtMs.map(
      (from) => attemptsAtMs.filter((at) => at >= from && at < from + 60_000).length,
    );
    expect(Math.max(...inAMinute)).toBeLessThanOrEqual(12);
    expect(service.sockets.length).toBeGreaterThan(1);
    expect(http.requests.length).toBeGreaterThan(3);
  },
);

test("[7] the first request shows whether the service is there; then the others follow", async () => {
  const { http, follow, orders } = clientOver(["sse"]);
  const [first, second] = [1, 2, 3].map((a) => follow(orders.find({ a })));
  await settle();
  const asked = () => http.requests.map(({ parameters }) => parameters["filter"]);
  expect(asked()).toEqual(['{"a":1}']);
  http.request.stream().write(event(WELCOME));
  await settle();
  expect(asked()).toEqual(['{"a":1}', '{"a":2}', '{"a":3}']);
  expect([first, second].map((one) => one?.query.getState().status)).toEqual(["connecting", "connecting"]);
});

test("[7] unsubscribing from the first query in the queue lets the next one start", async () => {
  const { http, follow, orders } = clientOver(["sse"], { lingerMs: 0 });
  const first = follow(orders.find({ a: 1 }));
  follow(orders.find({ a: 2 }));
  await settle();
  first.stop();
  await pass(1);
  expect(http.requests.map(({ isAborted }) => isAborted())).toEqual([true, false]);
  expect(http.request.parameters["filter"]).toBe('{"a":2}');
});

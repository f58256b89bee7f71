/** How the client makes, keeps and makes again its one connection; the service is a script, the clock is ours. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { added, answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("nothing connects, and no token is asked for, until a query is followed", async () => {
  const { service, client, token, orders } = scriptedClient();
  const query = orders.find({ status: "open" });
  expect(query.getState()).toEqual({ data: [], status: "connecting", error: undefined });
  await pass(60_000);
  expect([service.sockets.length, token.mock.calls.length]).toEqual([0, 0]);
  expect(client.state.status).toBe("idle");
});

test("with autoConnect off, nothing connects until `connect` is called", async () => {
  const { service, client, follow } = scriptedClient({ autoConnect: false });
  follow();
  await pass(60_000);
  expect(service.sockets.length).toBe(0);
  client.connect();
  await settle();
  expect(service.sockets.length).toBe(1);
});

test.each([
  ["http://live.test", "ws://live.test/v1/ws"],
  ["https://live.test/", "wss://live.test/v1/ws"],
  ["wss://live.test/prefix", "wss://live.test/prefix/v1/ws"],
])("[2] connects to %s at %s, with the subprotocol", async (url, address) => {
  const { service, follow } = scriptedClient({ url });
  follow();
  await settle();
  expect(service.socket.url).toBe(address);
  expect(service.socket.protocols).toEqual(["tidewire.v1"]);
});

test("[3.1] says hello first, and subscribes right after it", async () => {
  const { service, follow, orders } = scriptedClient({ values: "ejson" });
  follow(
    orders
      .find({ at: { $gt: new Date(0) } }, { documents: "delta" })
      .fields("a")
      .sort("b", -1)
      .limit(3),
  );
  await settle();
  service.socket.open();
  expect(service.socket.sent[0]).toEqual({
    type: "hello",
    token: "t1",
    values: "ejson",
    client: expect.any(String),
  });
  expect(service.socket.last("subscribe")).toEqual({
    type: "subscribe",
    id: expect.any(String),
    collection: "orders",
    filter: { at: { $gt: { $date: "1970-01-01T00:00:00.000Z" } } },
    fields: ["a"],
    sort: [["b", -1]],
    limit: 3,
    documents: "delta",
  });
});

test("equal queries are asked for once, however many follow them; other ones share the connection", async () => {
  const { service, follow, orders } = scriptedClient();
  follow(orders.find({ a: 1 }));
  follow(orders.find({ a: 1 }));
  follow(orders.find({ a: 2 }));
  await settle();
  service.socket.welcome();
  expect(service.sockets.length).toBe(1);
  expect(service.socket.of("subscribe").map(({ filter }) => filter)).toEqual([{ a: 1 }, { a: 2 }]);
});

test("the last who leaves a query ends it after the linger, the last query ends the connection", async () => {
  const { service, client, follow, orders } = scriptedClient({ lingerMs: 100 });
  const [one, same, other] = [orders.find({ a: 1 }), orders.find({ a: 1 }), orders.find({ a: 2 })].map(
    follow,
  );
  await settle();
  service.socket.welcome();
  const [first, second] = service.socket.of("subscribe");
  one!.stop();
  one!.stop();
  await pass(1_000);
  expect(service.socket.of("unsubscribe")).toEqual([]);
  same!.stop();
  await pass(99);
  expect(service.socket.of("unsubscribe")).toEqual([]);
  await pass(1);
  expect(service.socket.of("unsubscribe")).toEqual([{ type: "unsubscribe", id: first!.id }]);
  other!.stop();
  await pass(100);
  expect(service.socket.of("unsubscribe").at(-1)).toEqual({ type: "unsubscribe", id: second!.id });
  expect(service.socket.closedWith).toBe(1000);
  expect(client.state.status).toBe("idle");
  expect(vi.getTimerCount()).toBe(0);
});

test("a query that is left and followed again within the linger continues", async () => {
  const { service, follow } = scriptedClient({ lingerMs: 100 });
  const { query, stop } = follow();
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  stop();
  await pass(50);
  const again = follow(query);
  await pass(1_000);
  expect(again.states[0]).toEqual({ data: [{ _id: 1 }], status: "live", error: undefined });
  expect(service.socket.sent.length).toBe(2);
});

test("goes from connecting to catching-up to live, and reports data before the status that is about it", async () => {
  const { service, orders } = scriptedClient();
  const told: unknown[] = [];
  orders.find().subscribe({
    data: (data) => told.push(data),
    status: (status) => told.push(status),
    change: ({ type }) => told.push(type),
  });
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect(told).toEqual(["connecting", "catching-up", "snapshot", [{ _id: 1 }], "live"]);
});

test("changes that arrive together are reported one by one, the data once", async () => {
  const { service, orders } = scriptedClient();
  const data = vi.fn();
  const change = vi.fn();
  orders.find().subscribe({ data, change });
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket);
  data.mockClear();
  service.socket.tell(added(1, "c2"), added(2, "c3"), added(3, "c4"));
  expect(change).toHaveBeenCalledTimes(4);
  expect(data).not.toHaveBeenCalled();
  await settle();
  expect(data.mock.calls).toEqual([[[{ _id: 1 }, { _id: 2 }, { _id: 3 }]]]);
});

test("a listener that throws does not affect the other listeners", async () => {
  const { service, orders } = scriptedClient();
  const data = vi.fn();
  const uncaught = vi.fn();
  process.prependOnceListener("uncaughtException", uncaught);
  const queued = vi.spyOn(globalThis, "queueMicrotask").mockImplementation((work) => {
    try {
      work();
    } catch (error) {
      uncaught(error);
    }
  });
  orders.find().subscribe({
    change: () => {
      throw new Error("the application's own");
    },
  });
  orders.find().subscribe({ data });
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  queued.mockRestore();
  process.removeListener("uncaughtException", uncaught);
  expect(data).toHaveBeenCalledWith([{ _id: 1 }]);
  expect(uncaught).toHaveBeenCalledWith(expect.objectContaining({ message: "the application's own" }));
});

test("[G2] resumes with the last cursor and the ticket, and with the newest watermark", async () => {
  const { service, follow } = scriptedClient();
  const { query, statuses } = follow();
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  service.socket.tell(added(2, "c2"), { type: "watermark", cursor: "c3" });
  service.socket.drop();
  await pass(250);
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c3", ticket: "ticket1" });
  const { id } = service.socket.last("subscribe");
  service.socket.tell({
    type: "subscribed",
    id,
    query: 9,
    start: "resumed",
    cursor: "c3",
    ticket: "ticket2",
  });
  service.socket.tell(added(3, "c4", 9));
  expect(query.getState()).toMatchObject({
    status: "catching-up",
    data: [{ _id: 1 }, { _id: 2 }, { _id: 3 }],
  });
  service.socket.tell({ type: "watermark", cursor: "c5" });
  expect(statuses()).toEqual([
    "connecting",
    "catching-up",
    "live",
    "offline",
    "connecting",
    "catching-up",
    "live",
  ]);
  service.socket.drop();
  await pass(500);
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c5", ticket: "ticket2" });
});

test("without a complete snapshot the client cannot resume, so it asks for the whole result again", async () => {
  const { service, follow } = scriptedClient();
  const { query } = follow();
  await settle();
  service.socket.welcome();
  const { id } = service.socket.last("subscribe");
  service.socket.tell(
    { type: "subscribed", id, query: 1, start: "snapshot", cursor: "c1", ticket: "t" },
    { type: "snapshot", query: 1, docs: [{ _id: 1 }], cursor: "c1", last: false },
  );
  expect(query.getState().data).toEqual([]);
  service.socket.drop();
  await pass(250);
  service.socket.welcome();
  expect(service.socket.last("subscribe")).not.toHaveProperty("cursor");
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
});

test("[5] backs off with full jitter between the attempts", async () => {
  const { service, follow, client } = scriptedClient();
  follow();
  await settle();
  for (const delayMs of [250, 500, 1_000, 2_000]) {
    const before = service.sockets.length;
    service.socket.drop();
    expect(client.state.status).toBe("offline");
    await pass(delayMs - 1);
    expect(service.sockets.length).toBe(before);
    await pass(1);
    expect(service.sockets.length).toBe(before + 1);
  }
});

test.each([0, 0.2, 0.5, 1])(
  "[5] attempts at most 12 times a minute against a service that refuses (dice %d)",
  async (dice) => {
    const { service, follow, client } = scriptedClient({ random: () => dice, transports: ["ws"] });
    service.onSocket = (socket) => socket.drop();
    const attemptsAtMs: number[] = [];
    const { WebSocket } = service;
    const startMs = Date.now();
    client.onState(({ status }) => status === "connecting" && attemptsAtMs.push(Date.now() - startMs));
    expect(WebSocket).toBeDefined();
    follow();
    await pass(300_000);
    const inAMinute = attemptsAtMs.map(
      (from) => attemptsAtMs.filter((at) => at >= from && at < from + 60_000).length,
    );
    expect(Math.max(...inAMinute)).toBeLessThanOrEqual(12);
    expect(attemptsAtMs.length).toBeGreaterThan(9);
  },
);

test("the page's signs to hurry do not lift the bound on attempts", async () => {
  const page = new EventTarget();
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  const { service, follow } = scriptedClient();
  service.onSocket = (socket) => socket.drop();
  follow();
  for (let second = 0; second < 59; second++) {
    page.dispatchEvent(new Event("online"));
    await pass(1_000);
  }
  expect(service.sockets.length).toBeLessThanOrEqual(12);
  vi.unstubAllGlobals();
});

test("leaving and following again and again does not lift the bound on attempts either", async () => {
  const { service, follow } = scriptedClient({ lingerMs: 0 });
  service.onSocket = (socket) => socket.drop();
  for (let second = 0; second < 59; second++) {
    const { stop } = follow();
    await pass(500);
    stop();
    await pass(500);
  }
  expect(service.sockets.length).toBeLessThanOrEqual(12);
});

test("[5] 4400 to 4499 and 1002 stop the client, which reports the service's error to the application", async () => {
  for (const code of [4401, 4403, 4499, 1002, 1011]) {
    const { service, client, follow } = scriptedClient();
    const { query } = follow();
    await settle();
    service.socket.open().tell({ type: "error", code: "forbidden", message: "not you", retry: "never" });
    service.socket.drop(code, "reason");
    await pass(120_000);
    expect(service.sockets.length).toBe(1);
    expect(query.getState()).toMatchObject({
      status: "stopped",
      error: { code: "forbidden", message: "not you" },
    });
    expect(client.state).toMatchObject({ status: "stopped", error: { message: "not you" } });
  }
});

test("[5] a query that is followed after the stop is stopped as well; `connect` starts again with a new token", async () => {
  const { service, client, follow, orders, token } = scriptedClient();
  const first = follow();
  await settle();
  service.socket.open().drop(4401);
  const second = follow(orders.find({ a: 1 }));
  expect(second.query.getState().status).toBe("stopped");
  token.mockResolvedValue("t2");
  client.connect();
  await settle();
  service.socket.welcome();
  expect(service.socket.last("hello").token).toBe("t2");
  expect(service.socket.of("subscribe").length).toBe(2);
  expect(first.query.getState()).toMatchObject({ status: "connecting", error: undefined });
});

test("[5] 4100 to 4199 bring a new token each, at most three without a welcome", async () => {
  const { service, follow, token } = scriptedClient();
  let count = 0;
  token.mockImplementation(async () => `t${++count}`);
  const { query } = follow();
  await settle();
  for (let attempt = 1; attempt <= 4; attempt++) {
    expect(service.socket.open().last("hello").token).toBe(`t${attempt}`);
    service.socket.drop(4100);
    await pass(250 * 2 ** (attempt - 1));
  }
  expect(service.sockets.length).toBe(4);
  expect(query.getState()).toMatchObject({ status: "stopped", error: { code: "unauthenticated" } });
});

test("a token is asked for once, as long as it is good", async () => {
  const { service, follow, token } = scriptedClient();
  follow();
  await settle();
  service.socket.welcome({ expires: Date.now() + 3_600_000 });
  service.socket.drop();
  await pass(1_000);
  service.socket.open();
  expect(token).toHaveBeenCalledTimes(1);
  service.socket.drop();
  await pass(3_700_000);
  expect(token.mock.calls.length).toBeGreaterThan(1);
});

test("a failure to get a token counts as a failed attempt, and is reported", async () => {
  const { service, follow, token } = scriptedClient();
  token.mockRejectedValueOnce(new Error("login server down"));
  const { query, states } = follow();
  await settle();
  expect(service.sockets.length).toBe(0);
  expect(query.getState()).toMatchObject({
    status: "offline",
    error: { message: expect.stringMatching(/`token`.*login server down/) },
  });
  await pass(250);
  service.socket.welcome();
  answerSnapshot(service.socket);
  expect(states.at(-1)).toMatchObject({ status: "live", error: undefined });
});

test("a token provider that never answers is given up after the connect timeout", async () => {
  const { follow, token } = scriptedClient({ connectTimeoutMs: 1_000 });
  token.mockReturnValue(new Promise(() => {}));
  const { query } = follow();
  await pass(1_000);
  expect(query.getState().status).toBe("offline");
});

test("no token: hello goes without one", async () => {
  const { service, follow } = scriptedClient({ token: () => undefined });
  follow();
  await settle();
  expect(service.socket.open().last("hello")).not.toHaveProperty("token");
});

test("[5] 4200 to 4299 wait as long as the service said, whatever the page says", async () => {
  const { service, follow } = scriptedClient({ random: () => 0 });
  follow();
  await settle();
  service.socket.welcome();
  service.socket.tell({
    type: "error",
    code: "unavailable",
    message: "full",
    retry: "later",
    retryAfterMs: 5_000,
  });
  service.socket.drop(4200);
  await pass(4_999);
  expect(service.sockets.length).toBe(1);
  await pass(1);
  expect(service.sockets.length).toBe(2);
});

test("[3.2, expiring] brings a new token by refresh, on the same connection", async () => {
  const { service, follow, token } = scriptedClient();
  follow();
  await settle();
  service.socket.welcome({ expires: Date.now() + 3_600_000 });
  token.mockResolvedValue("t2");
  service.socket.tell({ type: "expiring", inMs: 60_000 });
  await settle();
  expect(service.socket.last("refresh")).toEqual({ type: "refresh", token: "t2" });
  expect(service.sockets.length).toBe(1);
});

test("[3.1, refresh] a refused refresh is reported, changes nothing, and is not given as the reason of a later disconnection", async () => {
  const { service, follow, token } = scriptedClient();
  const { query, states } = follow();
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket);
  token.mockResolvedValue("somebody else's");
  service.socket.tell({ type: "expiring", inMs: 60_000 });
  await settle();
  service.socket.tell({ type: "error", code: "forbidden", message: "another user's", retry: "never" });
  expect(query.getState()).toMatchObject({ status: "live", error: { code: "forbidden" } });
  service.socket.tell({ type: "watermark", cursor: "c2" });
  expect(states.at(-1)).toMatchObject({ status: "live", error: undefined });
  service.socket.drop();
  expect(query.getState().error).toMatchObject({ code: "unavailable" });
});

test("refreshes ahead of `expires` where no notice comes, again for every new token", async () => {
  const { service, follow, token } = scriptedClient();
  follow();
  await settle();
  service.socket.welcome({ expires: Date.now() + 300_000, heartbeat: 1_000_000 });
  token.mockResolvedValue("t2");
  await pass(269_999);
  expect(service.socket.of("refresh")).toEqual([]);
  await pass(1);
  expect(service.socket.of("refresh").length).toBe(1);
  token.mockResolvedValue("t3");
  service.socket.tell({ type: "refreshed", expires: Date.now() + 10_000 });
  await pass(5_000);
  expect(service.socket.of("refresh").map((message) => message.token)).toEqual(["t2", "t3"]);
});

test("a token that the application still keeps is not sent, and asked for again after half of the time that is left", async () => {
  const { service, follow, token } = scriptedClient();
  follow();
  await settle();
  service.socket.welcome({ expires: Date.now() + 60_000, heartbeat: 1_000_000 });
  service.socket.tell({ type: "expiring", inMs: 60_000 });
  await pass(29_999);
  expect(token).toHaveBeenCalledTimes(2);
  await pass(15_001);
  expect(token).toHaveBeenCalledTimes(4);
  expect(service.socket.of("refresh")).toEqual([]);
  token.mockResolvedValue("t2");
  await pass(7_500);
  expect(service.socket.of("refresh").map((message) => message.token)).toEqual(["t2"]);
});

test("an application that keeps its token until the end is asked a few times, and no more after it", async () => {
  const { service, follow, token } = scriptedClient();
  follow();
  await settle();
  service.socket.welcome({ expires: Date.now() + 60_000, heartbeat: 1_000_000 });
  await pass(59_999);
  const asked = token.mock.calls.length;
  expect(asked).toBeLessThan(20);
  await pass(60_000);
  expect(token.mock.calls.length - asked).toBeLessThanOrEqual(1);
});

test("an application that has no token at first is asked again, and the error is gone with the new token", async () => {
  const { service, follow, token } = scriptedClient();
  const { query } = follow();
  await settle();
  service.socket.welcome({ expires: Date.now() + 60_000, heartbeat: 1_000_000 });
  answerSnapshot(service.socket);
  token.mockRejectedValueOnce(new Error("the login is down")).mockResolvedValue("t2");
  await pass(30_000);
  expect(query.getState().error).toMatchObject({ code: "unauthenticated" });
  await pass(15_000);
  expect(service.socket.of("refresh").map((message) => message.token)).toEqual(["t2"]);
  service.socket.tell(
    { type: "refreshed", expires: Date.now() + 60_000 },
    { type: "watermark", cursor: "c2" },
  );
  expect(query.getState()).toMatchObject({ status: "live", error: undefined });
});

test("a client that is closed while its token is renewed asks for no other", async () => {
  const { client, service, follow, token } = scriptedClient();
  follow();
  await settle();
  service.socket.welcome({ expires: Date.now() + 60_000, heartbeat: 1_000_000 });
  await pass(29_999);
  client.close();
  await pass(60_000);
  expect(token).toHaveBeenCalledTimes(1);
});

test("[6] drops a connection that was silent for a heartbeat and ten seconds, and resumes", async () => {
  const { service, follow } = scriptedClient();
  const { query } = follow();
  await settle();
  service.socket.welcome({ heartbeat: 25_000 });
  answerSnapshot(service.socket);
  await pass(30_000);
  service.socket.tell({ type: "watermark", cursor: "c2" });
  await pass(34_999);
  expect(query.getState().status).toBe("live");
  await pass(1);
  expect(query.getState().status).toBe("offline");
  expect(service.sockets[0]!.closedWith).toBe(1000);
  await pass(250);
  expect(service.sockets.length).toBe(2);
});

test("gives up a connection that leads to no welcome", async () => {
  const { service, follow } = scriptedClient({ connectTimeoutMs: 15_000 });
  follow();
  await settle();
  service.socket.open();
  await pass(14_999);
  expect(service.socket.closedWith).toBeUndefined();
  await pass(1);
  expect(service.socket.closedWith).toBe(1000);
  expect(service.sockets.length).toBe(1);
  await pass(250);
  expect(service.sockets.length).toBe(2);
});

test("data that is not JSON comes from an intermediary, so the client drops the connection", async () => {
  const { service, follow } = scriptedClient();
  const { query } = follow();
  await settle();
  service.socket.welcome().tellText("<html>");
  expect(query.getState().status).toBe("offline");
});

test("passes over messages and fields that it does not know", async () => {
  const { service, follow } = scriptedClient();
  const { query } = follow();
  await settle();
  service.socket.welcome().tellText('{"type":"newer","query":1}');
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
});

test("the page comes back online: connects at once instead of waiting, and checks an open connection", async () => {
  const page = new EventTarget();
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  const { service, follow } = scriptedClient();
  follow();
  await settle();
  service.socket.drop();
  page.dispatchEvent(new Event("online"));
  await settle();
  expect(service.sockets.length).toBe(2);
  service.socket.welcome();
  page.dispatchEvent(new Event("online"));
  expect(service.socket.last("ping")).toEqual({ type: "ping" });
  await pass(5_000);
  service.socket.tell({ type: "pong" });
  await pass(30_000);
  expect(service.socket.closedWith).toBeUndefined();
  page.dispatchEvent(new Event("offline"));
  await pass(10_000);
  expect(service.socket.closedWith).toBe(1000);
  vi.unstubAllGlobals();
});

test("the page is looked at again: the same", async () => {
  const document = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  vi.stubGlobal("document", document);
  const { service, follow } = scriptedClient();
  const { stop } = follow();
  await settle();
  service.socket.drop();
  document.dispatchEvent(new Event("visibilitychange"));
  await settle();
  expect(service.sockets.length).toBe(1);
  document.visibilityState = "visible";
  document.dispatchEvent(new Event("visibilitychange"));
  await settle();
  expect(service.sockets.length).toBe(2);
  stop();
  await pass(10_000);
  document.dispatchEvent(new Event("visibilitychange"));
  await settle();
  expect(service.sockets.length).toBe(2);
  vi.unstubAllGlobals();
});

test("many subscriptions are sent at the pace that the service allows, those of large filters slower", async () => {
  const { service, follow, orders } = scriptedClient();
  for (let index = 0; index < 100; index++) follow(orders.find({ index }));
  await settle();
  service.socket.welcome({ limits: { requestBurst: 40, requestsPerSecond: 20 } });
  // Those that were sent before the welcome count as well.
  expect(service.socket.of("subscribe").length).toBe(32);
  await pass(2_000);
  expect(service.socket.of("subscribe").length).toBe(40);
  await pass(6_000);
  expect(service.socket.of("subscribe").length).toBe(100);
});

test("`close` ends everything permanently, and leaves nothing running", async () => {
  const { service, client, follow } = scriptedClient();
  const { query } = follow();
  await settle();
  service.socket.welcome();
  client.close();
  expect(service.socket.closedWith).toBe(1000);
  expect(query.getState()).toMatchObject({ status: "stopped", error: undefined });
  await pass(60_000);
  expect([service.sockets.length, vi.getTimerCount()]).toEqual([1, 0]);
});

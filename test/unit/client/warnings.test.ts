/** The client reports every problem: to the `error` observer, or else once per kind to its logger. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type ClientOptions, createClient } from "../../../src/client/client.ts";
import type { ErrorMessage } from "../../../src/protocol/messages.ts";
import { FakeHttp } from "../../support/fake-http.ts";
import { answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const consoleWarn = () => vi.spyOn(console, "warn").mockImplementation(() => {});

/** A client with a logger of its own, and the texts that it received. */
function logged(options: Partial<ClientOptions> = {}) {
  const texts: string[] = [];
  const logger = { warn: vi.fn((text: string) => void texts.push(text)) };
  return { ...scriptedClient({ logger, ...options }), texts, logger };
}

const refusal = (error: Partial<ErrorMessage>): ErrorMessage => ({
  type: "error",
  code: "forbidden",
  message: "no rule allows it",
  retry: "never",
  ...error,
});

/** Refuses the subscription that the client sent last. */
function refuse({ service }: ReturnType<typeof logged>, error: Partial<ErrorMessage> = {}): void {
  service.socket.tell(refusal({ id: service.socket.last("subscribe").id, ...error }));
}

test("without an `error` observer, a forbidden query is reported once by console.warn, with the collection", async () => {
  const warn = consoleWarn();
  const setup = { ...scriptedClient({ logger: undefined }), texts: [], logger: { warn: vi.fn() } };
  setup.follow(setup.orders.find({ keeps: "the connection" }));
  setup.follow();
  await settle();
  setup.service.socket.welcome();
  refuse(setup);
  await settle();
  expect(warn.mock.calls).toEqual([
    [expect.stringMatching(/^tidewire: collection "orders": no rule allows it.*forbidden/)],
  ]);
  setup.follow(setup.orders.find({ a: 1 }));
  await settle();
  refuse(setup);
  await settle();
  expect(warn).toHaveBeenCalledTimes(1);
});

test("errors of different kinds are reported separately", async () => {
  const setup = logged();
  setup.follow(setup.orders.find({ keeps: "the connection" }));
  setup.follow();
  await settle();
  setup.service.socket.welcome();
  refuse(setup);
  setup.follow(setup.orders.find({ a: 1 }));
  await settle();
  refuse(setup, { code: "snapshot-too-large", message: "use sort with limit" });
  setup.follow(setup.orders.find({ a: 2 }));
  await settle();
  refuse(setup, { code: "too-many-subscriptions", message: "more than 2", retry: "later" });
  await settle();
  expect(setup.texts).toEqual([
    expect.stringContaining("no rule allows it"),
    expect.stringContaining("use sort with limit"),
    expect.stringContaining("more than 2"),
  ]);
});

test("an `error` observer receives the error instead of the logger", async () => {
  const setup = logged();
  const error = vi.fn();
  setup.orders.find().subscribe({ error });
  await settle();
  setup.service.socket.welcome();
  refuse(setup);
  await settle();
  expect([error.mock.calls.length, setup.texts]).toEqual([1, []]);
});

test("an error of the connection that one query's observer receives is not logged for the others", async () => {
  const setup = logged();
  setup.follow();
  setup.orders.find({ a: 1 }).subscribe({ error: () => {} });
  await settle();
  setup.service.socket.drop(4401, "no token");
  await settle();
  expect(setup.texts).toEqual([]);
});

test("a promise or a loop that receives the reason for a stop is not logged as well; a failing connection is", async () => {
  const setup = logged();
  const snapshot = setup.orders.find().snapshot();
  snapshot.catch(() => {});
  await settle();
  setup.service.socket.drop(1006, "");
  await settle();
  expect(setup.texts).toEqual([expect.stringMatching(/cannot connect to http:\/\/live\.test/)]);
  await pass(1_000);
  setup.service.socket.welcome();
  refuse(setup);
  await expect(snapshot).rejects.toMatchObject({ code: "forbidden" });
  expect(setup.texts).toHaveLength(1);
});

test("`logger: false` reports nothing", async () => {
  const warn = consoleWarn();
  const { service, follow } = scriptedClient({ logger: false });
  follow();
  await settle();
  service.socket.drop(4401, "not genuine");
  await settle();
  expect(warn).not.toHaveBeenCalled();
});

test("a logger that throws does not affect the client", async () => {
  const uncaught = vi.fn();
  vi.spyOn(globalThis, "queueMicrotask").mockImplementation(
    (work) => void Promise.resolve().then(work).catch(uncaught),
  );
  const logger = {
    warn: () => {
      throw new Error("a bug of the application");
    },
  };
  const { service, follow } = scriptedClient({ logger });
  const { query } = follow();
  await settle();
  service.socket.drop();
  await pass(1_000);
  service.socket.welcome();
  answerSnapshot(service.socket);
  expect(query.getState().status).toBe("live");
  expect(uncaught).toHaveBeenCalledTimes(1);
});

test("a connection that is refused in a page names the page's origin and the option that must list it", async () => {
  vi.stubGlobal("location", { origin: "http://localhost:5173" });
  const setup = logged();
  setup.follow();
  await settle();
  setup.service.socket.drop();
  await settle();
  expect(setup.texts).toEqual([
    expect.stringMatching(
      /cannot connect to http:\/\/live\.test .*server\.origins.* http:\/\/localhost:5173/,
    ),
  ]);
  await pass(60_000);
  setup.service.socket.drop();
  await settle();
  expect(setup.texts).toHaveLength(1);
});

test("the reason that a WebSocket gives outside of a browser is part of the report", async () => {
  const setup = logged();
  setup.follow();
  await settle();
  const { socket } = setup.service;
  if (typeof socket.onerror === "function") socket.onerror({ message: "Unexpected server response: 403" });
  socket.drop();
  await settle();
  expect(setup.texts).toEqual([expect.stringContaining("Unexpected server response: 403")]);
});

test("a connection that breaks off after it was welcomed is not reported: the client reconnects by itself", async () => {
  const setup = logged();
  setup.follow();
  await settle();
  setup.service.socket.welcome();
  answerSnapshot(setup.service.socket);
  setup.service.socket.drop(1012, "restart");
  await pass(60_000);
  setup.service.socket.drop();
  await pass(60_000);
  expect(setup.texts).toEqual([]);
});

test("a refused token is reported with the option that gives it, and never with the token", async () => {
  const setup = logged();
  setup.follow();
  await settle();
  setup.service.socket
    .open()
    .tell(refusal({ code: "unauthenticated", message: "the signature does not verify" }))
    .drop(4401, "unauthenticated");
  await settle();
  expect(setup.texts).toEqual([expect.stringMatching(/the signature does not verify.*token.*createClient/)]);
  expect(setup.texts.join()).not.toContain("t1");
});

test("a token provider that fails is reported", async () => {
  const token = async () => {
    throw new Error("the login server is away");
  };
  const setup = logged({ token });
  setup.follow();
  await settle();
  expect(setup.texts).toEqual([expect.stringMatching(/`token`.*the login server is away/)]);
  expect(setup.texts[0]).not.toContain("Check the url");
});

test("a query over too many documents stops, and its snapshot rejects", async () => {
  const setup = logged();
  const query = setup.orders.find();
  const snapshot = query.snapshot();
  snapshot.catch(() => {});
  await settle();
  setup.service.socket.welcome();
  refuse(setup, { code: "snapshot-too-large", message: "use sort with limit" });
  await expect(snapshot).rejects.toMatchObject({ code: "snapshot-too-large", retry: "never" });
});

test.each([
  [undefined, /needs a url/],
  ["", /needs a url/],
  ["live.example.com", /live\.example\.com/],
  ["/live", /\/live/],
  ["ftp://live.example.com", /ftp/],
  ["https://live.example.com/?a=1", /\?a=1/],
  ["https://live.example.com/#a", /#a/],
])("createClient refuses the url %j at once", (url, text) => {
  expect(() => createClient({ url } as ClientOptions)).toThrow(TypeError);
  expect(() => createClient({ url } as ClientOptions)).toThrow(text);
});

test.each(["http://127.0.0.1:8480", "wss://live.example.com/prefix/", new URL("https://live.example.com")])(
  "createClient takes the url %s",
  (url) => {
    expect(() => createClient({ url }).close()).not.toThrow();
  },
);

test("createClient refuses a token that is not a function, and a transport that it does not know", () => {
  const url = "http://live.test";
  expect(() => createClient({ url, token: "eyJ" } as unknown as ClientOptions)).toThrow(/token.*function/);
  expect(() => createClient({ url, transports: ["carrier-pigeon"] } as unknown as ClientOptions)).toThrow(
    /carrier-pigeon/,
  );
  expect(() => createClient({ url, transports: [] })).toThrow(/transports/);
});

test("`close` reports no error: not to observers, not to the logger, and loops end", async () => {
  const setup = logged();
  const error = vi.fn();
  const query = setup.orders.find();
  query.subscribe({ error });
  const changes = query.changes();
  const snapshot = query.snapshot();
  snapshot.catch(() => {});
  const next = changes.next();
  await settle();
  setup.service.socket.welcome();
  setup.client.close();
  expect(query.getState()).toEqual({ data: [], status: "stopped", error: undefined });
  expect(setup.client.state).toMatchObject({ status: "stopped", error: undefined });
  expect(await next).toEqual({ done: true, value: undefined });
  await expect(snapshot).rejects.toMatchObject({ code: "unavailable", details: { reason: "closed" } });
  await settle();
  expect([error.mock.calls, setup.texts]).toEqual([[], []]);
});

test("a query that is followed on a closed client is reported", async () => {
  const setup = logged();
  setup.client.close();
  setup.follow();
  await settle();
  expect(setup.texts).toEqual([expect.stringMatching(/closed.*connect\(\)/)]);
});

test("a runtime without a WebSocket is reported once when the client connects, with the remedy", async () => {
  vi.stubGlobal("WebSocket", undefined);
  const http = new FakeHttp();
  const texts: string[] = [];
  const logger = { warn: (text: string) => void texts.push(text) };
  const client = createClient({ url: "http://live.test", fetch: http.fetch, logger });
  await settle();
  expect(texts).toEqual([]);
  client
    .collection("orders")
    .find()
    .subscribe(() => {});
  client
    .collection("orders")
    .find({ a: 1 })
    .subscribe(() => {});
  await settle();
  expect(texts).toEqual([expect.stringMatching(/no WebSocket.*server-sent events.*Node 22.*`ws`/)]);
  client.close();
});

test("a runtime without a WebSocket is not reported when the application chose other transports", async () => {
  vi.stubGlobal("WebSocket", undefined);
  const http = new FakeHttp();
  const logger = { warn: vi.fn() };
  const client = createClient({ url: "http://live.test", fetch: http.fetch, logger, transports: ["sse"] });
  client
    .collection("orders")
    .find()
    .subscribe(() => {});
  await settle();
  expect(logger.warn).not.toHaveBeenCalled();
  client.close();
  expect(() => createClient({ url: "http://live.test", transports: ["ws"] })).toThrow(/WebSocket/);
});

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  Follower,
  type FollowOptions,
  type FollowState,
  type SocketEvents,
} from "../../../src/client/follower.ts";
import type { ClientMessage, ServerMessage } from "../../../src/protocol/messages.ts";

/** A socket of which the test is the other end. */
class FakeSocket {
  readonly events: SocketEvents;
  readonly sent: ClientMessage[] = [];
  ended = false;

  constructor(events: SocketEvents) {
    this.events = events;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  end(): void {
    this.ended = true;
  }

  /** The service says something. */
  say(message: ServerMessage): void {
    this.events.message(JSON.stringify(message));
  }

  welcome(): void {
    this.events.opened();
    this.say({
      type: "welcome",
      connection: "c",
      node: "n",
      heartbeat: 25_000,
      user: "u1",
      expires: null,
      reconnect: { minMs: 100, maxMs: 1_000, factor: 2, stableAfterMs: 5_000 },
      limits: {},
    });
  }

  subscribed(cursor = "c1", ticket = "t1"): void {
    this.say({ type: "subscribed", id: "1", query: 1, start: "snapshot", cursor: "c0", ticket });
    this.say({ type: "snapshot", query: 1, docs: [], cursor, last: true });
  }

  added(cursor: string): void {
    this.say({ type: "added", query: 1, cursor, cause: "insert", doc: { _id: cursor } });
  }
}

let sockets: FakeSocket[];
let states: FollowState[];
let messages: ServerMessage[];

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  states = [];
  messages = [];
});
afterEach(() => {
  vi.useRealTimers();
});

function follow(options: Partial<FollowOptions> = {}): Follower {
  return new Follower({
    open: (events) => {
      const socket = new FakeSocket(events);
      sockets.push(socket);
      return socket;
    },
    token: async () => "token",
    request: { collection: "orders", filter: { a: 1 } },
    onMessage: (message) => messages.push(message),
    onState: (state) => states.push(state),
    random: () => 0.5,
    ...options,
  });
}

/** The newest socket, once everything that is due now has been done. */
async function newest(): Promise<FakeSocket> {
  await vi.advanceTimersByTimeAsync(0);
  const socket = sockets.at(-1);
  expect(socket).toBeDefined();
  return socket!;
}

test("says hello, then subscribes without a cursor", async () => {
  follow({ values: "ejson" });
  const socket = await newest();
  socket.welcome();
  expect(socket.sent).toEqual([
    { type: "hello", token: "token", values: "ejson" },
    { type: "subscribe", id: "1", collection: "orders", filter: { a: 1 } },
  ]);
});

test("[5] after a cut it comes back with its last cursor and ticket, after the back-off", async () => {
  follow();
  const first = await newest();
  first.welcome();
  first.subscribed();
  first.added("c5");
  first.events.closed(1006, "");
  expect(states.at(-1)).toEqual({ is: "waiting", code: 1006, reason: "", delayMs: 50 });
  await vi.advanceTimersByTimeAsync(49);
  expect(sockets).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  const second = await newest();
  expect(sockets).toHaveLength(2);
  second.welcome();
  expect(second.sent.at(-1)).toMatchObject({ type: "subscribe", cursor: "c5", ticket: "t1" });
});

test("what comes on a connection that is given up is not listened to", async () => {
  follow();
  const first = await newest();
  first.welcome();
  first.subscribed();
  first.events.closed(1006, "");
  first.added("c9");
  expect(messages.map(({ type }) => type)).toEqual(["welcome", "subscribed", "snapshot"]);
});

test("[6] drops a connection that is silent for longer than the heartbeat and 10 s", async () => {
  follow();
  const socket = await newest();
  socket.welcome();
  socket.subscribed();
  await vi.advanceTimersByTimeAsync(34_999);
  expect(socket.ended).toBe(false);
  socket.say({ type: "watermark", cursor: "c2" });
  await vi.advanceTimersByTimeAsync(34_999);
  expect(socket.ended).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(socket.ended).toBe(true);
  expect(states.at(-1)).toMatchObject({ is: "waiting", code: 1006 });
});

test("gives up a connection that does not get as far as a welcome", async () => {
  follow();
  const socket = await newest();
  socket.events.opened();
  await vi.advanceTimersByTimeAsync(14_999);
  expect(socket.ended).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(socket.ended).toBe(true);
});

test("[5] gets a new token when the old one has expired, and says so when there is none", async () => {
  const asked: boolean[] = [];
  const follower = follow({
    token: async (fresh) => {
      asked.push(fresh);
      return fresh ? undefined : "token";
    },
  });
  const socket = await newest();
  socket.welcome();
  socket.events.closed(4100, "token expired");
  await vi.advanceTimersByTimeAsync(1_000);
  await expect(follower.ended).resolves.toEqual({ why: "no-token" });
  expect(asked).toEqual([false, true]);
});

test("refreshes its token when it is told that it expires", async () => {
  follow({ token: async (fresh) => (fresh ? "newer" : "token") });
  const socket = await newest();
  socket.welcome();
  socket.say({ type: "expiring", inMs: 60_000 });
  await vi.advanceTimersByTimeAsync(0);
  expect(socket.sent.at(-1)).toEqual({ type: "refresh", token: "newer" });
});

test("[5] stops at a code that says so, with the words that came before it", async () => {
  const follower = follow();
  const socket = await newest();
  socket.events.opened();
  socket.say({ type: "error", code: "unauthenticated", message: "the token is not genuine", retry: "never" });
  socket.events.closed(4401, "unauthenticated");
  await expect(follower.ended).resolves.toEqual({
    why: "closed",
    code: 4401,
    reason: "the token is not genuine",
  });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sockets).toHaveLength(1);
});

test("[5] waits as long as a full node says", async () => {
  follow();
  const socket = await newest();
  socket.events.opened();
  socket.say({ type: "error", code: "unavailable", message: "full", retry: "later", retryAfterMs: 5_000 });
  socket.events.closed(4200, "full");
  await vi.advanceTimersByTimeAsync(5_000);
  expect(sockets).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sockets).toHaveLength(2);
});

test("ends when its subscription is refused for good", async () => {
  const follower = follow();
  const socket = await newest();
  socket.welcome();
  const error = { type: "error", id: "1", code: "forbidden", message: "no", retry: "never" } as const;
  socket.say(error);
  await expect(follower.ended).resolves.toEqual({ why: "refused", error });
});

test("asks again for a subscription that can not be made just now", async () => {
  follow();
  const socket = await newest();
  socket.welcome();
  socket.say({ type: "error", id: "1", code: "unavailable", message: "no MongoDB", retry: "later" });
  expect(socket.sent).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(50);
  expect(socket.sent.at(-1)).toMatchObject({ type: "subscribe", id: "1" });
  expect(socket.sent).toHaveLength(3);
});

test("ends when the subscription does", async () => {
  const follower = follow();
  const socket = await newest();
  socket.welcome();
  socket.subscribed();
  socket.say({ type: "unsubscribed", id: "1", reason: "forbidden" });
  await expect(follower.ended).resolves.toEqual({ why: "unsubscribed", reason: "forbidden" });
});

test("[3.2] leaves a draining node only when the next connection stands, and misses nothing on the way", async () => {
  follow();
  const first = await newest();
  first.welcome();
  first.subscribed();
  first.say({ type: "draining", withinMs: 10_000 });
  await vi.advanceTimersByTimeAsync(3_999);
  expect(sockets).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  const second = await newest();
  expect(sockets).toHaveLength(2);
  first.added("c6");
  expect(first.ended).toBe(false);
  second.welcome();
  expect(first.ended).toBe(true);
  expect(second.sent.at(-1)).toMatchObject({ type: "subscribe", cursor: "c6", ticket: "t1" });
});

test("stays with a draining node when the next connection fails, and waits as told when it is closed", async () => {
  follow();
  const first = await newest();
  first.welcome();
  first.subscribed();
  first.say({ type: "draining", withinMs: 10_000 });
  await vi.advanceTimersByTimeAsync(5_000);
  const second = await newest();
  second.events.closed(1006, "");
  first.added("c7");
  expect(messages.at(-1)).toMatchObject({ type: "added", cursor: "c7" });
  first.events.closed(4202, "drained");
  expect(states.at(-1)).toMatchObject({ is: "waiting", code: 4202, delayMs: 5_050 });
});

test("goes over to the next connection when the old one ends before that is welcomed", async () => {
  follow();
  const first = await newest();
  first.welcome();
  first.subscribed();
  first.say({ type: "draining", withinMs: 10_000 });
  await vi.advanceTimersByTimeAsync(5_000);
  const second = await newest();
  first.events.closed(4202, "drained");
  second.welcome();
  expect(second.sent.at(-1)).toMatchObject({ type: "subscribe", cursor: "c1", ticket: "t1" });
  await vi.advanceTimersByTimeAsync(60_000 - 35_000);
  expect(sockets).toHaveLength(2);
});

test("stops for good, also in the middle of a back-off", async () => {
  const follower = follow();
  const socket = await newest();
  socket.welcome();
  socket.events.closed(1006, "");
  follower.stop();
  await expect(follower.ended).resolves.toEqual({ why: "stopped" });
  await vi.advanceTimersByTimeAsync(120_000);
  expect(sockets).toHaveLength(1);
});

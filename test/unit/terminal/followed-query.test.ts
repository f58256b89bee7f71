import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import type { ServerMessage } from "../../../src/protocol/messages.ts";
import { FollowedQuery, type FollowOptions, type FollowState } from "../../../src/terminal/followed-query.ts";
import { FakeService, WELCOME } from "../../support/fake-service.ts";
import { added, answerSnapshot, pass, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Follows a query of a scripted service; `said` and `states` hold everything that is reported. */
async function follow(options: Partial<FollowOptions> = {}) {
  const service = new FakeService();
  const said: ServerMessage[] = [];
  const states: FollowState[] = [];
  const followed = new FollowedQuery({
    url: "ws://live.test",
    token: async () => "t1",
    hasNewTokens: true,
    request: { collection: "orders" },
    onMessage: (message) => said.push(message),
    onState: (state) => states.push(state),
    WebSocket: service.WebSocket,
    ...options,
  });
  onTestFinished(() => followed.stop());
  await settle();
  const types = () => said.map(({ type }) => type);
  return { service, followed, said, states, types };
}

test("subscribes as asked, and reports the state of the connection and every message", async () => {
  const request = { collection: "orders", filter: { a: 1 }, fields: ["a"], snapshot: false };
  const { service, states, types } = await follow({ request, values: "ejson" });
  expect(service.socket.url).toBe("ws://live.test/v1/ws");
  service.socket.welcome();
  expect(service.socket.last("hello")).toMatchObject({ token: "t1", values: "ejson" });
  expect(service.socket.last("subscribe")).toMatchObject(request);
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "subscribed", id, query: 1, start: "live", cursor: "c1", ticket: "k" });
  service.socket.tell(added(1, "c2"), { type: "watermark", cursor: "c3" });
  expect(types()).toEqual(["welcome", "subscribed", "added", "watermark"]);
  expect(states).toEqual([{ is: "connecting" }, { is: "connected", welcome: WELCOME }]);
});

test("[5] comes back after a cut with its last cursor and ticket, and reports how long it waits", async () => {
  const { service, states, types } = await follow();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  service.socket.tell(added(2, "c2"));
  service.socket.drop(1006, "cable");
  expect(states.at(-1)).toEqual({ is: "waiting", code: 1006, reason: "cable", delayMs: 125 });
  await pass(125);
  expect(states.at(-1)).toEqual({ is: "connecting" });
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c2", ticket: "ticket1" });
  expect(types()).toEqual(["welcome", "subscribed", "snapshot", "added", "welcome"]);
});

test("[3.2] goes over to another connection when its node drains, and reports each message once", async () => {
  const { service, states, types } = await follow();
  service.socket.welcome();
  answerSnapshot(service.socket);
  const [old] = service.sockets;
  service.socket.tell({ type: "draining", withinMs: 1_000 });
  expect(states.at(-1)).toEqual({ is: "moving", withinMs: 1_000 });
  await pass(1_000);
  service.socket.welcome({ node: "n2" });
  old?.tell(added(2, "c2"));
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "subscribed", id, query: 7, start: "resumed", cursor: "c1", ticket: "k" });
  service.socket.tell(added(3, "c3", 7));
  expect(old?.closedWith).toBe(1000);
  expect(types()).toEqual([
    ...["welcome", "subscribed", "snapshot", "draining", "added"],
    ...["welcome", "subscribed", "added"],
  ]);
  expect(states.at(-1)).toMatchObject({ is: "connected", welcome: { node: "n2" } });
});

test("[5] ends where a code says so, with the words that came before it", async () => {
  const { service, followed } = await follow();
  service.socket
    .open()
    .tell({ type: "error", code: "unauthenticated", message: "no such key", retry: "never" });
  service.socket.drop(4401, "key");
  expect(await followed.ended).toEqual({ why: "closed", code: 4401, reason: "no such key" });
});

test("[5] gets a new token when the last one has expired, and ends if there is none", async () => {
  const renewing = await follow();
  renewing.service.socket.welcome().drop(4100);
  expect(renewing.states.at(-1)).toMatchObject({ is: "waiting", code: 4100 });
  const { service, followed, states } = await follow({ hasNewTokens: false });
  service.socket.welcome().drop(4100);
  expect(await followed.ended).toEqual({ why: "no-token" });
  await pass(60_000);
  expect([states.at(-1)?.is, service.sockets.length]).toEqual(["connected", 1]);
});

test.each(["never", "token"] as const)("ends when its subscription is refused: retry %s", async (retry) => {
  const { service, followed } = await follow();
  service.socket.welcome();
  const { id } = service.socket.last("subscribe");
  const error = { type: "error", id, code: "forbidden", message: "no rule", retry } as const;
  service.socket.tell(error);
  expect(await followed.ended).toEqual({ why: "refused", error });
  expect(service.socket.closedWith).toBe(1000);
});

test("asks again for a subscription that cannot be made just now", async () => {
  const { service } = await follow();
  service.socket.welcome();
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "error", id, code: "unavailable", message: "busy", retry: "later" });
  await pass(1_000);
  expect(service.socket.of("subscribe")).toHaveLength(2);
});

test("ends when the subscription does, and reports nothing after its end", async () => {
  const { service, followed, types } = await follow();
  service.socket.welcome();
  answerSnapshot(service.socket);
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "unsubscribed", id, reason: "forbidden" }, added(2, "c2"));
  expect(await followed.ended).toEqual({ why: "unsubscribed", reason: "forbidden" });
  expect(types().at(-1)).toBe("unsubscribed");
});

test("a fence settles with its answer", async () => {
  const { service, followed } = await follow();
  service.socket.welcome();
  answerSnapshot(service.socket);
  let isOver = false;
  void followed.fence({ t: 7, i: 1 }).then(() => {
    isOver = true;
  });
  const { id, operationTime } = service.socket.last("fence");
  expect(operationTime).toEqual({ $timestamp: { t: 7, i: 1 } });
  await settle();
  expect(isOver).toBe(false);
  service.socket.tell({ type: "fenced", id, cursor: "c2" });
  await settle();
  expect(isOver).toBe(true);
});

test("stops for good, also in the middle of a back-off, and leaves no timer", async () => {
  const { service, followed } = await follow();
  service.socket.welcome().drop();
  followed.stop();
  expect(await followed.ended).toEqual({ why: "stopped" });
  await pass(60_000);
  expect([service.sockets.length, vi.getTimerCount()]).toEqual([1, 0]);
});

/** Presence of the client, over a service that is a script: what it sends, and when. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type EntryState, enter, whoIsIn } from "../../../src/client/presence/presence.ts";
import { tabId } from "../../../src/client/presence/tab.ts";
import type { FakeSocket } from "../../support/fake-service.ts";
import { pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

async function connected() {
  const { service, client } = scriptedClient();
  const entry = enter<{ n: number }>(client, "r1", { n: 1 });
  const states: EntryState[] = [];
  entry.onState((state) => states.push(state));
  await settle();
  service.socket.open();
  service.socket.welcome();
  const { id } = service.socket.last("enter");
  service.socket.tell({ type: "entered", id });
  return { service, client, entry, id, states, statuses: () => states.map(({ status }) => status) };
}

test("connects for an entry alone, and ends the connection with it", async () => {
  const { service, client, entry, statuses, id } = await connected();
  expect(service.socket.last("enter")).toMatchObject({ room: "r1", data: { n: 1 } });
  expect(statuses()).toEqual(["entering", "present"]);
  entry.leave();
  await settle();
  expect(service.socket.last("leave")).toEqual({ type: "leave", id });
  expect(statuses()).toEqual(["entering", "present", "left"]);
  expect(client.state.status).toBe("idle");
});

test("sends data that the application has changed within the same object", async () => {
  const { service, entry } = await connected();
  const data = { n: 2 };
  entry.update(data);
  await pass(1_000);
  data.n = 3;
  entry.update(data);
  await pass(1_000);
  expect(service.socket.last("enter")).toMatchObject({ data: { n: 3 } });
});

test("sends the data that are newest when it can, and not those that are as before", async () => {
  const { service, entry } = await connected();
  const sent = () => service.socket.sent.filter(({ type }) => type === "enter");
  entry.update({ n: 1 });
  expect(sent()).toHaveLength(1);
  for (let n = 2; n < 200; n++) entry.update({ n });
  await pass(10_000);
  expect(sent().at(-1)).toMatchObject({ data: { n: 199 } });
  expect(sent().length).toBeLessThan(110);
});

test("enters again after a reconnection, with the same tab", async () => {
  const { service, statuses } = await connected();
  const first = service.socket.last("enter");
  service.socket.drop();
  expect(statuses()).toEqual(["entering", "present", "entering"]);
  await pass(1_000);
  service.socket.open();
  service.socket.welcome();
  expect(service.socket.last("enter")).toEqual(first);
  service.socket.tell({ type: "entered", id: first.id });
  expect(statuses()).toEqual(["entering", "present", "entering", "present"]);
});

test("stays present while a node hands the connection over, unless the old connection breaks too early", async () => {
  const { service, id, statuses } = await connected();
  service.socket.tell({ type: "draining", withinMs: 0 });
  await pass(10_000);
  const [old, next] = service.sockets as [FakeSocket, FakeSocket];
  expect(service.sockets).toHaveLength(2);
  old.drop();
  expect(statuses().at(-1)).toBe("entering");
  next.open();
  next.welcome();
  next.tell({ type: "entered", id });
  expect(statuses().at(-1)).toBe("present");
  next.tell({ type: "draining", withinMs: 0 });
  await pass(10_000);
  const third = service.socket;
  third.open();
  third.welcome();
  third.tell({ type: "entered", id });
  next.drop();
  expect(statuses()).toEqual(["entering", "present", "entering", "present"]);
});

test("enters again when the entry was lost, and not when it was forbidden", async () => {
  const { service, id, states, statuses } = await connected();
  service.socket.tell({ type: "left", id, reason: "lost" });
  expect(service.socket.sent.filter(({ type }) => type === "enter")).toHaveLength(2);
  service.socket.tell({ type: "left", id, reason: "forbidden" });
  await pass(60_000);
  expect(statuses().at(-1)).toBe("left");
  expect(states.at(-1)?.error?.code).toBe("forbidden");
});

test("asks again after an error that passes, and stops after one that does not", async () => {
  const { service, client } = scriptedClient();
  const entry = enter(client, "r1");
  await settle();
  service.socket.open();
  service.socket.welcome();
  const { id } = service.socket.last("enter");
  const error = (code: "unavailable" | "forbidden", retry: "later" | "never") =>
    service.socket.tell({ type: "error", id, code, retry, message: "no" });
  error("unavailable", "later");
  expect(entry.state).toMatchObject({ status: "entering", error: { code: "unavailable" } });
  await pass(1_500);
  expect(service.socket.sent.filter(({ type }) => type === "enter")).toHaveLength(2);
  error("forbidden", "never");
  expect(entry.state).toMatchObject({ status: "left", error: { code: "forbidden" } });
});

test("a room that is left and entered again at once was never left", async () => {
  const { service, client, entry } = await connected();
  entry.leave();
  const again = enter(client, "r1");
  await pass(1_000);
  expect(service.socket.sent.filter(({ type }) => type === "leave")).toEqual([]);
  expect(again.state.status).toBe("present");
  again.leave();
  await pass(1_000);
  expect(service.socket.sent.filter(({ type }) => type === "leave")).toHaveLength(1);
});

test("queries and entries share the connection, which ends with the last of them", async () => {
  const { service, client, entry } = await connected();
  const stop = whoIsIn(client, "r1").subscribe({ error: () => {} });
  await settle();
  expect(service.socket.last("subscribe")).toMatchObject({ collection: "presence", filter: { room: "r1" } });
  entry.leave();
  await settle();
  expect(client.state.status).toBe("connected");
  stop();
  await pass(2_000);
  expect(client.state.status).toBe("idle");
});

test("a client that is closed has left every room", async () => {
  const { client, entry, statuses } = await connected();
  client.close();
  expect(statuses().at(-1)).toBe("left");
  entry.update({ n: 5 });
  expect(enter(client, "r2").state.status).toBe("left");
});

test("where the browser forbids storage, each client is a tab of its own", () => {
  vi.stubGlobal("sessionStorage", {
    getItem: () => {
      throw new Error("forbidden");
    },
  });
  const first = tabId();
  expect(tabId()).not.toBe(first);
  vi.unstubAllGlobals();
  expect(tabId()).toMatch(/^.{1,64}$/);
});

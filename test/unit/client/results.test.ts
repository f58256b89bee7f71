/** The state of a query, for every answer of the service and over every connection. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Change, memoryStore, type Saved } from "../../../src/client/client.ts";
import type { ServerMessage, SubscribedMessage } from "../../../src/protocol/messages.ts";
import type { FakeSocket } from "../../support/fake-service.ts";
import { added, answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

type Doc = Record<string, unknown>;

/** A client with one query that is live and holds `docs`. */
async function live(docs: Doc[] = [], options: Parameters<typeof scriptedClient>[0] = {}) {
  const setup = scriptedClient(options);
  const changes: Change<Doc>[] = [];
  const query = setup.orders.find();
  const stop = query.subscribe({ change: (change) => void changes.push(change) });
  await settle();
  setup.service.socket.welcome();
  answerSnapshot(setup.service.socket, docs);
  const ids = () => query.getState().data.map((doc) => doc["_id"]);
  return { ...setup, query, changes, stop, ids };
}

const subscribed = (
  socket: FakeSocket,
  start: SubscribedMessage["start"],
  rest: Partial<SubscribedMessage> = {},
): SubscribedMessage => ({
  type: "subscribed",
  id: socket.last("subscribe").id,
  query: 1,
  start,
  cursor: "c1",
  ticket: "ticket2",
  ...rest,
});
const changed = (doc: Doc, cursor: string, rest: object = {}): ServerMessage => ({
  type: "changed",
  query: 1,
  cursor,
  cause: "update",
  doc,
  ...rest,
});
const removed = (_id: unknown, cursor: string): ServerMessage => ({
  type: "removed",
  query: 1,
  cursor,
  cause: "delete",
  _id,
});

/** Cuts the connection; answers when the next one has asked. */
async function reconnect(setup: { service: { readonly socket: FakeSocket } }): Promise<FakeSocket> {
  setup.service.socket.drop();
  await pass(60_000);
  setup.service.socket.welcome();
  return setup.service.socket;
}

test("[3.2] applies added, changed and removed, and reports each with the previous document", async () => {
  const { service, changes, query } = await live([{ _id: 1, a: 1 }]);
  const [before] = query.getState().data;
  service.socket.tell(added(2, "c2"), changed({ _id: 1, a: 2 }, "c3"), removed(2, "c4"));
  expect(query.getState().data).toEqual([{ _id: 1, a: 2 }]);
  expect(changes).toEqual([
    { type: "snapshot", docs: [{ _id: 1, a: 1 }] },
    { type: "added", doc: { _id: 2 }, cause: "insert", cursor: "c2" },
    { type: "changed", doc: { _id: 1, a: 2 }, previous: { _id: 1, a: 1 }, cause: "update", cursor: "c3" },
    { type: "removed", _id: 2, doc: { _id: 2 }, cause: "delete", cursor: "c4" },
  ]);
  expect(changes[2]).toHaveProperty("previous", before);
});

test("unchanged documents stay the same objects, an unchanged result the same array and state", async () => {
  const { service, query } = await live([{ _id: 1 }, { _id: 2 }, { _id: 3 }]);
  const state = query.getState();
  expect(query.getState()).toBe(state);
  service.socket.tell({ type: "watermark", cursor: "c2" });
  expect(query.getState()).toBe(state);
  service.socket.tell(changed({ _id: 2, a: 1 }, "c3"));
  const next = query.getState();
  expect(next).not.toBe(state);
  expect([next.data[0], next.data[2]]).toEqual([state.data[0], state.data[2]]);
  expect(next.data[0]).toBe(state.data[0]);
  expect(next.data[2]).toBe(state.data[2]);
});

test("a new snapshot keeps the objects of unchanged documents, and the array if nothing has changed", async () => {
  const setup = await live([{ _id: 1 }, { _id: 2 }]);
  const { data } = setup.query.getState();
  let socket = await reconnect(setup);
  socket.tell(subscribed(socket, "reset", { reason: "history-lost" }));
  socket.tell({ type: "snapshot", query: 1, docs: [{ _id: 1 }, { _id: 2 }], cursor: "c5", last: true });
  expect(setup.query.getState().data).toBe(data);
  socket = await reconnect(setup);
  socket.tell(subscribed(socket, "reset", { reason: "history-lost" }));
  socket.tell({ type: "snapshot", query: 1, docs: [{ _id: 1 }, { _id: 2, a: 1 }], cursor: "c6", last: true });
  expect(setup.query.getState().data[0]).toBe(data[0]);
  expect(setup.query.getState().data[1]).toEqual({ _id: 2, a: 1 });
});

test("[3.3, reset] shows the old result until the new snapshot is complete, then reports the reason", async () => {
  const setup = await live([{ _id: 1 }]);
  const socket = await reconnect(setup);
  socket.tell(subscribed(socket, "reset", { reason: "rights-changed", query: 2 }));
  socket.tell({ type: "snapshot", query: 2, docs: [{ _id: 5 }], cursor: "c5", last: false });
  expect([setup.ids(), setup.query.getState().status]).toEqual([[1], "catching-up"]);
  socket.tell({ type: "snapshot", query: 2, docs: [{ _id: 6 }], cursor: "c5", last: true });
  expect([setup.ids(), setup.query.getState().status]).toEqual([[5, 6], "live"]);
  expect(setup.changes.at(-1)).toEqual({
    type: "snapshot",
    docs: [{ _id: 5 }, { _id: 6 }],
    reason: "rights-changed",
  });
});

test("[3.2, reset] a live query starts again, under the new ticket", async () => {
  const setup = await live([{ _id: 1 }]);
  setup.service.socket.tell({ type: "reset", query: 1, ticket: "ticket9", reason: "lagged" });
  expect(setup.query.getState().status).toBe("catching-up");
  setup.service.socket.tell({ type: "snapshot", query: 1, docs: [{ _id: 2 }], cursor: "c9", last: true });
  expect(setup.changes.at(-1)).toEqual({ type: "snapshot", docs: [{ _id: 2 }], reason: "lagged" });
  const socket = await reconnect(setup);
  expect(socket.last("subscribe")).toMatchObject({ cursor: "c9", ticket: "ticket9" });
});

test("[3.3, shared] another query that shares the live query shows its documents, and follows it", async () => {
  const { service, orders, changes } = await live([{ _id: 1 }]);
  const other = orders.find({ status: { $exists: true } });
  const told: string[] = [];
  other.subscribe({ change: ({ type }) => told.push(type) });
  service.socket.tell(subscribed(service.socket, "shared"));
  expect(other.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
  service.socket.tell(added(2, "c2"));
  expect(other.getState().data).toEqual([{ _id: 1 }, { _id: 2 }]);
  expect(told).toEqual(["snapshot", "added"]);
  expect(changes.length).toBe(2);
});

test("[3.3, shared] a query that joins during the snapshot becomes live together with the other", async () => {
  const { service, orders, follow } = scriptedClient();
  const first = follow();
  const second = follow(orders.find({ a: { $exists: false } }));
  await settle();
  service.socket.welcome();
  const [a, b] = service.socket.of("subscribe");
  service.socket.tell(
    { type: "subscribed", id: a!.id, query: 1, start: "snapshot", cursor: "c1", ticket: "t" },
    { type: "subscribed", id: b!.id, query: 1, start: "shared", cursor: "c1", ticket: "t" },
  );
  expect(second.query.getState().status).toBe("catching-up");
  service.socket.tell({ type: "snapshot", query: 1, docs: [{ _id: 1 }], cursor: "c1", last: true });
  for (const { query } of [first, second]) {
    expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
  }
});

test("[3.3, shared] the documents are still there for one whose answer comes after the other has left", async () => {
  const { service, orders, stop } = await live([{ _id: 1 }], { lingerMs: 0 });
  const other = orders.find({ a: 1 });
  other.subscribe({});
  stop();
  await pass(1);
  expect(service.socket.of("unsubscribe").length).toBe(1);
  service.socket.tell(added(2, "c2"), subscribed(service.socket, "shared", { cursor: "c2" }));
  expect(other.getState().data).toEqual([{ _id: 1 }, { _id: 2 }]);
});

test("[3.3, shared] an answer that names an unknown live query is invalid, and the client connects again", async () => {
  const { service, follow } = scriptedClient();
  follow();
  await settle();
  service.socket.welcome().tell(subscribed(service.socket.welcome(), "shared", { query: 7 }));
  expect(service.socket.closedWith).toBe(1000);
});

test("[3.3, moved] keeps its result, and applies the difference as changes", async () => {
  const { service, query, changes, ids } = await live([{ _id: 1 }, { _id: 2 }]);
  service.socket.tell(subscribed(service.socket, "moved", { query: 5, from: 1, cursor: "c2" }));
  expect([query.getState().status, ids()]).toEqual(["catching-up", [1, 2]]);
  service.socket.tell(
    { type: "removed", query: 5, cursor: "c3", cause: "grant", _id: 1 },
    { type: "added", query: 5, cursor: "c3", cause: "grant", doc: { _id: 3 } },
    added(9, "c4", 1),
    { type: "watermark", cursor: "c4" },
  );
  expect([query.getState().status, ids()]).toEqual(["live", [2, 3]]);
  expect(changes.map(({ type }) => type)).toEqual(["snapshot", "removed", "added"]);
});

test("[3.3, moved] of one of two that shared: the other stays where it is", async () => {
  const { service, orders, query, ids } = await live([{ _id: 1 }]);
  const first = service.socket.last("subscribe").id;
  const other = orders.find({ a: 1 });
  other.subscribe({});
  service.socket.tell(subscribed(service.socket, "shared"));
  service.socket.tell(subscribed(service.socket, "moved", { id: first, query: 5, from: 1 }));
  service.socket.tell(added(2, "c2", 1), added(3, "c2", 5));
  expect(ids()).toEqual([1, 3]);
  expect(other.getState().data).toEqual([{ _id: 1 }, { _id: 2 }]);
  expect(query.getState().data[0]).toBe(other.getState().data[0]);
});

test("[3.3, live] without a snapshot there are only changes, also of documents that were never held", async () => {
  const { service, orders } = scriptedClient();
  const changes: Change<Doc>[] = [];
  const query = orders.find({}, { snapshot: false });
  query.subscribe({ change: (change) => void changes.push(change) });
  await settle();
  service.socket.welcome();
  expect(service.socket.last("subscribe").snapshot).toBe(false);
  service.socket.tell(subscribed(service.socket, "live"));
  expect(query.getState()).toMatchObject({ status: "live", data: [] });
  service.socket.tell(changed({ _id: 1 }, "c2"), removed(2, "c3"));
  expect(changes).toEqual([
    { type: "changed", doc: { _id: 1 }, previous: undefined, cause: "update", cursor: "c2" },
    { type: "removed", _id: 2, doc: undefined, cause: "delete", cursor: "c3" },
  ]);
  service.socket.tell({ type: "reset", query: 1, ticket: "t", reason: "history-lost" });
  expect(query.getState()).toMatchObject({ status: "live", data: [] });
  expect(changes.at(-1)).toEqual({ type: "snapshot", docs: [], reason: "history-lost" });
});

test("without a snapshot there is neither a limit nor a delta", () => {
  const { orders } = scriptedClient();
  const refused = expect.objectContaining({ code: "bad-request" });
  expect(() => orders.find({}, { snapshot: false, documents: "delta" })).toThrow(refused);
  expect(() => orders.find({}, { snapshot: false }).sort("a").limit(1)).toThrow(refused);
});

test("[3.2, delta] a delta arrives, and is reported with the whole document", async () => {
  const { service, query, changes } = await live([{ _id: 1, a: { b: 1, c: [1] }, d: { e: 1 } }]);
  const [before] = query.getState().data;
  service.socket.tell({
    type: "changed",
    query: 1,
    cursor: "c2",
    cause: "update",
    _id: 1,
    set: { "a.b": 2 },
    unset: ["a.c"],
  });
  expect(query.getState().data).toEqual([{ _id: 1, a: { b: 2 }, d: { e: 1 } }]);
  expect(query.getState().data[0]!["d"]).toBe(before!["d"]);
  expect(changes.at(-1)).toMatchObject({
    type: "changed",
    doc: { _id: 1, a: { b: 2 } },
    previous: { a: { b: 1 } },
  });
});

test("[3.2, before] a sorted result is kept in order, and changes report the position of a document", async () => {
  const { service, orders } = scriptedClient();
  const query = orders.find().sort("n").limit(3);
  const changes: Change<Doc>[] = [];
  query.subscribe({ change: (change) => void changes.push(change) });
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: "a" }, { _id: "b" }, { _id: "c" }]);
  service.socket.tell(
    { type: "removed", query: 1, cursor: "c2", cause: "window", _id: "c" },
    { type: "added", query: 1, cursor: "c3", cause: "insert", doc: { _id: "x" }, before: "b" },
    { type: "changed", query: 1, cursor: "c4", cause: "update", doc: { _id: "a", n: 9 }, before: null },
  );
  expect(query.getState().data.map((doc) => doc["_id"])).toEqual(["x", "b", "a"]);
  expect(changes.slice(2)).toMatchObject([{ before: "b" }, { before: null }]);
});

test("after a report that took long, the next one waits as long, up to 100 ms, and holds all changes since", async () => {
  const { service, query } = await live([{ _id: 1 }]);
  await settle();
  const reports: number[] = [];
  let tookMs = 0;
  const observe = (docs: readonly unknown[]) => {
    reports.push(docs.length);
    vi.setSystemTime(Date.now() + tookMs);
  };
  query.subscribe({ data: observe });
  reports.length = 0;
  let count = 1;
  /** Sends changes until the next report. @returns How long that took. */
  const untilReport = async () => {
    const before = reports.length;
    let ms = 0;
    for (; reports.length === before; ms += 10) {
      service.socket.tell(added(++count, `c${count}`));
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(reports.at(-1)).toBe(count);
    return ms;
  };
  for (const [ms, nextMs] of [
    [0, 10],
    [40, 40],
    [500, 100],
    [0, 10],
  ] as const) {
    tookMs = ms;
    await untilReport();
    tookMs = 0;
    expect(await untilReport()).toBe(nextMs);
  }
});

test("[8, transactions] a transaction that was cut off is sent again, and is not reported twice", async () => {
  const setup = await live([{ _id: 1 }]);
  const inside = [added(2, "before"), changed({ _id: 2, a: 1 }, "before")];
  setup.service.socket.tell(...inside);
  const socket = await reconnect(setup);
  expect(socket.last("subscribe").cursor).toBe("before");
  socket.tell(subscribed(socket, "resumed", { cursor: "before" }));
  socket.tell(...inside, removed(1, "c2"), { type: "watermark", cursor: "c3" });
  expect(setup.changes.map(({ type }) => type)).toEqual(["snapshot", "added", "changed", "removed"]);
  expect(setup.query.getState()).toMatchObject({ status: "live", data: [{ _id: 2, a: 1 }] });
});

test("a transaction that follows a change with its very cursor is not taken for a repetition", async () => {
  const setup = await live([]);
  setup.service.socket.tell(added(1, "c2"));
  const socket = await reconnect(setup);
  socket.tell(subscribed(socket, "resumed", { cursor: "c2" }));
  socket.tell(changed({ _id: 1, a: 1 }, "c2"), added(3, "c3"));
  expect(setup.changes.map(({ type }) => type)).toEqual(["snapshot", "added", "changed", "added"]);
});

test("[3.2, draining] the next connection is made within the time, resumes, and only then the old one is left", async () => {
  const setup = await live([{ _id: 1 }], { random: () => 0.5 });
  const { service, query, changes } = setup;
  const old = service.socket;
  const statuses: string[] = [];
  query.subscribe({ status: (status) => statuses.push(status) });
  old.tell({ type: "draining", withinMs: 10_000 });
  await pass(3_999);
  expect(service.sockets.length).toBe(1);
  await pass(1);
  expect(service.sockets.length).toBe(2);
  old.tell(added(2, "c2"));
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c2", ticket: "ticket1" });
  // The old one delivers until the new one has answered; the new one then repeats that.
  old.tell(added(3, "c3"), { type: "watermark", cursor: "c4" }, added(4, "c5"));
  expect(old.closedWith).toBeUndefined();
  service.socket.tell(subscribed(service.socket, "resumed", { query: 8, cursor: "c2" }));
  expect(old.closedWith).toBe(1000);
  service.socket.tell(added(3, "c3", 8), added(4, "c5", 8), added(5, "c6", 8), {
    type: "watermark",
    cursor: "c7",
  });
  expect(query.getState().data.map((doc) => doc["_id"])).toEqual([1, 2, 3, 4, 5]);
  expect(changes.map((change) => ("doc" in change ? change.doc?.["_id"] : change.type))).toEqual([
    "snapshot",
    2,
    3,
    4,
    5,
  ]);
  expect(statuses).toEqual(["live", "catching-up", "live"]);
});

test("[3.2, draining] after a cut while the new connection repeats, the client resumes from the newest applied cursor", async () => {
  const setup = await live([], { random: () => 0.5 });
  const { service, changes } = setup;
  const old = service.socket;
  old.tell({ type: "draining", withinMs: 2 });
  await pass(1);
  service.socket.welcome();
  old.tell(added(1, "c2"), added(2, "c3"));
  service.socket.tell(subscribed(service.socket, "resumed", { cursor: "c1" }), added(1, "c2"));
  const socket = await reconnect(setup);
  expect(socket.last("subscribe").cursor).toBe("c3");
  socket.tell(subscribed(socket, "resumed", { cursor: "c3" }), added(3, "c4"));
  expect(changes.length).toBe(4);
});

test("[3.2, draining] the old connection serves on where the new one fails, and the next is tried", async () => {
  const { service, query } = await live([{ _id: 1 }], { random: () => 0.5 });
  const old = service.socket;
  old.tell({ type: "draining", withinMs: 10_000 });
  await pass(5_000);
  service.socket.drop();
  old.tell(added(2, "c2"));
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }, { _id: 2 }] });
  await pass(1_000);
  expect(service.sockets.length).toBe(3);
  old.drop(4202);
  expect(query.getState().status).toBe("connecting");
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c2" });
  service.socket.tell(subscribed(service.socket, "resumed", { cursor: "c2" }), {
    type: "watermark",
    cursor: "c3",
  });
  expect(query.getState().status).toBe("live");
  expect(service.sockets.length).toBe(3);
});

test("[3.2, draining] however long the new connection fails, no more than 12 a minute are begun", async () => {
  const { service, query } = await live([{ _id: 1 }], { random: () => 0.1 });
  const old = service.socket;
  service.onSocket = (socket) => socket.drop();
  old.tell({ type: "draining", withinMs: 100 });
  for (let second = 0; second < 50; second += 10) {
    await pass(10_000);
    old.tell({ type: "watermark", cursor: "c1" });
  }
  expect(service.sockets.length).toBeGreaterThan(5);
  expect(service.sockets.length).toBeLessThanOrEqual(12);
  expect(query.getState().status).toBe("live");
});

test("[3.2, draining] a query that the new connection has answered is not disturbed when the old one ends", async () => {
  const { service, orders, query } = await live([{ _id: 1 }], { random: () => 0.5 });
  const old = service.socket;
  const other = orders.find({ a: 1 });
  other.subscribe({});
  answerSnapshot(old, [], 2, "c1");
  old.tell({ type: "draining", withinMs: 2 });
  await pass(1);
  service.socket.welcome();
  const [first, second] = service.socket.of("subscribe");
  service.socket.tell(
    { type: "subscribed", id: first!.id, query: 1, start: "resumed", cursor: "c1", ticket: "t" },
    { type: "watermark", cursor: "c2" },
  );
  expect(query.getState().status).toBe("live");
  old.drop(4202);
  expect([query.getState().status, other.getState().status]).toEqual(["live", "connecting"]);
  service.socket.tell({
    type: "subscribed",
    id: second!.id,
    query: 2,
    start: "resumed",
    cursor: "c1",
    ticket: "t",
  });
  service.socket.tell({ type: "watermark", cursor: "c3" });
  expect(other.getState().status).toBe("live");
});

test("[3.2, draining] messages of the old connection for a query that the new one has answered are not applied", async () => {
  const { service, orders, ids } = await live([{ _id: 1 }], { random: () => 0.5 });
  const old = service.socket;
  const other = orders.find({ a: 1 });
  other.subscribe({});
  answerSnapshot(old, [], 2, "c1");
  old.tell({ type: "draining", withinMs: 2 });
  await pass(1);
  service.socket.welcome();
  const first = service.socket.of("subscribe")[0]!.id;
  service.socket.tell(subscribed(service.socket, "resumed", { id: first, query: 1, cursor: "c1" }));
  service.socket.tell(added(2, "c2"), removed(2, "c3"));
  old.tell(added(2, "c2"));
  expect(old.closedWith).toBeUndefined();
  expect(ids()).toEqual([1]);
});

test("[5] a subscription that is refused permanently stops alone, and reports the reason", async () => {
  const { service, orders, query } = await live();
  const bad = orders.find({ a: 1 });
  const errors: string[] = [];
  bad.subscribe({ error: ({ code }) => errors.push(code) });
  const { id } = service.socket.last("subscribe");
  service.socket.tell({
    type: "error",
    id,
    code: "bad-filter",
    message: "no",
    retry: "never",
    details: { at: "a" },
  });
  expect(bad.getState()).toMatchObject({
    status: "stopped",
    error: { code: "bad-filter", details: { at: "a" } },
  });
  expect([errors, query.getState().status]).toEqual([["bad-filter"], "live"]);
  await pass(20_000);
  expect(service.socket.of("subscribe").length).toBe(2);
});

test("a query that has stopped is asked for again once all have left it", async () => {
  const { service, orders } = await live();
  const query = orders.find({ a: 1 });
  const stop = query.subscribe({});
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "error", id, code: "forbidden", message: "no", retry: "never" });
  stop();
  query.subscribe({});
  await settle();
  expect(query.getState().status).toBe("connecting");
  expect(service.socket.of("subscribe").length).toBe(3);
});

test("[5] a subscription that is refused for now is asked for again, after what the service says and a random while", async () => {
  const { service, orders } = await live([], { random: () => 1 });
  const busy = orders.find({ a: 1 });
  busy.subscribe({});
  for (const [count, waitMs] of [1, 2, 3].map((n) => [n + 1, 2_000 + 1_000 * 2 ** (n - 1)] as const)) {
    const { id } = service.socket.last("subscribe");
    service.socket.tell({
      type: "error",
      id,
      code: "unavailable",
      message: "",
      retry: "later",
      retryAfterMs: 2_000,
    });
    expect(busy.getState()).toMatchObject({ status: "connecting", error: { code: "unavailable" } });
    await pass(waitMs - 1);
    expect(service.socket.of("subscribe").length).toBe(count);
    await pass(1);
    expect(service.socket.of("subscribe").length).toBe(count + 1);
  }
  answerSnapshot(service.socket, [], 2);
  expect(busy.getState()).toMatchObject({ status: "live", error: undefined });
});

test("[3.2, unsubscribed] `forbidden` ends the query, and the forbidden documents are no longer shown", async () => {
  const { service, query, changes } = await live([{ _id: 1 }]);
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "unsubscribed", id, reason: "forbidden" });
  expect(query.getState()).toMatchObject({ status: "stopped", data: [], error: { code: "forbidden" } });
  expect(changes.at(-1)).toEqual({ type: "snapshot", docs: [] });
});

test("[3.2, unsubscribed] `forbidden` hides the documents even if the token was not renewed before", async () => {
  const token = vi.fn(async () => "t1");
  const { service, query } = await live([{ _id: 1 }], { token });
  token.mockRejectedValue(new Error("the login service is down"));
  service.socket.tell({ type: "expiring", inMs: 60_000 });
  await settle();
  expect(query.getState()).toMatchObject({ status: "live", error: { code: "unauthenticated" } });
  service.socket.tell({ type: "unsubscribed", id: service.socket.last("subscribe").id, reason: "forbidden" });
  expect(query.getState()).toMatchObject({ status: "stopped", data: [], error: { code: "forbidden" } });
});

test.each([
  ["snapshot-too-large", { limit: "lookupValues" }],
  ["unavailable", {}],
] as const)(
  "[3.2, unsubscribed] a query whose rights cannot be judged (%s) hides its documents and says why",
  async (code, details) => {
    const { service, query } = await live([{ _id: 1 }]);
    const { id } = service.socket.last("subscribe");
    service.socket.tell(
      { type: "error", id, code, message: "no", retry: "later", details },
      { type: "unsubscribed", id, reason: "forbidden" },
    );
    expect(query.getState()).toMatchObject({
      status: "stopped",
      data: [],
      error: { code: "forbidden", cause: { message: "no" } },
    });
  },
);

test.each([
  ["its own error", true, "too-many-subscriptions"],
  ["its own reason, not with an error of the token", false, "unknown-collection"],
])("[3.2, unsubscribed] a query ends with %s", async (_title, isOwn, code) => {
  const token = vi.fn(async () => "t1");
  const { service, query } = await live([{ _id: 1 }], { token });
  const { id } = service.socket.last("subscribe");
  if (isOwn) {
    const details = { limit: "workPerUser" };
    service.socket.tell({
      type: "error",
      id,
      code: "too-many-subscriptions",
      message: "no",
      retry: "later",
      details,
    });
  } else {
    token.mockRejectedValue(new Error("the login service is down"));
    service.socket.tell({ type: "expiring", inMs: 60_000 });
    await settle();
  }
  service.socket.tell({ type: "unsubscribed", id, reason: "config" });
  expect(query.getState()).toMatchObject({ status: "stopped", data: [{ _id: 1 }], error: { code } });
});

test("[3.2, unsubscribed] a collection that was dropped ends the query", async () => {
  const { service, query } = await live([{ _id: 1 }]);
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "unsubscribed", id, reason: "collection-dropped" });
  expect(query.getState()).toMatchObject({
    status: "stopped",
    data: [{ _id: 1 }],
    error: { code: "unknown-collection", details: { reason: "collection-dropped" } },
  });
});

test("[3.2, unsubscribed] a reason that the client does not know hides the documents, and the error names it", async () => {
  const { service, query } = await live([{ _id: 1 }]);
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "unsubscribed", id, reason: "quarantined" as "forbidden" });
  expect(query.getState()).toMatchObject({
    status: "stopped",
    data: [],
    error: {
      code: "forbidden",
      message: "the service ended it: quarantined",
      details: { reason: "quarantined" },
    },
  });
});

test("[3.1, fence] settles when the service says so, and is asked again on another connection", async () => {
  const setup = await live();
  const passed = vi.fn();
  void setup.client.fence({ t: 7, i: 1 }).then(passed);
  expect(setup.service.socket.last("fence")).toMatchObject({ operationTime: { $timestamp: { t: 7, i: 1 } } });
  const socket = await reconnect(setup);
  const { id } = socket.last("fence");
  expect(passed).not.toHaveBeenCalled();
  socket.tell({ type: "fenced", id, cursor: "c5" });
  await settle();
  expect(passed).toHaveBeenCalled();
});

test("[3.1, fence] a fence that the service cannot answer is refused; without queries a fence ends at once", async () => {
  const { service, client } = await live();
  const fence = expect(client.fence({ $timestamp: { t: 7, i: 1 } })).rejects.toMatchObject({
    code: "unavailable",
  });
  const { id } = service.socket.last("fence");
  service.socket.tell({ type: "error", id, code: "unavailable", message: "late", retry: "later" });
  await fence;
  await scriptedClient().client.fence({ t: 7, i: 1 });
});

test("`for await` over the changes begins with the result, and ends the query when it is left", async () => {
  const { service, orders } = scriptedClient({ lingerMs: 0 });
  const seen: string[] = [];
  const loop = (async () => {
    for await (const change of orders.find().changes()) {
      seen.push(change.type);
      if (change.type === "removed") break;
    }
  })();
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  service.socket.tell(added(2, "c2"), removed(1, "c3"), added(3, "c4"));
  await loop;
  expect(seen).toEqual(["snapshot", "added", "removed"]);
  await pass(1);
  expect(service.socket.closedWith).toBe(1000);
});

test("`for await` joins a result that others follow already with all it holds", async () => {
  const { query } = await live([{ _id: 1 }]);
  const { value } = await query.changes().next();
  expect(value).toEqual({ type: "snapshot", docs: [{ _id: 1 }] });
});

test("`for await` that is read too slowly holds no more than the result, and says so", async () => {
  const { service, query } = await live([]);
  const changes = query.changes();
  for (let index = 0; index < 5_500; index++) service.socket.tell(changed({ _id: 1, index }, `c${index}`));
  const seen: Change<Doc>[] = [];
  for await (const change of changes) {
    seen.push(change);
    if (change.type !== "snapshot" && change.cursor === "c5499") break;
  }
  expect(seen.length).toBeLessThanOrEqual(1_000);
  expect(seen[0]).toMatchObject({ type: "snapshot", reason: "lagged" });
  expect(seen.at(-1)).toMatchObject({ doc: { index: 5_499 } });
});

test("`for await` throws why a query has stopped", async () => {
  const { service, query } = await live([]);
  const changes = query.changes();
  await changes.next();
  const next = expect(changes.next()).rejects.toMatchObject({ code: "forbidden" });
  service.socket.tell({ type: "unsubscribed", id: service.socket.last("subscribe").id, reason: "forbidden" });
  await next;
});

test("`snapshot` gives the result once it is up to date", async () => {
  const { service, orders } = scriptedClient({ lingerMs: 0 });
  const query = orders.find();
  const first = query.snapshot();
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect(await first).toEqual([{ _id: 1 }]);
  await pass(1);
  expect(service.socket.closedWith).toBe(1000);
});

test("`snapshot` rejects where the query has stopped", async () => {
  const { service, orders } = scriptedClient();
  const result = expect(orders.find().snapshot()).rejects.toMatchObject({ code: "unauthenticated" });
  await settle();
  service.socket.open().drop(4401, "bad token");
  await result;
});

test("`subscribe` with a function keeps Svelte's store contract: at once, and at every change", async () => {
  const { service, orders } = scriptedClient();
  const states: unknown[] = [];
  const unsubscribe = orders.find().subscribe((state) => states.push(state));
  expect(states).toEqual([{ data: [], status: "connecting", error: undefined }]);
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect(states.at(-1)).toEqual({ data: [{ _id: 1 }], status: "live", error: undefined });
  unsubscribe();
  const { length } = states;
  service.socket.tell(added(2, "c2"));
  await settle();
  expect(states.length).toBe(length);
});

test("a reload shows the kept result, and resumes instead of loading", async () => {
  const store = memoryStore();
  const persist = { store, scope: "u1" };
  const before = await live([{ _id: 1 }, { _id: 2 }], { persist });
  before.service.socket.tell(removed(1, "c2"));
  await pass(1_000);
  const { service, orders } = scriptedClient({ persist });
  const query = orders.find();
  const data: unknown[] = [];
  query.subscribe({ data: (docs) => data.push(docs) });
  await settle();
  expect(query.getState()).toMatchObject({ status: "connecting", data: [{ _id: 2 }] });
  expect(data).toEqual([[{ _id: 2 }]]);
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({ cursor: "c2", ticket: "ticket1" });
  service.socket.tell(subscribed(service.socket, "resumed", { cursor: "c2" }), {
    type: "watermark",
    cursor: "c3",
  });
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 2 }] });
});

test.each([
  ["another user", { scope: "u2" }, {}],
  ["another service", {}, { url: "http://other.test" }],
  ["another way of writing values", {}, { values: "ejson" as const }],
])("what was kept is not shown to %s", async (_name, scope, options) => {
  const store = memoryStore();
  await live([{ _id: 1 }], { persist: { store, scope: "u1" } });
  await pass(1_000);
  const { orders } = scriptedClient({ persist: { store, scope: "u1", ...scope }, ...options });
  const query = orders.find();
  query.subscribe({});
  await settle();
  expect(query.getState().data).toEqual([]);
});

test("a kept result is removed when the query is forbidden", async () => {
  const kept = new Map<string, unknown>();
  const store = {
    load: async () => undefined,
    save: async (key: string, saved: unknown) => void kept.set(key, saved),
    remove: async (key: string) => void kept.delete(key),
  };
  const { service } = await live([{ _id: 1 }], { persist: { store, scope: "u1" } });
  await pass(1_000);
  expect([...kept.values()]).toEqual([{ docs: [{ _id: 1 }], cursor: "c1", ticket: "ticket1" }]);
  service.socket.tell({ type: "unsubscribed", id: service.socket.last("subscribe").id, reason: "forbidden" });
  await pass(1_000);
  expect(kept.size).toBe(0);
});

test.each([true, false])(
  "kept results are removed when the service refuses the whole client (with a message: %s)",
  async (hasMessage) => {
    const kept = new Map<string, unknown>();
    const store = {
      load: async () => undefined,
      save: async (key: string, saved: unknown) => void kept.set(key, saved),
      remove: async (key: string) => void kept.delete(key),
    };
    const { service, orders, query } = await live([{ _id: 1 }], { persist: { store, scope: "u1" } });
    await pass(1_000);
    expect(kept.size).toBe(1);
    if (hasMessage)
      service.socket.tell({ type: "error", code: "forbidden", message: "locked", retry: "never" });
    service.socket.drop(4403);
    await pass(1_000);
    expect(query.getState()).toMatchObject({ status: "stopped", data: [], error: { code: "forbidden" } });
    expect(kept.size).toBe(0);
    // A query that is followed only now may have a copy of an earlier page load.
    const remove = vi.spyOn(store, "remove");
    orders.find({ a: 1 }).subscribe({});
    expect(remove).toHaveBeenCalledOnce();
  },
);

test("kept results stay when the token has expired", async () => {
  const remove = vi.fn(async () => {});
  const store = { ...memoryStore(), remove };
  const { service, query } = await live([{ _id: 1 }], { persist: { store, scope: "u1" } });
  service.socket.drop(4401);
  await pass(1_000);
  expect(query.getState()).toMatchObject({ status: "stopped", data: [{ _id: 1 }] });
  expect(remove).not.toHaveBeenCalled();
});

test("a kept result that is read after the service has refused the client is not shown", async () => {
  let answer: (saved: Saved) => void = () => {};
  const store = { ...memoryStore(), load: () => new Promise<Saved>((resolve) => (answer = resolve)) };
  const { service, orders } = scriptedClient({ persist: { store, scope: "u1" } });
  const query = orders.find();
  query.subscribe({});
  await settle();
  service.socket.open().tell({ type: "error", code: "forbidden", message: "locked", retry: "never" });
  service.socket.drop(4403);
  answer({ docs: [{ _id: 1 }], cursor: "c1", ticket: "t1" });
  await settle();
  expect(query.getState()).toMatchObject({ status: "stopped", data: [], error: { code: "forbidden" } });
});

test("a store that fails does no harm", async () => {
  const fail = () => Promise.reject(new Error("no space"));
  const store = { load: fail, save: fail, remove: fail };
  const { query, client } = await live([{ _id: 1 }], { persist: { store, scope: "u1" } });
  await pass(1_000);
  expect(query.getState().status).toBe("live");
  client.close();
  await settle();
});

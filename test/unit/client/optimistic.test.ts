/** Writes that are shown at once. */
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import type { Query } from "../../../src/client/client.ts";
import { type OptimisticChange, objectId, optimistic } from "../../../src/client/optimistic/optimistic.ts";
import { answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Order {
  _id: number;
  a?: number;
  done?: boolean;
  tags?: string[];
}

const TIME = { operationTime: { t: 7, i: 1 } };

/** A client that follows a query, which is live with these documents. */
async function live(make: (setup: ReturnType<typeof scriptedClient>) => Query<Order>, docs: Order[] = []) {
  const setup = scriptedClient();
  const query = make(setup);
  const { states } = setup.follow(query as never);
  await settle();
  setup.service.socket.welcome();
  answerSnapshot(setup.service.socket, docs);
  const ids = (of: Query<Order> = query) => of.getState().data.map(({ _id }) => _id);
  const { socket } = setup.service;
  let cursor = 1;
  const next = () => `c${++cursor}`;
  const tell = {
    added: (doc: object, before?: number | null, of = 1) =>
      socket.tell({
        type: "added",
        query: of,
        cursor: next(),
        cause: "insert",
        doc,
        ...(before === undefined ? {} : { before }),
      } as never),
    changed: (doc: object) =>
      socket.tell({ type: "changed", query: 1, cursor: next(), cause: "update", doc } as never),
    removed: (_id: number, of = 1) =>
      socket.tell({ type: "removed", query: of, cursor: next(), cause: "delete", _id }),
    fenced: (at = -1) =>
      socket.tell({ type: "fenced", id: socket.of("fence").at(at)?.id ?? "", cursor: next() }),
  };
  return { ...setup, query, states, ids, tell, socket };
}

const all = ({ client }: ReturnType<typeof scriptedClient>) => client.collection<Order>("orders").find();

/** A write that the test answers. */
function backend<W = typeof TIME>() {
  let answer: (written: W) => void = () => {};
  let refuse: (error: Error) => void = () => {};
  const write = vi.fn(
    () =>
      new Promise<W>((resolve, reject) => {
        answer = resolve;
        refuse = reject;
      }),
  );
  return { write, answer: (written = TIME as W) => answer(written), refuse: (error: Error) => refuse(error) };
}

test("an inserted document is shown at once, and the one of the service replaces it in the same state", async () => {
  const { query, states, ids, tell } = await live(all, [{ _id: 1 }]);
  const { write, answer } = backend();
  const done = vi.fn();
  void optimistic(query, { insert: { _id: 2, a: 1 } }, write).then(done);
  expect(ids()).toEqual([1, 2]);
  await settle();
  tell.added({ _id: 2, a: 1, by: "service" });
  expect(query.getState().data).toEqual([{ _id: 1 }, { _id: 2, a: 1, by: "service" }]);
  answer();
  await pass(200);
  expect(done).not.toHaveBeenCalled();
  tell.fenced();
  await settle();
  expect(done).toHaveBeenCalledExactlyOnceWith(TIME);
  expect(ids()).toEqual([1, 2]);
  const counts = states
    .slice(states.findIndex(({ data }) => data.length === 2))
    .map(({ data }) => data.length);
  expect(new Set(counts)).toEqual(new Set([2]));
});

test("the answer of the backend may arrive long before the service sends the document", async () => {
  const { query, states, ids, tell } = await live(all);
  const { write, answer } = backend();
  const done = optimistic(query, { insert: { _id: 2 } }, write);
  answer();
  await pass(5_000);
  expect(ids()).toEqual([2]);
  tell.added({ _id: 2, by: "service" });
  tell.fenced();
  await done;
  expect(query.getState().data).toEqual([{ _id: 2, by: "service" }]);
  expect(states.filter(({ data }) => data.length > 0).every(({ data }) => data.length === 1)).toBe(true);
});

test("after an error the documents of the service are shown, and the caller receives the error", async () => {
  const { query, tell } = await live(all, [{ _id: 1, a: 1 }, { _id: 2 }]);
  const before = query.getState().data;
  const { write, refuse } = backend();
  const changes: OptimisticChange<Order>[] = [
    { insert: { _id: 3 } },
    { update: 1, set: { a: 2 } },
    { remove: 2 },
  ];
  const done = expect(optimistic(query, changes, write)).rejects.toThrow("no room");
  expect(query.getState().data).toEqual([{ _id: 1, a: 2 }, { _id: 3 }]);
  refuse(new Error("no room"));
  await done;
  expect(query.getState().data).toBe(before);
  tell.added({ _id: 4 });
  expect(query.getState().data.length).toBe(3);
});

test("an update is applied to each newer document of the service until it is settled", async () => {
  const { query, tell } = await live(all, [{ _id: 1, a: 1, tags: ["x"] }]);
  const { write, answer } = backend();
  const done = optimistic(
    query,
    { update: 1, to: (doc) => ({ ...doc, tags: [...(doc.tags ?? []), "y"] }) },
    write,
  );
  expect(query.getState().data).toEqual([{ _id: 1, a: 1, tags: ["x", "y"] }]);
  expect(query.getState().data[0]).toBe(query.getState().data[0]);
  tell.changed({ _id: 1, a: 2, tags: ["x"] });
  expect(query.getState().data).toEqual([{ _id: 1, a: 2, tags: ["x", "y"] }]);
  answer();
  await settle();
  tell.changed({ _id: 1, a: 2, tags: ["x", "y"] });
  tell.fenced();
  await done;
  expect(query.getState().data).toEqual([{ _id: 1, a: 2, tags: ["x", "y"] }]);
});

test("a document that somebody else removes is not shown because of a pending change", async () => {
  const { query, ids, tell } = await live(all, [{ _id: 1 }]);
  void optimistic(query, { update: 1, set: { a: 2 } }, backend().write);
  void optimistic(query, { insert: { _id: 2 } }, backend().write);
  tell.added({ _id: 2 });
  expect(ids()).toEqual([1, 2]);
  tell.removed(1);
  tell.removed(2);
  expect(ids()).toEqual([]);
});

test("a window shows a document at its position, and no more documents than its limit", async () => {
  const window = (setup: ReturnType<typeof scriptedClient>) => all(setup).sort("a").limit(3);
  const { query, ids } = await live(window, [
    { _id: 1, a: 10 },
    { _id: 2, a: 20 },
    { _id: 3, a: 30 },
  ]);
  const change = (one: Parameters<typeof optimistic<Order, Order, unknown>>[1]) => {
    const { write, refuse } = backend();
    const done = optimistic(query, one, write).catch(() => {});
    const shown = ids();
    refuse(new Error("undone"));
    return done.then(() => shown);
  };
  expect(await change({ insert: { _id: 4, a: 20 } })).toEqual([1, 2, 4]);
  expect(await change({ insert: { _id: 0, a: 20 } })).toEqual([1, 0, 2]);
  expect(await change({ insert: { _id: 4, a: 40 } })).toEqual([1, 2, 3]);
  expect(await change({ update: 1, set: { a: 25 } })).toEqual([2, 1, 3]);
  // The documents after the window are unknown, so this one stays until the service decides.
  expect(await change({ update: 1, set: { a: 99 } })).toEqual([2, 3, 1]);
  expect(await change({ update: 2, set: { done: true } })).toEqual([1, 2, 3]);
  expect(await change({ remove: 2 })).toEqual([1, 3]);
  expect(ids()).toEqual([1, 2, 3]);
});

test("a change of several queries moves a document between them, as their filters say", async () => {
  const openOf = (setup: ReturnType<typeof scriptedClient>) =>
    setup.client.collection<Order>("orders").find({ done: false });
  const { query, client, follow, ids, tell, socket } = await live(openOf, [{ _id: 1, done: false }]);
  const doneQuery = client.collection<Order>("orders").find({ done: true });
  follow(doneQuery as never);
  answerSnapshot(socket, [], 2);
  const { write, answer } = backend();
  const settled = optimistic([query, doneQuery], { update: 1, set: { done: true } }, write);
  const both = () => [ids(), ids(doneQuery)];
  expect(both()).toEqual([[], [1]]);
  answer();
  await settle();
  tell.removed(1);
  expect(both()).toEqual([[], [1]]);
  tell.added({ _id: 1, done: true }, undefined, 2);
  expect(both()).toEqual([[], [1]]);
  tell.fenced();
  await settled;
  expect(both()).toEqual([[], [1]]);
});

test("an inserted document that does not match a query is not shown there", async () => {
  const { query, ids } = await live(({ client }) => client.collection<Order>("orders").find({ done: false }));
  void optimistic(query, [{ insert: { _id: 1, done: true } }, { insert: { _id: 2 } }], backend().write);
  expect(ids()).toEqual([2]);
});

test("observers of changes receive what the service sends, and no optimistic change", async () => {
  const { query } = await live(all, [{ _id: 1 }]);
  const [change, data] = [vi.fn(), vi.fn()];
  query.subscribe({ change, data });
  void optimistic(query, { insert: { _id: 2 } }, backend().write);
  expect(change).toHaveBeenCalledTimes(1);
  expect(data).toHaveBeenLastCalledWith([{ _id: 1 }, { _id: 2 }]);
});

test("a fence that passes while the query waits for another connection does not settle a write", async () => {
  const { query, service, ids } = await live(all);
  const { write, answer } = backend();
  const done = vi.fn();
  void optimistic(query, { insert: { _id: 2 } }, write).then(done);
  answer();
  await settle();
  service.socket.drop();
  await pass(60_000);
  const { socket } = service;
  socket.welcome();
  const fences = () => socket.of("fence");
  socket.tell({ type: "fenced", id: fences()[0]?.id ?? "", cursor: "c8" });
  await settle();
  expect([done.mock.calls.length, ids()]).toEqual([0, [2]]);
  const { id } = socket.last("subscribe");
  socket.tell({ type: "subscribed", id, query: 1, start: "resumed", cursor: "c1", ticket: "t" });
  socket.tell({ type: "added", query: 1, cursor: "c9", cause: "insert", doc: { _id: 2 } });
  socket.tell({ type: "watermark", cursor: "c9" });
  await settle();
  expect(ids()).toEqual([2]);
  socket.tell({ type: "fenced", id: fences().at(-1)?.id ?? "", cursor: "c9" });
  await settle();
  expect([done.mock.calls.length, ids()]).toEqual([1, [2]]);
});

test("without an operation time, a write is settled when the result shows it, or after a while", async () => {
  const { query, ids, tell } = await live(all, [{ _id: 1 }]);
  const written = async () => undefined;
  const inserted = optimistic(query, { insert: { _id: 2 } }, written);
  await settle();
  tell.added({ _id: 2 });
  await pass(200);
  await inserted;
  const lost = vi.fn();
  void optimistic(query, { remove: 1 }, written, { holdMs: 3_000 }).then(lost);
  await pass(2_900);
  expect([lost.mock.calls.length, ids()]).toEqual([0, [2]]);
  await pass(200);
  expect([lost.mock.calls.length, ids()]).toEqual([1, [1, 2]]);
});

test("many writes at once share fences, because the service lets 16 of them wait", async () => {
  const { query, socket, ids, tell } = await live(all);
  const writes = Array.from({ length: 30 }, (_, _id) =>
    optimistic(query, { insert: { _id } }, async () => ({ operationTime: { t: 7, i: _id } })),
  );
  await settle();
  expect(socket.of("fence").length).toBe(8);
  for (let _id = 0; _id < 30; _id++) tell.added({ _id });
  for (let at = 0; at < 8; at++) tell.fenced(at);
  await settle();
  expect(socket.of("fence").length).toBe(9);
  expect(socket.last("fence").operationTime).toEqual({ $timestamp: { t: 7, i: 29 } });
  tell.fenced();
  await Promise.all(writes);
  expect(ids().length).toBe(30);
});

test("queued writes wait for the connection, happen in order, and are repeated after a failure of the network", async () => {
  const setup = scriptedClient();
  const query = setup.client.collection<Order>("orders").find();
  setup.follow(query as never);
  const calls: string[] = [];
  let isDown = true;
  const write = (name: string) => async () => {
    calls.push(name);
    if (name === "a" && isDown) throw new TypeError("Failed to fetch");
    if (name === "b") throw new Error("refused");
    return {};
  };
  const queued = { queue: true, holdMs: 1 };
  void optimistic(query, { insert: { _id: 1 } }, write("a"), queued);
  const refused = expect(optimistic(query, { insert: { _id: 2 } }, write("b"), queued)).rejects.toThrow(
    "refused",
  );
  void optimistic(query, { insert: { _id: 3 } }, write("c"), queued);
  await pass(10_000);
  expect(calls).toEqual([]);
  expect(query.getState().data.length).toBe(3);
  setup.service.socket.welcome();
  answerSnapshot(setup.service.socket);
  await pass(1_500);
  expect(calls).toEqual(["a", "a"]);
  isDown = false;
  await pass(2_000);
  await refused;
  expect(calls).toEqual(["a", "a", "a", "b", "c"]);
});

test("an error of the write's own function is no failure of the network, and is not repeated", async () => {
  const { query } = await live(all);
  const write = vi.fn(async () => {
    const order: { items?: unknown[] } = {};
    return { count: (order.items as unknown[]).length };
  });
  const done = optimistic(query, { insert: { _id: 1 } }, write, { queue: true });
  await expect(done).rejects.toThrow(TypeError);
  expect(write).toHaveBeenCalledTimes(1);
});

test.each([
  "Failed to fetch",
  "Failed to fetch (api.example.com)",
  "network error",
  "NetworkError when attempting to fetch resource.",
  "Error in input stream",
  "Load failed",
  "Load failed (api.example.com)",
  "The network connection was lost.",
  "The Internet connection appears to be offline.",
  "Network request failed",
  "fetch failed",
  "terminated",
  "error sending request for url (https://api.example.com/)",
])(
  "repeats a queued write after the failure of the network that a runtime reports as %j",
  async (message) => {
    const { query } = await live(all);
    const write = vi.fn(async () => {
      if (write.mock.calls.length === 1) throw new TypeError(message);
      return {};
    });
    const done = optimistic(query, { insert: { _id: 1 } }, write, { queue: true, holdMs: 1 });
    await pass(1_100);
    await done;
    expect(write).toHaveBeenCalledTimes(2);
  },
);

test("a queued write whose every attempt fails ends with the failure, after 20 attempts, and the next one follows", async () => {
  const { query, ids, socket } = await live(all);
  const passWithHeartbeats = async (beats: number) => {
    for (let beat = 0; beat < beats; beat++) {
      await pass(20_000);
      socket.tell({ type: "watermark", cursor: "c1" });
    }
  };
  const write = vi.fn(async () => {
    throw new TypeError("Failed to fetch");
  });
  const failed = vi.fn();
  const failing = optimistic(query, { insert: { _id: 1 } }, write, { queue: true }).catch(failed);
  const next = optimistic(query, { insert: { _id: 2 } }, async () => "next", { queue: true, holdMs: 1 });
  await passWithHeartbeats(21);
  expect([write.mock.calls.length < 20, failed.mock.calls.length, ids()]).toEqual([true, 0, [1, 2]]);
  await passWithHeartbeats(3);
  await failing;
  expect([write.mock.calls.length, await next, ids()]).toEqual([20, "next", []]);
  expect(failed).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ message: "Failed to fetch" }));
});

test("a query that the service keeps refusing does not keep a settled write pending", async () => {
  const { query, client, follow, ids, tell, socket } = await live(all, [{ _id: 1 }]);
  const refused = client.collection<Order>("orders").find({ done: false });
  follow(refused as never);
  const refuse = () =>
    socket.tell({
      type: "error",
      id: socket.last("subscribe").id,
      code: "too-many-subscriptions",
      message: "too many",
      retry: "later",
    } as never);
  refuse();
  const done = vi.fn();
  void optimistic([query, refused], { insert: { _id: 2 } }, async () => TIME, { holdMs: 3_000 }).then(done);
  await settle();
  tell.added({ _id: 2 });
  await pass(1_500);
  expect(socket.of("subscribe").length).toBe(3);
  refuse();
  await pass(1_400);
  expect(done).not.toHaveBeenCalled();
  await pass(200);
  expect(socket.of("fence").length).toBe(1);
  tell.fenced();
  await settle();
  expect([done.mock.calls.length, ids(), ids(refused)]).toEqual([1, [1, 2], []]);
});

test("a query without a connection keeps a settled write shown for as long as that lasts", async () => {
  const { query, service, ids, socket } = await live(all, []);
  const done = vi.fn();
  void optimistic(query, { insert: { _id: 2 } }, async () => TIME, { holdMs: 3_000 }).then(done);
  socket.drop();
  await pass(600_000);
  expect(service.sockets.length).toBeGreaterThan(1);
  expect([done.mock.calls.length, ids()]).toEqual([0, [2]]);
});

test("a change in queries of two clients is settled when the fences of both have passed", async () => {
  const [one, other] = [await live(all), await live(all)];
  const done = vi.fn();
  void optimistic([one.query, other.query], { insert: { _id: 2 } }, async () => TIME).then(done);
  await settle();
  one.tell.added({ _id: 2 });
  one.tell.fenced();
  await settle();
  expect([done.mock.calls.length, one.ids(), other.ids()]).toEqual([0, [2], [2]]);
  other.tell.added({ _id: 2 });
  other.tell.fenced();
  await settle();
  expect([done.mock.calls.length, one.ids(), other.ids()]).toEqual([1, [2], [2]]);
});

test("a change of one client is not settled by the fence of another client of the page", async () => {
  const [one, other] = [await live(all), await live(all)];
  const done = vi.fn();
  void optimistic(one.query, { insert: { _id: 1 } }, async () => TIME).then(done);
  void optimistic(other.query, { insert: { _id: 2 } }, async () => TIME);
  await settle();
  other.tell.fenced();
  await settle();
  expect([done.mock.calls.length, one.ids(), other.ids()]).toEqual([0, [1], []]);
});

test("a hundred writes may wait; a further one is refused, and so are all when the client is closed", async () => {
  const setup = scriptedClient();
  const query = setup.client.collection<Order>("orders").find();
  const write = vi.fn(async () => ({}));
  const waiting = Array.from({ length: 100 }, (_, _id) =>
    optimistic(query, { insert: { _id } }, write, { queue: true }).catch((error) => error.message),
  );
  await expect(optimistic(query, { insert: { _id: 100 } }, write, { queue: true })).rejects.toMatchObject({
    code: "too-many-requests",
    details: { limit: 100 },
  });
  setup.client.close();
  expect(new Set(await Promise.all(waiting)).size).toBe(1);
  expect(write).not.toHaveBeenCalled();
});

test("an update that undoes an earlier one of the same document shows the document again, until both are settled", async () => {
  const open = ({ client }: ReturnType<typeof scriptedClient>) =>
    client.collection<Order>("orders").find({ done: false });
  const { query, ids, tell, socket } = await live(open, [
    { _id: 1, done: false },
    { _id: 2, done: false },
  ]);
  const [first, second] = [backend(), backend()];
  const closed = optimistic(query, { update: 1, set: { done: true } }, first.write);
  expect(ids()).toEqual([2]);
  const opened = optimistic(query, { update: 1, set: { done: false } }, second.write);
  expect(ids()).toEqual([1, 2]);
  first.answer();
  await settle();
  tell.removed(1);
  expect([...ids()].sort()).toEqual([1, 2]);
  tell.fenced();
  await closed;
  expect([...ids()].sort()).toEqual([1, 2]);
  second.answer();
  await settle();
  tell.added({ _id: 1, done: false });
  tell.fenced();
  await opened;
  expect(ids()).toEqual([2, 1]);
  expect(socket.of("fence").length).toBe(2);
});

test("of several writes to one document, each is rolled back alone", async () => {
  const { query, ids } = await live(all, [{ _id: 1, a: 1 }]);
  const [first, second, third] = [backend(), backend(), backend()];
  const failing = expect(optimistic(query, { update: 1, set: { a: 2 } }, first.write)).rejects.toThrow("no");
  void optimistic(query, { update: 1, set: { done: true } }, second.write);
  const removing = expect(optimistic(query, { remove: 1 }, third.write)).rejects.toThrow("no");
  expect(ids()).toEqual([]);
  void optimistic(query, { update: 1, set: { a: 9 } }, backend().write);
  expect(ids()).toEqual([]);
  first.refuse(new Error("no"));
  await failing;
  expect(ids()).toEqual([]);
  third.refuse(new Error("no"));
  await removing;
  expect(query.getState().data).toEqual([{ _id: 1, a: 9, done: true }]);
});

test("a document that is removed and inserted again is shown as it was inserted", async () => {
  const { query } = await live(all, [{ _id: 1, a: 1 }]);
  void optimistic(query, { remove: 1 }, backend().write);
  void optimistic(query, { insert: { _id: 1, a: 2 } }, backend().write);
  expect(query.getState().data).toEqual([{ _id: 1, a: 2 }]);
});

test("the first of two updates that arrives does not settle the second one", async () => {
  const { query, tell } = await live(all, [{ _id: 1, a: 1 }]);
  const settled: number[] = [];
  for (const a of [2, 3])
    void optimistic(query, { update: 1, set: { a } }, async () => undefined).then(() => settled.push(a));
  await settle();
  tell.changed({ _id: 1, a: 2 });
  await pass(200);
  expect([settled, query.getState().data]).toEqual([[2], [{ _id: 1, a: 3 }]]);
  tell.changed({ _id: 1, a: 3 });
  await pass(200);
  expect([settled, query.getState().data]).toEqual([[2, 3], [{ _id: 1, a: 3 }]]);
});

test("a function of the application that fails is reported, and spoils neither the query nor the write", async () => {
  const uncaught = vi.fn();
  vi.spyOn(globalThis, "queueMicrotask").mockImplementation(
    (work) => void Promise.resolve().then(work).catch(uncaught),
  );
  onTestFinished(() => void vi.restoreAllMocks());
  const { query, tell } = await live(all, [{ _id: 1, tags: [] }]);
  const { write, answer } = backend();
  const to = (doc: Order) => ({ ...doc, tags: [...(doc.tags as string[]), "x"] });
  const done = optimistic(query, { update: 1, to }, write);
  tell.changed({ _id: 1, a: 2 });
  expect(query.getState().data).toEqual([{ _id: 1, a: 2 }]);
  answer();
  await settle();
  expect(uncaught).toHaveBeenCalledTimes(1);
  tell.fenced();
  expect(await done).toEqual(TIME);
});

test("only a function can wait in the queue: a promise has begun, and cannot be repeated", async () => {
  const { query, ids } = await live(all, []);
  const write = Promise.resolve({});
  await expect(optimistic(query, { insert: { _id: 1 } }, write, { queue: true })).rejects.toThrow(/function/);
  expect(ids()).toEqual([]);
});

test("a query that becomes forbidden shows nothing", async () => {
  const { query, ids, socket } = await live(all, [{ _id: 1 }]);
  void optimistic(query, [{ insert: { _id: 2 } }, { update: 1, set: { a: 5 } }], backend().write);
  expect(ids()).toEqual([1, 2]);
  socket.tell({ type: "unsubscribed", id: socket.last("subscribe").id, reason: "forbidden" });
  expect(ids()).toEqual([]);
});

test("a query that becomes forbidden shows nothing, even if a change hides all of its documents", async () => {
  const { query, ids, socket } = await live(all, [{ _id: 1 }]);
  void optimistic(query, { remove: 1 }, backend().write);
  expect(ids()).toEqual([]);
  socket.tell({ type: "unsubscribed", id: socket.last("subscribe").id, reason: "forbidden" });
  expect(ids()).toEqual([]);
});

test("a change without an _id, and a change of nothing, are mistakes that are reported at once", async () => {
  const query = scriptedClient().client.collection<Order>("orders").find();
  const write = vi.fn(async () => ({}));
  await expect(optimistic(query, { insert: {} as Order }, write)).rejects.toThrow(/objectId\(\)/);
  await expect(optimistic(query, {} as never, write)).rejects.toThrow(/insert, update or remove/);
  await expect(optimistic([], { remove: 1 }, write)).rejects.toThrow(/needs a query/);
  expect(write).not.toHaveBeenCalled();
});

test("objectId makes ids like a driver: the time, then what differs", () => {
  vi.setSystemTime(new Date("2026-05-04T12:00:00Z"));
  const ids = Array.from({ length: 1_000 }, objectId);
  expect(new Set(ids).size).toBe(1_000);
  expect(ids.every((id) => /^[\da-f]{24}$/.test(id))).toBe(true);
  expect(Number.parseInt(ids[0]?.slice(0, 8) ?? "", 16)).toBe(Date.parse("2026-05-04T12:00:00Z") / 1_000);
});

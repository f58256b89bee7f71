/** A live query as a collection of the real TanStack DB; the service is a script, the clock is ours. */
import { createCollection, createLiveQueryCollection, eq } from "@tanstack/db";
import { afterEach, beforeEach, expect, expectTypeOf, onTestFinished, test, vi } from "vitest";
import { tidewireCollectionOptions } from "../../../src/tanstack-db/tanstack-db.ts";
import { added, answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Order {
  _id: number;
  status?: string;
}

function setUp(own: Parameters<typeof tidewireCollectionOptions<Order, Order>>[2] = {}) {
  const { service, client } = scriptedClient({ lingerMs: 100 });
  const query = client.collection<Order>("orders").find();
  const collection = createCollection(tidewireCollectionOptions(client, query, own));
  return { service, client, query, collection };
}

/** Followed, and with these documents. */
async function live(docs: Order[], own?: Parameters<typeof setUp>[0]) {
  const world = setUp(own);
  const changes: unknown[] = [];
  const subscription = world.collection.subscribeChanges((batch) => {
    changes.push(batch.map(({ type, key }) => [type, key]));
  });
  onTestFinished(() => subscription.unsubscribe());
  await settle();
  world.service.socket.welcome();
  answerSnapshot(world.service.socket, docs);
  await settle();
  return { ...world, changes, subscription };
}
const plain = (docs: Iterable<Order>) =>
  Array.from(docs, ({ _id, status }) => ({ _id, ...(status && { status }) }));

test("nothing connects until the collection is in use; then it holds the result, and is ready", async () => {
  const { service, collection } = setUp();
  await pass(1_000);
  expect(service.sockets.length).toBe(0);
  const ready = collection.toArrayWhenReady();
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }, { _id: 2 }]);
  await settle();
  expect(plain(await ready)).toEqual([{ _id: 1 }, { _id: 2 }]);
  expect(collection.status).toBe("ready");
});

test("changes that come together are one transaction; whole documents replace the ones before", async () => {
  const { service, collection, changes } = await live([{ _id: 1, status: "open" }, { _id: 2 }]);
  changes.length = 0;
  service.socket.tell(
    added(3, "c2"),
    { type: "changed", query: 1, cursor: "c3", cause: "replace", doc: { _id: 1 } },
    { type: "removed", query: 1, cursor: "c4", cause: "delete", _id: 2 },
  );
  await settle();
  expect(changes).toEqual([
    [
      ["insert", 3],
      ["update", 1],
      ["delete", 2],
    ],
  ]);
  expect(plain(collection.values())).toEqual([{ _id: 1 }, { _id: 3 }]);
});

test("a new snapshot replaces the held result", async () => {
  const { service, collection } = await live([{ _id: 1 }, { _id: 2 }]);
  service.socket.tell(
    { type: "reset", query: 1, reason: "history-lost", ticket: "ticket2" },
    { type: "snapshot", query: 1, docs: [{ _id: 2 }, { _id: 3 }], cursor: "c9", last: true },
  );
  await settle();
  expect(plain(collection.values())).toEqual([{ _id: 2 }, { _id: 3 }]);
});

test("live queries of TanStack DB follow what the service sends", async () => {
  const { service, collection } = await live([
    { _id: 1, status: "open" },
    { _id: 2, status: "paid" },
  ]);
  const open = createLiveQueryCollection((q) =>
    q.from({ order: collection }).where(({ order }) => eq(order.status, "open")),
  );
  await open.preload();
  expect(plain(open.values())).toEqual([{ _id: 1, status: "open" }]);
  service.socket.tell({
    type: "changed",
    query: 1,
    cursor: "c2",
    cause: "update",
    doc: { _id: 2, status: "open" },
  });
  await settle();
  expect(open.size).toBe(2);
});

test("what is written shows at once, and gives way to what the service sends, never to nothing", async () => {
  let finish = () => {};
  const seen: unknown[] = [];
  const { service, collection, client } = await live([], {
    onInsert: async ({ collection: inserted }) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      await inserted.utils.written({ t: 1, i: 1 });
    },
  });
  expect(client.state.status).toBe("connected");
  collection.subscribeChanges(() => seen.push(plain(collection.values())));
  const transaction = collection.insert({ _id: 5, status: "mine" });
  expect(plain(collection.values())).toEqual([{ _id: 5, status: "mine" }]);
  finish();
  await settle();
  const { id } = service.socket.last("fence");
  service.socket.tell(
    { type: "added", query: 1, cursor: "c2", cause: "insert", doc: { _id: 5, status: "theirs" } },
    { type: "fenced", id, cursor: "c2" },
  );
  await transaction.isPersisted.promise;
  await settle();
  expect(plain(collection.values())).toEqual([{ _id: 5, status: "theirs" }]);
  expect(seen).not.toContainEqual([]);
});

test("a query that is refused makes the collection fail, with the reason", async () => {
  const { service, collection } = setUp();
  const loading = collection.preload().catch((error: unknown) => error);
  await settle();
  service.socket.welcome();
  const { id } = service.socket.last("subscribe");
  service.socket.tell({
    type: "error",
    id,
    code: "forbidden",
    message: "no rule allows this",
    retry: "never",
  });
  await settle();
  expect(await loading).toMatchObject({ code: "forbidden" });
  expect(collection.status).toBe("error");
});

test("who cleans the collection up leaves the query", async () => {
  const { service, collection, subscription } = await live([{ _id: 1 }]);
  subscription.unsubscribe();
  await collection.cleanup();
  await pass(100);
  expect(service.socket.closedWith).toBe(1000);
});

test("documents and keys are typed", () => {
  const { collection } = setUp();
  expectTypeOf(collection.get(1)).toExtend<Order | undefined>();
  expectTypeOf(collection.utils.written).returns.toEqualTypeOf<Promise<void>>();
});

test("rows of groups are documents of the collection, keyed by their _id", async () => {
  const { service, client } = scriptedClient({ lingerMs: 100 });
  const query = client.collection<Order>("orders").find().groupBy("status");
  const collection = createCollection(tidewireCollectionOptions(client, query));
  const subscription = collection.subscribeChanges(() => {});
  onTestFinished(() => subscription.unsubscribe());
  await settle();
  service.socket.welcome();
  expect(service.socket.last("subscribe")).toMatchObject({
    collection: "orders",
    aggregate: { by: "status" },
  });
  answerSnapshot(service.socket, [
    { _id: "open", count: 2 },
    { _id: null, count: 1 },
  ]);
  await settle();
  expect(collection.get("open")).toMatchObject({ count: 2 });
  service.socket.tell(
    { type: "changed", query: 1, cursor: "c2", cause: "update", doc: { _id: "open", count: 1 } },
    { type: "removed", query: 1, cursor: "c3", cause: "delete", _id: null },
  );
  await settle();
  expect([...collection.keys()]).toEqual(["open"]);
  expectTypeOf(collection.get("open")?.count).toEqualTypeOf<number | undefined>();
});

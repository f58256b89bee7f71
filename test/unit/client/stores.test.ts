/** Results kept in IndexedDB, tested with an implementation of its specification. */
import { IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createClient, indexedDbStore } from "../../../src/client/client.ts";
import { FakeService } from "../../support/fake-service.ts";
import { added, answerSnapshot } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.stubGlobal("indexedDB", new IDBFactory());
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const saved = { docs: [{ _id: 1, tags: ["a"], at: "2024-01-01T00:00:00.000Z" }], cursor: "c1", ticket: "k1" };

test("a page loads results that another page saved, until they are removed", async () => {
  const [before, after] = [indexedDbStore(), indexedDbStore()];
  expect(await before.load("a")).toBeUndefined();
  await before.save("a", saved);
  await before.save("b", { ...saved, cursor: "c2" });
  expect(await after.load("a")).toEqual(saved);
  await after.remove("a");
  expect(await before.load("a")).toBeUndefined();
  expect(await before.load("b")).toMatchObject({ cursor: "c2" });
});

test("nothing of any user is left after a logout that clears the store, also of the results that the client wrote last", async () => {
  const store = indexedDbStore();
  const service = new FakeService();
  const client = createClient({
    url: "http://live.test",
    WebSocket: service.WebSocket,
    transports: ["ws"],
    persist: { store, scope: "ada", intervalMs: 60_000 },
  });
  const query = client.collection("orders").find();
  query.subscribe({});
  await expect.poll(() => service.sockets.length).toBe(1);
  service.socket.welcome();
  await expect.poll(() => service.socket.of("subscribe").length).toBe(1);
  answerSnapshot(service.socket, [{ _id: 1 }]);
  await store.save("of another user", saved);
  client.close();
  await store.clear();
  const { indexedDB } = globalThis as unknown as { indexedDB: InstanceType<typeof IDBFactory> };
  const left = await new Promise((resolve) => {
    const opening = indexedDB.open("tidewire");
    opening.onsuccess = () => {
      const counting = opening.result.transaction("results").objectStore("results").count();
      counting.onsuccess = () => resolve(counting.result);
    };
  });
  expect(left).toBe(0);
});

test("another name is another database", async () => {
  await indexedDbStore("one").save("a", saved);
  expect(await indexedDbStore("two").load("a")).toBeUndefined();
});

test("where there is none, the store fails and says so", async () => {
  vi.stubGlobal("indexedDB", undefined);
  await expect(indexedDbStore().load("a")).rejects.toThrow("no IndexedDB");
});

test("a page that is loaded again shows the kept result, and requests the missed changes", async () => {
  const open = () => {
    const service = new FakeService();
    const client = createClient({
      url: "http://live.test",
      WebSocket: service.WebSocket,
      transports: ["ws"],
      persist: { store: indexedDbStore(), scope: "ada", intervalMs: 0 },
    });
    const query = client.collection("orders").find();
    query.subscribe({});
    return { service, client, query };
  };
  const before = open();
  await expect.poll(() => before.service.sockets.length).toBe(1);
  before.service.socket.welcome();
  await expect.poll(() => before.service.socket.of("subscribe").length).toBe(1);
  answerSnapshot(before.service.socket, [{ _id: 1 }]);
  before.service.socket.tell(added(2, "c2"));
  before.client.close();
  await expect
    .poll(async () => {
      const after = open();
      await expect.poll(() => after.service.sockets.length).toBe(1);
      after.service.socket.welcome();
      await expect.poll(() => after.service.socket.of("subscribe").length).toBe(1);
      const { cursor, ticket } = after.service.socket.last("subscribe");
      const { data } = after.query.getState();
      after.client.close();
      return { cursor, ticket, data };
    })
    .toEqual({ cursor: "c2", ticket: "ticket1", data: [{ _id: 1 }, { _id: 2 }] });
});

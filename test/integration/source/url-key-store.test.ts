/** Keys for EventSource in the state database, on a real server. */
import { expect, test } from "vitest";
import { UrlKeyStore } from "../../../src/source/url-key-store.ts";
import { testDatabase } from "../../support/mongod.ts";

const LIMIT = 3;
const START_MS = 1_700_000_000_000;
/** Far enough away that the server's own clean-up does not interfere. */
const LATER_MS = Date.now() + 3_600_000;

async function start() {
  const { db } = await testDatabase();
  const collection = db.collection<{ _id: string; expiresAt: Date; touchedAt: Date }>("urlKeys");
  const store = new UrlKeyStore(db);
  const add = (id: string, atMs: number, user = "u1") =>
    store.add({ id, user, sealed: `sealed ${id}` }, START_MS + atMs, LATER_MS, LIMIT);
  const held = async () => (await collection.find().toArray()).map(({ _id }) => _id).sort();
  return { db, collection, store, add, held };
}

test("a key is found until it is used, and then as a used one", async () => {
  const { store, add } = await start();
  await add("a", 0);
  expect(await store.find("a")).toEqual({ id: "a", user: "u1", sealed: "sealed a", isUsed: false });
  expect(await store.spend("a", START_MS, LATER_MS)).toBe(true);
  expect(await store.find("a")).toMatchObject({ isUsed: true });
  expect(await store.spend("a", START_MS, LATER_MS)).toBe(false);
  expect(await store.find("b")).toBeNull();
  expect(await store.spend("b", START_MS, LATER_MS)).toBe(false);
});

test("of many attempts at once on several nodes, one uses the key", async () => {
  const { db, store, add } = await start();
  await add("a", 0);
  const nodes = [store, new UrlKeyStore(db), new UrlKeyStore(db)];
  const attempts = Array.from({ length: 30 }, (_, at) => nodes[at % 3]?.spend("a", START_MS, LATER_MS));
  expect((await Promise.all(attempts)).filter(Boolean)).toHaveLength(1);
});

test("a user holds as many keys as the limit says; a further one evicts the oldest, and only of that user", async () => {
  const { store, add, held } = await start();
  expect([await add("other", 0, "u2"), await add("a", 1), await add("b", 2), await add("c", 3)]).toEqual([
    0, 0, 0, 0,
  ]);
  expect(await held()).toEqual(["a", "b", "c", "other"]);
  // The first use counts as well: `a` is no longer the oldest.
  await store.spend("a", START_MS + 4, LATER_MS);
  expect(await add("d", 5)).toBe(1);
  expect(await held()).toEqual(["a", "c", "d", "other"]);
  expect(await store.spend("b", START_MS, LATER_MS)).toBe(false);
});

test("keys that many nodes issue at once stay within the limit", async () => {
  const { db, held } = await start();
  await Promise.all(
    Array.from({ length: 40 }, (_, at) =>
      new UrlKeyStore(db).add({ id: `k${at}`, user: "u1", sealed: "" }, START_MS + at, LATER_MS, LIMIT),
    ),
  );
  expect((await held()).length).toBeLessThanOrEqual(LIMIT);
});

test("a used key can be kept for longer, an unused one cannot", async () => {
  const { store, add, collection } = await start();
  await add("a", 0);
  const endOf = async () => (await collection.findOne({ _id: "a" }))?.expiresAt.getTime();
  await store.keep("a", START_MS, LATER_MS + 1);
  expect(await endOf()).toBe(LATER_MS);
  await store.spend("a", START_MS, LATER_MS + 2);
  await store.keep("a", START_MS, LATER_MS + 3);
  expect(await endOf()).toBe(LATER_MS + 3);
});

test("MongoDB removes keys at their end by itself, and finds the keys of a user by an index", async () => {
  const { add, collection } = await start();
  await add("a", 0);
  const indexes = await collection.indexes();
  expect(indexes).toContainEqual(expect.objectContaining({ key: { expiresAt: 1 }, expireAfterSeconds: 0 }));
  expect(indexes).toContainEqual(expect.objectContaining({ key: { user: 1, touchedAt: -1 } }));
});

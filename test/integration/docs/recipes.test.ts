/** The recipes as they stand on the pages: their rules in a real service, their clients, what their backends write. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Db } from "mongodb";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { type Client, createClient } from "../../../src/client/client.ts";
import { ROOT } from "../../support/build.ts";
import { blockUnder, collectionsOf, guideFolder, presenceOf, writeModule } from "../../support/guide.ts";
import { testDatabase } from "../../support/mongod.ts";
import { signToken, startTestService } from "../../support/service.ts";

const PATIENCE = { timeout: 60_000 };

let folder: Awaited<ReturnType<typeof guideFolder>>;
beforeAll(async () => {
  folder = await guideFolder();
});
afterAll(() => folder.remove());

/** The exports of a page's client and backend. */
async function codeOf(page: string, heading: string, more = 'from "tidewire/client"') {
  const name = heading.replaceAll(/\W/g, "-");
  const read = async (kind: string, part: string) =>
    import(await writeModule(folder.folder, `${name}-${kind}`, blockUnder(page, heading, "ts", part)));
  return { client: await read("client", more), backend: await read("backend", 'from "mongodb"') };
}

async function serve(page: string, headings?: readonly string[]) {
  const { service, db } = await startTestService({
    collections: collectionsOf(page, headings),
    presence: presenceOf(page, headings),
  });
  const clientFor = (claims: Record<string, unknown>): Client => {
    const client = createClient({
      url: `http://127.0.0.1:${service.address.port}`,
      token: () => signToken(claims),
      WebSocket,
    });
    onTestFinished(() => client.close());
    return client;
  };
  return { db, clientFor };
}

/** Remembers what is shown. */
function screen<T>() {
  const all: T[] = [];
  return { all, show: (value: T) => void all.push(value), last: () => all.at(-1) };
}
const addMember = (db: Db, roomId: string, userId: string) =>
  db.collection("members").insertOne({ roomId, userId });

test("chat: members read along, in order; who is banned reads nothing from then on", async () => {
  const { client, backend } = await codeOf("recipes.md", "Chat");
  const { db, clientFor } = await serve("recipes.md", ["Chat"]);
  await addMember(db, "tea", "ada");
  await addMember(db, "tea", "ben");
  const [ada, ben] = [screen<{ text: string }[]>(), screen<{ text: string }[]>()];
  client.followRoom(clientFor({ sub: "ada" }), "tea", ada.show);
  client.followRoom(clientFor({ sub: "ben" }), "tea", ben.show);
  await backend.say(db, "tea", "ada", "one");
  await backend.say(db, "tea", "ben", "two");
  await backend.say(db, "rum", "eve", "elsewhere");
  const texts = (of: typeof ada) => of.last()?.map(({ text }) => text);
  await expect
    .poll(() => [texts(ada), texts(ben)], PATIENCE)
    .toEqual([
      ["one", "two"],
      ["one", "two"],
    ]);
  await backend.ban(db, "tea", "ben");
  await backend.say(db, "tea", "ada", "three");
  await expect.poll(() => texts(ada), PATIENCE).toEqual(["one", "two", "three"]);
  await expect.poll(() => texts(ben), PATIENCE).toEqual([]);
});

test("chat: the index that the page names reads the latest fifty, and not one more", async () => {
  const { db } = await testDatabase();
  const messages = db.collection("messages");
  const page = readFileSync(join(ROOT, "docs", "recipes.md"), "utf8");
  const [, index = ""] = /An index on `(.+?)`/.exec(page) ?? [];
  await messages.createIndex(JSON.parse(index));
  await messages.insertMany(
    Array.from({ length: 300 }, (_, n) => ({ roomId: `r${n % 3}`, at: new Date(n) })),
  );
  const filter = { $and: [{ roomId: { $in: ["r1", "r2"] } }, { roomId: "r2" }] };
  const found = messages.find(filter).sort({ at: -1, _id: 1 }).limit(50);
  expect((await found.explain())["executionStats"]).toMatchObject({ totalKeysExamined: 50, nReturned: 50 });
});

test("order board: orders move from column to column; a customer sees no margin, and only their own", async () => {
  const { client, backend } = await codeOf("recipes.md", "Order board");
  const { db, clientFor } = await serve("recipes.md", ["Order board"]);
  const orders = db.collection("orders");
  const insert = (customerId: string) =>
    orders.insertOne({ customerId, status: "new", table: 1, margin: 3, at: new Date() });
  await insert("ada");
  type Board = Record<string, object[]>;
  const [kitchen, ada, bell] = [screen<Board>(), screen<Board>(), screen<object>()];
  client.followBoard(clientFor({ sub: "k", roles: ["kitchen"] }), kitchen.show, bell.show);
  client.followBoard(clientFor({ sub: "ada" }), ada.show, () => {});
  const counts = (of: typeof kitchen) => Object.values(of.last() ?? {}).map(({ length }) => length);
  await expect
    .poll(() => [counts(kitchen), counts(ada)], PATIENCE)
    .toEqual([
      [1, 0, 0],
      [1, 0, 0],
    ]);
  expect(bell.all).toEqual([]);
  const { insertedId } = await insert("ben");
  await expect.poll(() => counts(kitchen), PATIENCE).toEqual([2, 0, 0]);
  expect(bell.all).toHaveLength(1);
  await backend.advance(db, insertedId, "cooking");
  await expect.poll(() => counts(kitchen), PATIENCE).toEqual([1, 1, 0]);
  await backend.advance(db, insertedId, "served");
  await expect.poll(() => counts(kitchen), PATIENCE).toEqual([1, 0, 0]);
  expect(counts(ada)).toEqual([1, 0, 0]);
  expect(JSON.stringify([ada.all, kitchen.last()]).match(/margin/g)).toHaveLength(1);
});

test("presence: who is here and who types, until they leave; and when somebody was last seen", async () => {
  const { client, backend } = await codeOf("recipes.md", "Presence");
  const { db, clientFor } = await serve("recipes.md", ["Presence"]);
  await addMember(db, "tea", "ada");
  await addMember(db, "tea", "ben");
  const here = screen<[readonly string[], readonly string[]]>();
  const [adas, bens] = [clientFor({ sub: "ada" }), clientFor({ sub: "ben" })];
  const ada = client.joinRoom(adas, "tea", (all: string[], typing: string[]) => here.show([all, typing]));
  const ben = client.joinRoom(bens, "tea", () => {});
  client.joinRoom(clientFor({ sub: "eve" }), "tea", () => {});
  await expect.poll(here.last, PATIENCE).toEqual([["ada", "ben"], []]);
  ben.typing();
  await expect.poll(here.last, PATIENCE).toEqual([["ada", "ben"], ["ben"]]);
  await expect.poll(here.last, PATIENCE).toEqual([["ada", "ben"], []]);
  ben.leave();
  await expect.poll(here.last, PATIENCE).toEqual([["ada"], []]);
  await db.collection<{ _id: string }>("people").insertOne({ _id: "ben" });
  await backend.seen(db, "ben");
  const people = adas.collection<{ _id: string; lastSeenAt?: string }>("people").find();
  expect((await people.snapshot())[0]?.lastSeenAt).toBeDefined();
  ada.leave();
});

test("badge: counts the unread messages, reports the new ones, and nothing else", async () => {
  const { client, backend } = await codeOf("recipes.md", "A badge with a number");
  const { db, clientFor } = await serve("recipes.md", ["A badge with a number"]);
  for (let count = 0; count < 101; count++) await backend.notify(db, "ada", `old ${count}`);
  const [badge, toast] = [screen<string>(), screen<string>()];
  client.followUnread(clientFor({ sub: "ada" }), badge.show, toast.show);
  await expect.poll(badge.last, PATIENCE).toBe("99+");
  await backend.notify(db, "ben", "not for ada");
  await backend.notify(db, "ada", "new");
  await expect.poll(() => toast.all, PATIENCE).toEqual(["new"]);
  await backend.markRead(db, "ada");
  await expect.poll(badge.last, PATIENCE).toBe("0");
  expect(toast.all).toEqual(["new"]);
});

test("tabs: the numbers of each status follow the orders, within the rules", async () => {
  const { client, backend } = await codeOf("recipes.md", "Tabs with numbers");
  const { db, clientFor } = await serve("recipes.md", ["Tabs with numbers"]);
  const orders = db.collection("orders");
  const insert = (customerId: string, status: string) => orders.insertOne({ customerId, status, total: 1 });
  await insert("ada", "new");
  const { insertedId } = await insert("ben", "new");
  const [ada, staff] = [screen<object>(), screen<object>()];
  client.followTabs(clientFor({ sub: "ada" }), ada.show);
  client.followTabs(clientFor({ sub: "s", roles: ["staff"] }), staff.show);
  await expect.poll(() => [ada.last(), staff.last()], PATIENCE).toEqual([{ new: 1 }, { new: 2 }]);
  await backend.setStatus(db, insertedId, "paid");
  await expect.poll(staff.last, PATIENCE).toEqual({ new: 1, paid: 1 });
  await insert("ada", "sent");
  await expect
    .poll(() => [ada.last(), staff.last()], PATIENCE)
    .toEqual([
      { new: 1, sent: 1 },
      { new: 1, paid: 1, sent: 1 },
    ]);
});

test("unread badge: an exact number, and no message", async () => {
  const { client, backend } = await codeOf("recipes.md", "Unread badge");
  const { db, clientFor } = await serve("recipes.md", ["Unread badge"]);
  const badge = screen<number>();
  const ada = clientFor({ sub: "ada" });
  client.followNumber(ada, badge.show);
  await expect.poll(badge.last, PATIENCE).toBe(0);
  for (let n = 0; n < 3; n++) await backend.send(db, "ada", `message ${n}`);
  await backend.send(db, "ben", "not for ada");
  await expect.poll(badge.last, PATIENCE).toBe(3);
  await backend.readAll(db, "ada");
  await expect.poll(badge.last, PATIENCE).toBe(0);
  await expect(ada.collection("inbox").find().snapshot()).rejects.toMatchObject({ code: "forbidden" });
});

test("revenue: sums are exact, and move with the orders", async () => {
  const { client, backend } = await codeOf("recipes.md", "Revenue by status");
  const { db, clientFor } = await serve("recipes.md", ["Revenue by status"]);
  const shown = screen<Map<string, object>>();
  client.followRevenue(clientFor({ sub: "f", roles: ["finance"] }), shown.show);
  for (const price of [0.1, 0.2, 1e20, 5]) await backend.sell(db, price);
  await db.collection("sales").deleteOne({ price: 1e20 });
  await db.collection("sales").deleteOne({ price: 5 });
  const revenue = { orders: 2, total: 0.1 + 0.2, average: 0.15, largest: 0.2 };
  await expect.poll(() => shown.last()?.get("open"), PATIENCE).toMatchObject({ orders: 2, total: 0.1 + 0.2 });
  expect(shown.last()?.get("open")).toMatchObject({ largest: revenue.largest });
  await backend.pay(db);
  await expect.poll(() => [...(shown.last()?.keys() ?? [])], PATIENCE).toEqual(["paid"]);
});

test("a live query replaces a Socket.IO room", async () => {
  const { client, backend } = await codeOf("moving/from-socketio.md", "From Socket.IO rooms");
  const { db, clientFor } = await serve("moving/from-socketio.md");
  await addMember(db, "tea", "ada");
  const shown = screen<{ text: string }[]>();
  client.follow(clientFor({ sub: "ada" }), "tea", shown.show);
  await backend.post(db, "tea", "ben", "one");
  await backend.post(db, "tea", "ada", "two");
  await expect.poll(() => shown.last()?.map(({ text }) => text), PATIENCE).toEqual(["one", "two"]);
});

test("a live query replaces a Firestore listener", async () => {
  const page = "moving/from-firestore.md";
  const file = await writeModule(folder.folder, "firestore", blockUnder(page, "From Firestore", "ts"));
  const { follow } = await import(file);
  const { db, clientFor } = await serve(page);
  const insert = (customerId: string) =>
    db.collection("orders").insertOne({ customerId, status: "open", at: new Date() });
  await insert("ada");
  await insert("ben");
  const [ada, staff] = [screen<object[]>(), screen<object[]>()];
  follow(clientFor({ sub: "ada" }), ada.show);
  follow(clientFor({ sub: "s", staff: true }), staff.show);
  await expect.poll(() => [ada.last()?.length, staff.last()?.length], PATIENCE).toEqual([1, 2]);
});

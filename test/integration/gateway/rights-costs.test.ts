/** The cost of a change of rights: decided in turns, charged to the user, and limited for one commit. */
import { expect, onTestFinished, test, vi } from "vitest";
import { Feed } from "../../../src/feed/feed.ts";
import { commitShare } from "../../../src/gateway/connection/commit-share.ts";
import { startTestService, testConfig, toConfig } from "../../support/service.ts";
import type { WsClient } from "../../support/ws-client.ts";

const LOOKUPS = {
  rooms: { collection: "members", filter: { user: "%%user.sub" }, value: "room" },
};
const COLLECTIONS = {
  messages: { lookups: LOOKUPS, rules: [{ name: "member", filter: { room: { $in: "%%lookup.rooms" } } }] },
  offers: { rules: [{ name: "valid", filter: { until: { $gt: "%%now" } } }] },
  news: { rules: [{ name: "published", filter: { from: { $lte: "%%now" } } }] },
  sorted: { rules: [{ name: "all" }] },
};
const UNBOUNDED = { requestsPerSecond: 1_000_000, requestBurst: 1_000_000 };

interface Message {
  room: string;
  n: number;
  pad?: string;
}

async function start(limits: object = {}, sections: Record<string, unknown> = {}) {
  const options = { collections: COLLECTIONS, limits: { ...UNBOUNDED, ...limits }, ...sections };
  const started = await startTestService(options);
  const members = started.db.collection<{ user: string; room: string }>("members");
  const messages = started.db.collection<Message>("messages");
  await members.insertMany(["ada", "bob"].map((user) => ({ user, room: "lobby" })));
  // Otherwise the sets would be read from before these memberships, and change once more.
  await started.settled();
  return { ...started, options, members, messages };
}

async function follow(client: WsClient, collection: string, count: number, snapshot = false): Promise<void> {
  for (let n = 0; n < count; n++)
    client.send({ type: "subscribe", id: `s${n}`, collection, filter: { n }, snapshot });
  await client.until(() => answersTo(client).length >= count, client.received.length, 60_000);
}

/** Counts the live queries of a client that show a document. Each shows one at most. */
function showing(client: WsClient): () => number {
  const ids = new Map<unknown, unknown>();
  const shown = new Set<unknown>();
  client.onMessage = ({ type, ...message }) => {
    const { id, query, start, docs } = message as Record<string, unknown>;
    if (type === "subscribed") ids.set(query, id);
    if ((type === "subscribed" && start !== "moved") || type === "reset") shown.delete(ids.get(query));
    if (type === "removed") shown.delete(ids.get(query));
    if (type === "added" || (type === "snapshot" && (docs as unknown[]).length > 0))
      shown.add(ids.get(query));
  };
  return () => shown.size;
}

const answersTo = (client: WsClient) => client.received.filter(({ type }) => type === "subscribed");

/** Counts in how many turns of the event loop live queries were joined. */
function turnsOfJoins(): () => number {
  let turn = 0;
  let isOver = false;
  const next = () => {
    turn++;
    if (!isOver) setImmediate(next);
  };
  setImmediate(next);
  const turns = new Set<number>();
  const subscribe = Feed.prototype.subscribe;
  const spy = vi.spyOn(Feed.prototype, "subscribe").mockImplementation(function (this: Feed, ...args) {
    turns.add(turn);
    return subscribe.apply(this, args);
  });
  onTestFinished(() => {
    isOver = true;
    spy.mockRestore();
  });
  return () => turns.size;
}

test("[G6] an edit of the rules decides about each subscription of a connection in a turn of its own, if slices are that short", async () => {
  const { service, connect, options, uri, name } = await start({ commitSlice: "0s" });
  const client = await connect({ sub: "ada" });
  await follow(client, "offers", 50);
  const turns = turnsOfJoins();
  const rules = [{ name: "valid", filter: { until: { $gt: "%%now" }, hidden: { $ne: true } } }];
  const collections = { ...COLLECTIONS, offers: { rules } };
  await service.reload(toConfig(testConfig(uri, name, { ...options, collections })));
  await client.until(() => answersTo(client).length >= 100, 0);
  expect(turns()).toBeGreaterThanOrEqual(50);
});

test("[G6] a step of %%now decides about each live query of a connection in a turn of its own, if slices are that short", async () => {
  const { connect } = await start({ commitSlice: "0s" }, { rules: { nowStep: "2s" } });
  const client = await connect({ sub: "ada" });
  await follow(client, "offers", 50);
  await client.until(() => answersTo(client).length % 50 === 0, client.received.length - 1);
  const turns = turnsOfJoins();
  const before = answersTo(client).length;
  await client.until(() => answersTo(client).length >= before + 50, client.received.length);
  expect(turns()).toBeGreaterThanOrEqual(50);
});

test("limits.workPerUser: sets that somebody else changes too often end nothing, and are followed with pauses", async () => {
  const shared = { rooms: { collection: "open", filter: {}, value: "room" } };
  const rules = [{ name: "open", filter: { room: { $in: "%%lookup.rooms" } } }];
  const collections = { messages: { lookups: shared, rules } };
  const { connect, db, messages } = await start({ workPerUser: "50ms" }, { collections });
  const open = db.collection("open");
  await messages.insertMany(Array.from({ length: 50 }, (_, n) => ({ room: "vault", n })));
  const clients = [await connect({ sub: "ada" }), await connect({ sub: "bob" })];
  const shown = clients.map(showing);
  for (const client of clients) await follow(client, "messages", 50, true);
  const decisions = vi.spyOn(Feed.prototype, "noteRights");
  onTestFinished(() => decisions.mockRestore());
  for (let i = 0; i < 200; i++) {
    if (i % 2 === 0) await open.insertOne({ room: "vault" });
    else await open.deleteMany({ room: "vault" });
  }
  // Several changes make one decision.
  expect(decisions.mock.calls.length).toBeLessThan(200 * 50);
  await open.insertOne({ room: "vault" });
  const isEnd = ({ type }: { type: string }) => type === "error" || type === "unsubscribed";
  for (const [i, client] of clients.entries())
    await client.until((message) => isEnd(message) || shown[i]?.() === 50, client.received.length - 1);
  expect(clients.flatMap(({ received }) => received.filter(isEnd))).toEqual([]);
  expect(shown.map((count) => count())).toEqual([50, 50]);
  await open.deleteMany({ room: "vault" });
  for (const [i, client] of clients.entries())
    await client.until(() => shown[i]?.() === 0, client.received.length - 1);
});

test("limits.workPerUser: a change of a set within the limit ends nothing", async () => {
  const { connect, members, now } = await start({ workPerUser: "1s" });
  const client = await connect({ sub: "ada" });
  await follow(client, "messages", 100);
  for (let i = 0; i < 3; i++) {
    await members.insertOne({ user: "ada", room: `room ${i}` });
    await client.fence(await now());
  }
  expect(client.received.some(({ type }) => type === "error" || type === "unsubscribed")).toBe(false);
  expect(answersTo(client)).toHaveLength(400);
});

test("[G5] a user whose share of a commit is spent is silent from that commit on, and is decided about soon after", async () => {
  const { connect, members, messages, now } = await start();
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "all", collection: "messages" });
  const spy = vi.spyOn(commitShare, "isSpent").mockReturnValue(true);
  onTestFinished(() => spy.mockRestore());
  for (let n = 0; n < 30; n++) {
    await messages.insertOne({ room: "lobby", n });
    await members.deleteOne({ user: "ada", room: "lobby" });
    await messages.insertOne({ room: "lobby", n: 1_000 + n });
    await messages.deleteMany({ n: { $gte: 1_000 } });
    await members.insertOne({ user: "ada", room: "lobby" });
  }
  await client.fence(await now());
  expect(spy.mock.calls.length).toBeGreaterThanOrEqual(60);
  expect(/"n":10\d\d/.test(JSON.stringify(client.received))).toBe(false);
  await messages.insertOne({ room: "lobby", n: 77 });
  await client.until((got) => JSON.stringify(got).includes('"n":77'), 0);
});

test("[G6] a change of rights that makes too many bytes visible sends the result again, in batches", async () => {
  const { connect, members, messages, now } = await start({ userWindowBytes: "64KiB" });
  const pad = "x".repeat(8_000);
  await messages.insertOne({ room: "lobby", n: 0 });
  await messages.insertMany(Array.from({ length: 20 }, (_, n) => ({ room: "vault", n, pad })));
  const ada = await connect({ sub: "ada" });
  await ada.ask({ type: "subscribe", id: "a", collection: "messages" });
  await ada.fence(await now());
  const before = ada.received.length;
  await members.insertOne({ user: "ada", room: "vault" });
  await ada.until(({ type, last }) => type === "snapshot" && last === true, before);
  const got = ada.received.slice(before).filter(({ type }) => type !== "watermark");
  expect(got.slice(0, 2)).toMatchObject([
    { type: "subscribed", start: "moved" },
    { type: "reset", reason: "history-lost" },
  ]);
  expect(
    got.slice(2).flatMap(({ type, docs }) => (type === "snapshot" ? (docs as unknown[]) : [])),
  ).toHaveLength(21);
  // A smaller difference is sent as one.
  await messages.insertOne({ room: "attic", n: 0 });
  await ada.fence(await now());
  const then = ada.received.length;
  await members.insertOne({ user: "ada", room: "attic" });
  await ada.until(({ type }) => type === "added", then);
  expect(ada.received.slice(then).filter(({ type }) => type === "reset")).toEqual([]);
});

test("[G6] a user who has no room for what becomes visible to many receives the result again, and the others the difference", async () => {
  const { connect, db, now } = await start({ userWindowBytes: "64KiB" }, { rules: { nowStep: "2s" } });
  const pad = "x".repeat(4_000);
  // The window keeps the values by which it is sorted.
  await db.collection("sorted").insertMany(Array.from({ length: 7 }, (_, n) => ({ key: `${n}${pad}` })));
  const [ada, bob] = [await connect({ sub: "ada" }), await connect({ sub: "bob" })];
  await ada.ask({ type: "subscribe", id: "s", collection: "sorted", sort: [["key", 1]], limit: 10 });
  await ada.until(({ type, last }) => type === "snapshot" && last === true);
  const clients = [ada, bob];
  for (const client of clients) await client.ask({ type: "subscribe", id: "news", collection: "news" });
  const from = new Date(Date.now() + 5_000);
  await db.collection("news").insertMany(Array.from({ length: 12 }, (_, n) => ({ n, from, pad })));
  for (const client of clients) await client.fence(await now());
  const before = clients.map(({ received }) => received.length);
  const seesAll = ({ type, docs }: Record<string, unknown>) =>
    type === "added" || (docs as unknown[] | undefined)?.length === 12;
  await Promise.all(clients.map((client, i) => client.until((message) => seesAll(message), before[i])));
  const resets = clients.map(({ received }, i) =>
    received.slice(before[i]).filter(({ type }) => type === "reset"),
  );
  expect(resets).toMatchObject([[{ reason: "history-lost" }], []]);
});

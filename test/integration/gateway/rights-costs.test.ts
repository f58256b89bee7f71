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

async function follow(client: WsClient, collection: string, count: number): Promise<void> {
  for (let n = 0; n < count; n++)
    client.send({ type: "subscribe", id: `s${n}`, collection, filter: { n }, snapshot: false });
  await client.until(() => answersTo(client).length >= count, client.received.length, 60_000);
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

test("limits.workPerUser: a user whose sets change too often loses live queries, and other users do not", async () => {
  const { connect, members, now } = await start({ workPerUser: "2ms" });
  const [client, bystander] = [await connect({ sub: "ada" }), await connect({ sub: "bob" })];
  await follow(client, "messages", 100);
  await follow(bystander, "messages", 1);
  const isEnded = ({ type, code }: Record<string, unknown>) =>
    type === "error" && code === "too-many-subscriptions";
  for (let i = 0; i < 200 && !client.received.some(isEnded); i++) {
    await members.insertOne({ user: "ada", room: `room ${i}` });
    await client.fence(await now());
  }
  expect(client.received.find(isEnded)).toMatchObject({ details: { limit: "workPerUser", value: 2 } });
  await bystander.fence(await now());
  expect(bystander.received.some(isEnded)).toBe(false);
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

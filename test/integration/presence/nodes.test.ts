/** Presence on several nodes: clients that move between them, and nodes that end. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { change, changesOf, enter, PATIENCE, startPresence } from "../../support/presence.ts";
import { signToken } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

async function connectTo(url: string, sub: string): Promise<WsClient> {
  const client = await WsClient.connect(url, { token: await signToken({ sub }) });
  onTestFinished(() => client.socket.terminate());
  return client;
}

test("a client that moves to another node and back within the ttl was never away, and no entry is written", async () => {
  const { url, addNode, follow, countWrites } = await startPresence();
  const other = await addNode();
  const follower = await follow("r1");
  let ada = await connectTo(url, "ada");
  await enter(ada, "r1");
  await change(follower, "added");
  const writes = await countWrites();
  for (const at of [other.url, url, other.url, other.url, url, other.url]) {
    ada.socket.terminate();
    await sleep(700);
    ada = await connectTo(at, "ada");
    expect(await enter(ada, "r1")).toMatchObject({ type: "entered" });
  }
  // Longer than the ttl after the last move.
  await sleep(4_500);
  expect(await writes()).toBe(0);
  expect(changesOf(follower)).toHaveLength(1);
  const cutAtMs = performance.now();
  ada.socket.terminate();
  await change(follower, "removed");
  expect(performance.now() - cutAtMs).toBeGreaterThan(3_000);
});

test("a move is answered when its claim is saved, so that it counts although the node is killed right after that", async () => {
  const { url, addNode, state } = await startPresence();
  const other = await addNode();
  const leases = state.collection<{ _id: string; items?: string[] }>("leases");
  for (let turn = 0; turn < 5; turn++) {
    const first = await connectTo(url, `u${turn}`);
    await enter(first, "r1");
    const second = await connectTo(other.url, `u${turn}`);
    await enter(second, "r1");
    const { items = [] } = (await leases.findOne({ items: { $exists: true } })) ?? {};
    expect(items).toHaveLength(turn + 1);
  }
});

test("the entries of a node that stops stay for the ttl, and those that have moved stay on", async () => {
  const { url, addNode, follow, countWrites, entries, state } = await startPresence();
  const leases = state.collection<{ _id: string; holder: string; renewals: number }>("leases");
  const own = await leases.findOne({ _id: /^presence\// });
  if (own === null) throw new Error("the node has no lease");
  // Another part of the same node holds a lease, and has lost it, so that nobody may renew it.
  await leases.insertOne({ ...own, _id: "sink orders" });
  const other = await addNode();
  const follower = await follow("r1");
  const subs = Array.from({ length: 50 }, (_, i) => `u${i}`);
  for (const sub of [...subs, "lost"]) await enter(await connectTo(other.url, sub), "r1");
  await expect.poll(() => changesOf(follower).length, PATIENCE).toBe(51);
  const writes = await countWrites();
  await other.service.stop();
  const moved = await Promise.all(subs.map((sub) => connectTo(url, sub)));
  const answers = await Promise.all(moved.map((client) => enter(client, "r1")));
  for (const answer of answers) expect(answer).toMatchObject({ type: "entered" });
  expect(await change(follower, "removed")).toBeDefined();
  // The one write is the end of the client that did not return.
  expect(await writes()).toBe(1);
  expect(
    await entries
      .find()
      .map(({ user }) => user)
      .toArray(),
  ).not.toContain("lost");
  // Longer than it takes to look at all entries again.
  await sleep(2_000);
  expect(changesOf(follower)).toHaveLength(52);
  for (const client of moved) client.socket.terminate();
  await expect.poll(() => entries.countDocuments(), PATIENCE).toBe(0);
  // The lease of the node that has stopped is gone with its entries.
  await expect.poll(() => leases.countDocuments({ _id: /^presence\// }), PATIENCE).toBe(1);
  expect(await leases.findOne({ _id: "sink orders" })).toMatchObject({ renewals: own.renewals });
});

test("a tab that leaves on one node while another still keeps it is gone, and the other client is asked to enter again", async () => {
  const { url, addNode, follow } = await startPresence();
  const other = await addNode();
  const follower = await follow("r1");
  const [here, there] = [await connectTo(url, "ada"), await connectTo(other.url, "ada")];
  await enter(here, "r1");
  await enter(there, "r1");
  await there.ask({ type: "leave", id: "e" });
  await change(follower, "removed");
  expect(await change(here, "left")).toEqual({ type: "left", id: "e", reason: "lost" });
  expect(await enter(here, "r1")).toMatchObject({ type: "entered" });
});

test("data that changes on another node stays with the entry", async () => {
  const { url, addNode, follow, entries } = await startPresence();
  const other = await addNode();
  const follower = await follow("r1");
  const first = await connectTo(url, "ada");
  await enter(first, "r1", { data: { n: 1 } });
  first.socket.terminate();
  const second = await connectTo(other.url, "ada");
  await enter(second, "r1", { data: { n: 2 } });
  await change(follower, "changed");
  // Longer than the ttl after the first node has lost the client.
  await sleep(4_500);
  expect(await entries.find().toArray()).toMatchObject([{ data: { n: 2 } }]);
  expect(changesOf(follower).map(({ type }) => type)).toEqual(["added", "changed"]);
});

test("a client that changes its data on another node, and returns within the ttl, has the data that it returned with, and stays", async () => {
  const { url, addNode, follow, entries } = await startPresence();
  const other = await addNode();
  const follower = await follow("r1");
  let ada = await connectTo(url, "ada");
  await enter(ada, "r1", { data: { n: 1 } });
  for (const [at, n] of [
    [other.url, 2],
    [url, 1],
  ] as const) {
    ada.socket.terminate();
    ada = await connectTo(at, "ada");
    expect(await enter(ada, "r1", { data: { n } })).toMatchObject({ type: "entered" });
  }
  // Longer than the ttl after the other node has lost the client.
  await sleep(4_500);
  expect(await entries.find().toArray()).toMatchObject([{ data: { n: 1 } }]);
  expect(changesOf(follower).map(({ type }) => type)).toEqual(["added", "changed", "changed"]);
});

test("a tab with connections to two nodes stays when the one ends that has changed its data", async () => {
  const { url, addNode, follow, entries } = await startPresence();
  const other = await addNode();
  const follower = await follow("r1");
  const [first, second] = [await connectTo(url, "ada"), await connectTo(other.url, "ada")];
  await enter(first, "r1", { data: { n: 1 } });
  await enter(second, "r1", { data: { n: 2 } });
  await change(follower, "changed");
  second.socket.terminate();
  await sleep(4_500);
  expect(await entries.find().toArray()).toMatchObject([{ data: { n: 2 } }]);
  expect(first.received.filter(({ type }) => type === "left")).toEqual([]);
  first.socket.terminate();
  await change(follower, "removed");
});

test("entries that somebody else deletes are lost to their clients, who enter again", async () => {
  const { connect, entries, follow } = await startPresence();
  const follower = await follow("r1");
  const ada = await connect({ sub: "ada" });
  await enter(ada, "r1");
  await change(follower, "added");
  await entries.deleteMany({});
  expect(await change(ada, "left")).toMatchObject({ reason: "lost" });
  expect(await enter(ada, "r1")).toMatchObject({ type: "entered" });
  expect(await entries.countDocuments()).toBe(1);
});

test("entries that name a lease which does not exist go after the lease and the ttl, and those of members who are connected stay", async () => {
  const { url, addNode, follow, entries, state } = await startPresence();
  const other = await addNode();
  const follower = await follow("r1");
  const first = await connectTo(other.url, "ada");
  await enter(first, "r1");
  await change(follower, "added");
  // As if nodes had written them whose leases are gone: one of a client who is connected, and one of nobody.
  await entries.updateMany({}, { $set: { node: "removed" } });
  first.socket.terminate();
  const ada = await connectTo(url, "ada");
  await enter(ada, "r1");
  const insertedMs = performance.now();
  await entries.insertOne({ _id: "nobody", room: "r1", user: "eve", data: null, node: "frozen" });
  expect(await change(follower, "removed")).toMatchObject({ _id: "nobody" });
  // The lease (5 s) and the ttl (3 s).
  expect(performance.now() - insertedMs).toBeGreaterThan(8_000);
  expect(await entries.distinct("user")).toEqual(["ada"]);
  const leases = state.collection<{ _id: string }>("leases");
  const named = { _id: { $in: ["presence/removed", "presence/frozen"] } };
  await expect.poll(() => leases.distinct("_id", named), PATIENCE).toEqual(["presence/removed"]);
  ada.socket.terminate();
  // Long before the next walk through all entries.
  await expect.poll(() => entries.countDocuments(), { ...PATIENCE, timeout: 30_000 }).toBe(0);
  await expect.poll(() => leases.countDocuments(named), PATIENCE).toBe(0);
});

test("members who have moved to a node stay while its lease is removed and made again", async () => {
  const { url, addNode, follow, state } = await startPresence();
  const leases = state.collection<{ _id: string; items?: string[] }>("leases");
  const other = await addNode();
  const follower = await follow("r1");
  const subs = Array.from({ length: 20 }, (_, i) => `u${i}`);
  const first = await Promise.all(subs.map((sub) => connectTo(url, sub)));
  for (const client of first) await enter(client, "r1");
  await expect.poll(() => changesOf(follower).length, PATIENCE).toBe(20);
  for (const client of first) client.socket.terminate();
  const moved = await Promise.all(subs.map((sub) => connectTo(other.url, sub)));
  await Promise.all(moved.map((client) => enter(client, "r1")));
  const claimer = { [`items.${subs.length - 1}`]: { $exists: true } };
  await expect.poll(() => leases.findOne(claimer), PATIENCE).not.toBeNull();
  // Again and again, so that it is missing when the first node decides, whenever that is.
  const end = performance.now() + 4_500;
  let removed = 0;
  while (performance.now() < end) {
    removed += (await leases.deleteOne({ "items.0": { $exists: true } })).deletedCount;
    await sleep(50);
  }
  expect(removed).toBeGreaterThan(0);
  await sleep(9_000);
  expect(changesOf(follower)).toHaveLength(20);
  expect(moved.map(({ received }) => received.filter(({ type }) => type === "left"))).toEqual(
    subs.map(() => []),
  );
});

/** Rights that change beside snapshots that are kept or being read, resumptions, and clients that read nothing. */
import { expect, onTestFinished, test, vi } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { startService } from "../../../src/server.ts";
import { SnapshotCursor } from "../../../src/source/snapshot-cursor.ts";
import { signToken, startTestService, testConfig, toConfig } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

const OPEN = [{ name: "all" }];
const SHUT = [{ name: "staff", when: { "%%user.role": "staff" } }];
const ITEMS = (rules: object[]) => ({ items: { rules } });

/** @param others Collections beside `items`, whose rules no edit changes. */
async function start(rules: object[], sections: object = {}, others: object = {}) {
  const collections = (edited: object[]) => ({ ...ITEMS(edited), ...others });
  const setup = await startTestService({
    collections: collections(rules),
    history: { window: "5m" },
    ...sections,
  });
  const fileOf = (edited: object[], more: object = {}) =>
    testConfig(setup.uri, setup.name, { collections: collections(edited), ...more });
  const edit = (edited: object[]) => setup.service.reload(toConfig(fileOf(edited)));
  const items = setup.db.collection<{ _id: number; text?: string; room?: string }>("items");
  return { ...setup, fileOf, edit, items };
}

const brief = (client: WsClient) =>
  client.received
    .filter(({ type }) => !["welcome", "watermark", "fenced"].includes(type))
    .map((got) => [got.type, got["id"], got["start"], got["reason"]].filter((part) => part !== undefined));

/** Snapshots that are opened from now on wait for `release`. */
function holdSnapshots(): { readonly opened: () => number; readonly release: () => void } {
  const { promise, resolve } = deferred();
  const open = SnapshotCursor.open.bind(SnapshotCursor);
  const spy = vi.spyOn(SnapshotCursor, "open").mockImplementation(async (...args) => {
    await promise;
    return open(...args);
  });
  onTestFinished(() => {
    resolve();
    spy.mockRestore();
  });
  return { opened: () => spy.mock.calls.length, release: resolve };
}

test("[G5] a snapshot from before an edit of the rules shows nothing to those whom the edit lets in", async () => {
  const { items, connect, edit, now } = await start(SHUT);
  await items.insertOne({ _id: 1, text: "CONFIDENTIAL" });
  const staff = await connect({ sub: "boss", role: "staff" });
  await staff.ask({ type: "subscribe", id: "a", collection: "items" });
  await staff.fence(await now());
  await items.updateOne({ _id: 1 }, { $set: { text: "redacted" } });
  await staff.fence(await now());
  await edit([...SHUT, ...OPEN]);
  const guest = await connect({ sub: "guest" });
  await guest.ask({ type: "subscribe", id: "a", collection: "items" });
  await guest.fence(await now());
  expect(JSON.stringify(guest.received)).toContain("redacted");
  expect(JSON.stringify(guest.received)).not.toContain("CONFIDENTIAL");
});

/** Another node, with rules of its own, on the same databases. */
async function anotherNode({ fileOf }: Pick<Awaited<ReturnType<typeof start>>, "fileOf">, rules: object[]) {
  const service = await startService(toConfig(fileOf(rules, { history: { window: "5m" } })));
  onTestFinished(() => service.stop());
  await expect.poll(() => service.readiness().ready, { timeout: 60_000 }).toBe(true);
  return service;
}

/** Withdraws the rights of a client and gives them back, and expects that it receives nothing from the time between. */
async function expectNothingFromBetween(how: "edited" | "restarted", others: object): Promise<void> {
  const setup = await start(OPEN, {}, others);
  const { items, connect, edit, now } = setup;
  const before = await connect({ sub: "u" });
  const { cursor, ticket } = await before.ask({ type: "subscribe", id: "a", collection: "items" });
  before.socket.terminate();
  let { url } = setup;
  if (how === "edited") await edit(SHUT);
  else
    await setup.service
      .stop()
      .then(() => anotherNode(setup, SHUT))
      .then((shut) => shut.stop());
  await items.insertOne({ _id: 1, text: "SECRET" });
  await items.deleteOne({ _id: 1 });
  // An edit of a file takes effect where the stream of the node is.
  if (how === "edited") await setup.settled().then(() => edit(OPEN));
  else url = `ws://127.0.0.1:${(await anotherNode(setup, OPEN)).address.port}/v1/ws`;
  const after = await WsClient.connect(url, { token: await signToken({ sub: "u" }) });
  onTestFinished(() => after.socket.terminate());
  const again = { type: "subscribe", id: "a", collection: "items", cursor, ticket };
  expect(await after.ask(again)).toMatchObject({ start: "reset", reason: "rights-changed" });
  await after.fence(await now());
  expect(JSON.stringify(after.received)).not.toContain("SECRET");
}

test.each(["edited", "restarted"] as const)(
  "[4] after rights were withdrawn and given back, with the service %s, no change from the time between is sent",
  (how) => expectNothingFromBetween(how, {}),
);

test.each(["edited", "restarted"] as const)(
  "[4] rights that were withdrawn in one collection are noticed with the service %s, while another collection keeps the same rule",
  (how) => expectNothingFromBetween(how, { notes: { rules: OPEN } }),
);

test("[3.3] an edit of other rules leaves cursors and tickets good", async () => {
  const { connect, edit } = await start([...SHUT, ...OPEN]);
  const before = await connect({ sub: "u" });
  const { cursor, ticket } = await before.ask({ type: "subscribe", id: "a", collection: "items" });
  before.socket.terminate();
  await edit([...SHUT, { name: "everybody" }, { name: "nobody any more", when: { "%%user.x": 1 } }]);
  const after = await connect({ sub: "u" });
  const again = { type: "subscribe", id: "a", collection: "items", cursor, ticket };
  expect(await after.ask(again)).toMatchObject({ start: "resumed" });
});

test("[G1] an edit gives each of two ids that share a live query the fields of its own request", async () => {
  const withRoom = [{ name: "all", fields: { include: ["text", "room"] } }];
  const withoutRoom = [{ name: "all", fields: { include: ["text"] } }];
  const { items, connect, edit, now } = await start(withRoom);
  await items.insertOne({ _id: 1, text: "x", room: "r" });
  const client = await connect({ sub: "u" });
  await client.ask({ type: "subscribe", id: "a", collection: "items", fields: ["text"] });
  await edit(withoutRoom);
  const shared = await client.ask({ type: "subscribe", id: "b", collection: "items" });
  expect(shared).toMatchObject({ start: "shared" });
  await client.fence(await now());
  const from = client.received.length;
  await edit(withRoom);
  await client.fence(await now());
  const answers = client.received.slice(from).filter(({ type }) => type === "subscribed");
  expect(answers.map(({ id }) => id)).toEqual(["b"]);
  expect(JSON.stringify(client.received.slice(from))).toContain('"room":"r"');
});

const ROOMS = {
  items: {
    lookups: { rooms: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } },
    rules: [{ name: "member", filter: { room: { $in: "%%lookup.rooms" } }, allow: { snapshot: false } }],
  },
};

test("[4] a client without the right to a snapshot receives no stored document by a change of rights either", async () => {
  const { db, connect, now, settled } = await startTestService({ collections: ROOMS });
  await db.collection("items").insertOne({ room: "a", text: "stored long before" });
  await settled();
  const client = await connect({ sub: "u" });
  await client.ask({ type: "subscribe", id: "a", collection: "items", snapshot: false });
  await client.fence(await now());
  await db.collection("members").insertOne({ user: "u", room: "a" });
  await client.fence(await now());
  await db.collection("items").insertOne({ room: "a", text: "new" });
  await client.fence(await now());
  expect(brief(client)).toEqual([
    ["subscribed", "a", "live"],
    ["subscribed", "a", "reset", "rights-changed"],
    ["added"],
  ]);
  expect(JSON.stringify(client.received)).not.toContain("stored long before");
});

test("a connection that ends while a snapshot is to replace changes alone leaves nothing behind", async () => {
  const { service, connect } = await start(OPEN, { limits: { linger: "1s" } });
  const client = await connect({ sub: "u" });
  await client.ask({ type: "subscribe", id: "a", collection: "items", snapshot: false });
  const liveQueries = async () =>
    (await service.metrics.registry.getSingleMetricAsString("tidewire_live_queries")).match(/ (\d+)$/m)?.[1];
  await expect.poll(liveQueries, { timeout: 60_000 }).toBe("1");
  const held = holdSnapshots();
  client.send({ type: "subscribe", id: "b", collection: "items" });
  await expect.poll(held.opened).toBeGreaterThan(0);
  client.socket.terminate();
  await expect.poll(() => service.readiness().connections).toBe(0);
  held.release();
  await expect.poll(liveQueries, { timeout: 60_000 }).toBe("0");
});

test("[3.3] an id that is used again while its first request is still opening receives an answer for the second alone", async () => {
  const { items, connect, now } = await start(OPEN);
  await items.insertOne({ _id: 1, text: "x" });
  const client = await connect({ sub: "u" });
  const held = holdSnapshots();
  const same = { type: "subscribe", collection: "items", filter: { text: "x" } };
  client.send({ ...same, id: "a" });
  client.send({ ...same, id: "z" });
  await expect.poll(held.opened).toBeGreaterThan(0);
  client.send({ type: "unsubscribe", id: "a" });
  client.send({ type: "subscribe", id: "a", collection: "items", filter: { text: "other" } });
  held.release();
  await client.until(({ type }) => type === "snapshot");
  await client.fence(await now());
  const answers = client.received.filter(({ type }) => type === "subscribed");
  expect(answers.map((got) => [got["id"], got["start"]]).sort()).toEqual([
    ["a", "snapshot"],
    ["z", "snapshot"],
  ]);
  const numberOf = (id: string) => answers.find((got) => got["id"] === id)?.["query"];
  const docsOf = (query: unknown) =>
    client.received
      .filter((got) => got.type === "snapshot" && got["query"] === query)
      .map((got) => got["docs"]);
  expect(docsOf(numberOf("z"))).toEqual([[{ _id: 1, text: "x" }]]);
  expect(docsOf(numberOf("a"))).toEqual([[]]);
});

test("[3.3] a subscription that shares a live query still opening is answered once it is open", async () => {
  const { connect, edit, now } = await start(OPEN);
  const client = await connect({ sub: "u" });
  await client.ask({ type: "subscribe", id: "a", collection: "items", filter: { text: "x" } });
  await client.fence(await now());
  const held = holdSnapshots();
  const filter = { text: "x", room: "r" };
  client.send({ type: "subscribe", id: "b", collection: "items", filter });
  await expect.poll(held.opened).toBeGreaterThan(0);
  await edit([{ name: "all", filter: { room: "r" } }]);
  held.release();
  await client.fence(await now());
  const answers = client.received.filter(({ type }) => type === "subscribed");
  for (const answer of answers) expect(answer["cursor"], JSON.stringify(answer)).not.toBe("");
  expect(new Set(answers.slice(-2).map((got) => got["query"])).size).toBe(1);
});

test("[3.3] an edit that parts two ids while the live query they share is still opening answers each for its own", async () => {
  const fields = { include: ["text"] };
  const { items, connect, edit, now } = await start([{ name: "all", fields }]);
  await items.insertOne({ _id: 1, text: "x", room: "r" });
  const client = await connect({ sub: "u" });
  const held = holdSnapshots();
  client.send({ type: "subscribe", id: "a", collection: "items" });
  client.send({ type: "subscribe", id: "b", collection: "items", fields: ["text"] });
  await expect.poll(held.opened).toBeGreaterThan(0);
  await edit([{ name: "all" }]);
  held.release();
  await client.until(() => client.received.filter(({ type }) => type === "snapshot").length === 2);
  await client.fence(await now());
  const answers = client.received.filter(({ type }) => type === "subscribed");
  expect(answers.map((got) => [got["id"], got["start"]]).sort()).toEqual([
    ["a", "reset"],
    ["b", "snapshot"],
  ]);
  const docsOf = (id: string) => {
    const query = answers.find((got) => got["id"] === id)?.["query"];
    return client.received.find((got) => got.type === "snapshot" && got["query"] === query)?.["docs"];
  };
  expect(docsOf("a")).toEqual([{ _id: 1, text: "x", room: "r" }]);
  expect(docsOf("b")).toEqual([{ _id: 1, text: "x" }]);
});

test("[G6] rights that change again and again cost a client that reads nothing no more than its outbox", async () => {
  const outboxBytes = 64 * 1_024;
  const setup = await startTestService({
    collections: {
      items: { ...ROOMS.items, rules: [{ name: "member", filter: { room: { $in: "%%lookup.rooms" } } }] },
    },
    limits: { outboxBytes: `${outboxBytes}B` },
  });
  const { db, service, connect, now } = setup;
  const client = await connect({ sub: "u" });
  for (let i = 0; i < 40; i++) {
    await client.ask({ type: "subscribe", id: `s${i}`, collection: "items", filter: { n: i } });
  }
  await client.fence(await now());
  const waiting = async () =>
    Number(
      (await service.metrics.registry.getSingleMetricAsString("tidewire_outbox_bytes")).match(
        / (\d+)$/m,
      )?.[1],
    );
  client.socket.pause();
  // Data in the system's buffers arrives first.
  const members = db.collection<{ _id: number; user: string; room: string }>("members");
  for (let i = 0; i < 400; i++) {
    await members.insertOne({ _id: i, user: "u", room: `r${i}` });
    if (i % 50 === 0) expect(await waiting()).toBeLessThan(outboxBytes + 40 * 2_048);
  }
  expect(await waiting()).toBeLessThan(outboxBytes + 40 * 2_048);
  client.socket.resume();
  await db.collection("items").insertOne({ n: 7, room: "r399", text: "after all" });
  await client.until((got) => JSON.stringify(got).includes("after all"));
});

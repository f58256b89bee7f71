/** [G1, G2, G3] A node reads only collections that somebody follows. Their first follower misses and repeats nothing. */
import { expect, type TestContext, test } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { Redis } from "../../support/redis.ts";
import { startTestService } from "../../support/service.ts";
import type { Received, WsClient } from "../../support/ws-client.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };

interface Thing {
  _id: number;
  n: number;
  room?: string;
}

const RULES = { rules: [{ name: "all" }] };

async function start(source: "mongodb" | "tail", skip: TestContext["skip"], window = "0s") {
  const redis = source === "tail" ? await Redis.start(skip) : undefined;
  const stream = { unfollowedAfter: "1s" };
  const parts = await startTestService({
    collections: {
      busy: RULES,
      idle: RULES,
      rooms: {
        lookups: { mine: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } },
        rules: [{ name: "mine", filter: { room: { $in: "%%lookup.mine" } } }],
      },
    },
    mongodb: { stream, ...(redis === undefined ? {} : { tail: { redis: { url: redis.url } } }) },
    history: { window },
    limits: { linger: "0s" },
  });
  const { service } = parts;
  if (source === "tail") {
    const { streamSource } = service.metrics;
    const isShared = async () =>
      (await streamSource.get()).values.find(({ labels }) => labels["source"] === "tail")?.value;
    await expect.poll(isShared, PATIENCE).toBe(1);
  }
  /** So many of the four collections are read. */
  const reads = (count: number) =>
    expect.poll(() => metricOf(service, "tidewire_collections_read"), PATIENCE).toBe(count);
  const collection = (name: string) => parts.db.collection<Thing>(name);
  return { ...parts, reads, collection };
}

/** The documents that a client holds of one subscription. Each message must fit those before it. */
function heldBy(client: WsClient, id: string, held = new Map<unknown, unknown>()): Map<unknown, unknown> {
  let query: unknown;
  for (const message of client.received as Received[]) {
    if (message.type === "subscribed" && message["id"] === id) query = message["query"];
    if (!("query" in message) || message["query"] !== query) continue;
    if (message.type === "subscribed" && message["start"] === "reset") held.clear();
    if (message.type === "snapshot") for (const doc of message.docs) held.set(doc["_id"], doc["n"]);
    if (message.type === "added" || message.type === "changed") {
      expect(held.has(message.doc!["_id"]), `${message.type} ${message.doc!["_id"]}`).toBe(
        message.type === "changed",
      );
      held.set(message.doc!["_id"], message.doc!["n"]);
    }
    if (message.type === "removed") expect(held.delete(message._id)).toBe(true);
  }
  return held;
}

const found = async (things: { find: () => { toArray: () => Promise<Thing[]> } }) =>
  Object.fromEntries((await things.find().toArray()).map(({ _id, n }) => [_id, n]));

const SOURCES = [["mongodb"], ["tail"]] as const;

test.for(SOURCES)(
  "changes of a collection that nobody follows are not kept, read from %s",
  async ([source], { skip }) => {
    const { service, connect, collection, now, reads } = await start(source, skip);
    const client = await connect({ sub: "ada" });
    await client.ask({ type: "subscribe", id: "busy", collection: "busy" });
    await reads(1);
    const before = await metricOf(service, "tidewire_change_events_total");
    await collection("idle").insertMany(Array.from({ length: 10 }, (_, _id) => ({ _id, n: 0 })));
    await collection("busy").insertOne({ _id: 1, n: 1 });
    await client.fence(await now());
    expect((await metricOf(service, "tidewire_change_events_total")) - before).toBe(1);
    expect(await metricOf(service, "tidewire_changes_skipped_total")).toBe(source === "tail" ? 10 : 0);
  },
);

test.for(SOURCES)(
  "the first follower of an idle collection has every change once, read from %s",
  async ([source], { skip }) => {
    const { connect, collection, now, reads } = await start(source, skip);
    const idle = collection("idle");
    const busy = await connect({ sub: "ada" });
    await busy.ask({ type: "subscribe", id: "busy", collection: "busy" });
    let isWriting = true;
    const writing = (async () => {
      for (let n = 1; isWriting; n++) {
        await collection("busy").updateOne({ _id: 1 }, { $set: { n } }, { upsert: true });
        await idle.updateOne({ _id: n % 5 }, { $inc: { n: 1 } }, { upsert: true });
        if (n % 7 === 0) await idle.deleteOne({ _id: n % 5 });
      }
    })();
    for (let round = 0; round < 5; round++) {
      await reads(1);
      const client = await connect({ sub: `u${round}` });
      const more = await connect({ sub: `v${round}` });
      const asked = [client, more].map((each) =>
        each.ask({ type: "subscribe", id: "q", collection: "idle" }),
      );
      for (const answer of await Promise.all(asked)) expect(answer).toMatchObject({ start: "snapshot" });
      if (round === 4) {
        isWriting = false;
        await writing;
      }
      for (const each of [client, more]) {
        await each.fence(await now());
        const held = Object.fromEntries(heldBy(each, "q"));
        if (round === 4) expect(held).toEqual(await found(idle));
        await each.close();
      }
    }
    heldBy(busy, "busy");
  },
);

test.for(SOURCES)(
  "a write just before the first follower arrives by the snapshot alone, read from %s",
  async ([source], { skip }) => {
    const { connect, collection, now, reads } = await start(source, skip);
    const idle = collection("idle");
    for (let round = 0; round < 4; round++) {
      await reads(0);
      await idle.insertOne({ _id: round, n: round });
      const client = await connect({ sub: "ada" });
      await client.ask({ type: "subscribe", id: "q", collection: "idle" });
      await client.fence(await now());
      expect(Object.fromEntries(heldBy(client, "q"))).toEqual(await found(idle));
      await client.close();
    }
  },
);

test.for(SOURCES)(
  "a client that returns after a time without followers receives what it has missed, read from %s",
  async ([source], { skip }) => {
    const { connect, collection, now, reads } = await start(source, skip);
    const idle = collection("idle");
    await idle.insertMany([1, 2, 3].map((_id) => ({ _id, n: 0 })));
    const requests = {
      plain: { type: "subscribe", collection: "idle" },
      sorted: { type: "subscribe", collection: "idle", sort: [["n", 1]], limit: 10 },
      rows: { type: "subscribe", collection: "idle", aggregate: { by: "n" } },
    };
    const first = await connect({ sub: "ada" });
    const held = new Map<string, { cursor: string; ticket: string; documents: Map<unknown, unknown> }>();
    for (const [id, request] of Object.entries(requests))
      expect(await first.ask({ ...request, id })).toMatchObject({ start: "snapshot" });
    await first.fence(await now());
    for (const id of Object.keys(requests)) {
      const { ticket, query } = first.received.find(
        (message) => message["id"] === id && message.type === "subscribed",
      ) as Received & { ticket: string; query: number };
      const { cursor } = first.received
        .filter((message) => message["query"] === query && "cursor" in message)
        .at(-1) as unknown as { cursor: string };
      held.set(id, { cursor, ticket, documents: heldBy(first, id) });
    }
    await first.close();
    await reads(0);
    await idle.updateOne({ _id: 1 }, { $set: { n: 5 } });
    await idle.deleteOne({ _id: 2 });
    await idle.insertOne({ _id: 4, n: 7 });
    await reads(0);
    const second = await connect({ sub: "ada" });
    const starts: Record<string, unknown> = {};
    for (const [id, request] of Object.entries(requests)) {
      const { cursor, ticket } = held.get(id) ?? {};
      starts[id] = (await second.ask({ ...request, id, cursor, ticket }))["start"];
    }
    await second.fence(await now());
    expect(starts).toEqual({ plain: "resumed", sorted: "reset", rows: "resumed" });
    for (const id of ["plain", "sorted"])
      expect(Object.fromEntries(heldBy(second, id, held.get(id)?.documents))).toEqual(await found(idle));
    expect([...heldBy(second, "rows", held.get("rows")?.documents).keys()].sort()).toEqual([0, 5, 7]);
  },
);

test.for(SOURCES)(
  "rights by a lookup of a collection that nobody followed are those of the moment, read from %s",
  async ([source], { skip }) => {
    const { connect, collection, db, now, reads } = await start(source, skip);
    const members = db.collection<{ _id: number; user: string; room: string }>("members");
    await collection("rooms").insertMany(["a", "b"].map((room, _id) => ({ _id, n: _id, room })));
    await reads(0);
    await members.insertOne({ _id: 1, user: "ada", room: "a" });
    const client = await connect({ sub: "ada" });
    await client.ask({ type: "subscribe", id: "q", collection: "rooms" });
    await client.fence(await now());
    expect([...heldBy(client, "q").keys()]).toEqual([0]);
    await members.updateOne({ _id: 1 }, { $set: { room: "b" } });
    await client.fence(await now());
    expect([...heldBy(client, "q").keys()]).toEqual([1]);
  },
);

test("history.window keeps a collection for as long as a client may resume from memory", async ({ skip }) => {
  const { service, connect, now, collection } = await start("mongodb", skip, "1h");
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "busy", collection: "busy" });
  for (let n = 0; n < 10; n++) {
    await collection("busy").insertOne({ _id: n, n });
    await client.fence(await now());
  }
  expect(await metricOf(service, "tidewire_collections_read")).toBe(4);
});

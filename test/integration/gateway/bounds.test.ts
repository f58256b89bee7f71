/** Limits at their bounds: the refused requests, and the errors that clients receive. */
import { expect, test, vi } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { startTestService } from "../../support/service.ts";

const CHAT = {
  messages: {
    lookups: { rooms: { collection: "members", filter: { userId: "%%user.sub" }, value: "roomId" } },
    rules: [{ name: "member", filter: { roomId: { $in: "%%lookup.rooms" } } }],
  },
};

test("limits.lookupValues: with one membership more, the lookup grants no access any more", async () => {
  const { db, connect } = await startTestService({ collections: CHAT, limits: { lookupValues: 2 } });
  const members = db.collection<{ _id: string; userId: string; roomId: string }>("members");
  await db.collection<{ _id: number; roomId: string }>("messages").insertOne({ _id: 1, roomId: "a" });
  await members.insertMany(["a", "b"].map((roomId) => ({ _id: `u1-${roomId}`, userId: "u1", roomId })));
  const subscribe = { type: "subscribe", id: "a", collection: "messages" };
  const before = await connect({ sub: "u1" });
  expect(await before.ask(subscribe)).toMatchObject({ start: "snapshot" });

  await members.insertOne({ _id: "u1-c", userId: "u1", roomId: "c" });
  expect(await before.until(({ type }) => type === "error")).toMatchObject({
    id: "a",
    code: "snapshot-too-large",
    details: { limit: "lookupValues", value: 2 },
  });
  await before.until(({ type }) => type === "unsubscribed");
  const after = await connect({ sub: "u1" });
  expect(await after.ask(subscribe)).toMatchObject({ type: "error", code: "snapshot-too-large" });

  await members.deleteOne({ _id: "u1-c" });
  await expect
    .poll(async () => (await after.ask({ ...subscribe, id: `${Math.random()}` })).type)
    .toBe("subscribed");
});

test("limits.lookupBytes: a set above the limit ends the subscription with an error, and a set at the limit does not", async () => {
  const { service, db, connect } = await startTestService({
    collections: { ...CHAT, open: { rules: [{ name: "all" }] } },
    limits: { lookupBytes: "2KiB" },
  });
  const members = db.collection<{ _id: number; userId: string; roomId: string; about?: string }>("members");
  // Fields that the lookup does not use do not count.
  await members.insertOne({ _id: 1, userId: "u1", roomId: "r".repeat(1_000), about: "a".repeat(10_000) });
  const client = await connect({ sub: "u1" });
  const subscribe = { type: "subscribe", id: "a", collection: "messages" };
  expect(await client.ask(subscribe)).toMatchObject({ start: "snapshot" });
  expect(await client.ask({ ...subscribe, id: "b", collection: "open" })).toMatchObject({ id: "b" });

  await members.insertOne({ _id: 2, userId: "u1", roomId: "s".repeat(1_100) });
  expect(await client.until(({ type }) => type === "error")).toMatchObject({
    id: "a",
    code: "snapshot-too-large",
    details: { limit: "lookupBytes", value: 2_048 },
  });
  expect(await client.until(({ type }) => type === "unsubscribed")).toMatchObject({ id: "a" });
  expect(client.received.filter(({ type }) => type === "unsubscribed")).toHaveLength(1);
  expect(await metricOf(service, "tidewire_limit_hits_total")).toBeGreaterThan(0);
});

test.each([
  ["limits.snapshotConcurrency", ["u1", "u2"], 2],
  ["limits.snapshotsPerUser", ["u1", "u1"], 1],
])(
  "%s: for users %j %i snapshots are read at a time, and all who wait get theirs",
  async (_limit, users, most) => {
    const collections = { things: { rules: [{ name: "all" }] } };
    const { service, db, connect } = await startTestService({
      collections,
      limits: { snapshotConcurrency: 2, snapshotsPerUser: 1 },
    });
    const documents = Array.from({ length: 20 * 50 }, (_, i) => ({ n: i % 20 }));
    await db.collection<{ n: number }>("things").insertMany(documents);
    const held = vi.spyOn(service.metrics.snapshotReads, "set");
    const clients = await Promise.all(users.map((sub) => connect({ sub })));
    for (let n = 0; n < 20; n++)
      clients[n % 2]?.send({ type: "subscribe", id: `${n}`, collection: "things", filter: { n } });
    const isLast = ({ type, last }: { type: string; last?: unknown }) => type === "snapshot" && last === true;
    const whole = () => clients.flatMap(({ received }) => received.filter(isLast)).length;
    await expect.poll(whole, { timeout: 60_000 }).toBe(20);
    const counts = held.mock.calls.map(([count]) => Number(count));
    expect(Math.max(...counts)).toBe(most);
  },
);

/** Clients that read slowly while they catch up from the oplog, and what the others notice of it. */
import { expect, test } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { startTestService } from "../../support/service.ts";
import type { WsClient } from "../../support/ws-client.ts";

/** Together more than the system itself buffers for a socket, on both sides. */
const WRITES = 60;
const PAD = "x".repeat(400_000);
const STREAMS = 2;
const PATIENCE = { timeout: 60_000 };

test("[G6] clients that read nothing while they catch up keep no stream from others, and miss nothing in the end", {
  timeout: 180_000,
}, async () => {
  const { service, db, connect, now } = await startTestService({
    collections: { items: { rules: [{ name: "all" }] } },
    limits: { catchUpStreams: STREAMS, catchUpTurn: "200ms", outboxBytes: "256KiB", stallTimeout: "10m" },
    history: { window: "0s", bytes: "1MiB" },
  });
  const items = db.collection<{ _id: number; pad: string }>("items");
  const subscribe = { type: "subscribe", id: "a", collection: "items" };
  /** The request by which a user who was there before the writes resumes. */
  const leave = async (sub: string) => {
    const client = await connect({ sub });
    const { cursor, ticket } = await client.ask(subscribe);
    client.socket.terminate();
    return { ...subscribe, cursor, ticket };
  };
  const [slowResume, otherResume] = [await leave("slow"), await leave("other")];
  for (let _id = 0; _id < WRITES; _id++) await items.insertOne({ _id, pad: PAD });
  const other = await connect({ sub: "other" });
  await other.fence(await now());

  const slow: WsClient[] = [];
  for (let n = 0; n < STREAMS; n++) {
    const client = await connect({ sub: "slow" });
    expect(await client.ask(slowResume)).toMatchObject({ type: "subscribed", start: "resumed" });
    client.socket.pause();
    slow.push(client);
  }
  expect(await metricOf(service, "tidewire_catch_up_streams")).toBe(STREAMS);
  expect(await other.ask(otherResume)).toMatchObject({ type: "subscribed", start: "resumed" });
  expect(await metricOf(service, "tidewire_catch_ups_gave_way_total")).toBeGreaterThan(0);
  await expectAll(other);

  for (const { socket } of slow) socket.resume();
  for (const client of slow) await expectAll(client);
  await expect.poll(() => metricOf(service, "tidewire_catch_up_streams"), PATIENCE).toBe(0);
});

/** Every missed change arrives once and in order, and nothing is reset. */
async function expectAll({ received }: WsClient): Promise<void> {
  const added = () =>
    received.flatMap(({ type, doc }) => (type === "added" ? [(doc as { _id: number })._id] : []));
  await expect.poll(() => added().length, PATIENCE).toBeGreaterThanOrEqual(WRITES);
  expect(added()).toEqual(Array.from({ length: WRITES }, (_, _id) => _id));
  expect(received.filter(({ type }) => type === "reset")).toEqual([]);
}

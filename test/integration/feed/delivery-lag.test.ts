/** `tidewire_delivery_lag_seconds` counts changes that were delivered live, and nothing else. */
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { type Service, startService } from "../../../src/server.ts";
import { metricOf } from "../../support/metric.ts";
import { DATES_EVENTS, NO_DATES } from "../../support/server-features.ts";
import { signToken, startTestService, toConfig } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

const COLLECTIONS = {
  items: { rules: [{ name: "all", filter: { shown: true } }] },
  others: { rules: [{ name: "all" }] },
};

async function lagOf({ metrics }: Service): Promise<{ count: number; sum: number }> {
  const { values } = await metrics.deliveryLag.get();
  const partOf = (suffix: string) =>
    values.find(({ metricName }) => metricName === `tidewire_delivery_lag_seconds_${suffix}`)?.value ?? 0;
  return { count: partOf("count"), sum: partOf("sum") };
}

test("without a client, and for writes that no client sees, nothing is counted; a delivered change is", async ({
  skip,
}) => {
  skip(!DATES_EVENTS, NO_DATES);
  const { service, db, connect, now } = await startTestService({ collections: COLLECTIONS });
  const items = db.collection<{ _id: number; shown: boolean }>("items");
  const read = (count: number) =>
    expect.poll(() => metricOf(service, "tidewire_change_events_total")).toBeGreaterThanOrEqual(count);
  for (let _id = 0; _id < 5; _id++) await items.insertOne({ _id, shown: true });
  await read(5);
  expect((await lagOf(service)).count).toBe(0);
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "a", collection: "items" });
  await client.until(({ type }) => type === "snapshot");
  await items.insertOne({ _id: 5, shown: false });
  await db.collection<{ _id: number }>("others").insertOne({ _id: 1 });
  await client.fence(await now());
  expect((await lagOf(service)).count).toBe(0);
  await items.insertOne({ _id: 6, shown: true });
  await client.until(({ type }) => type === "added");
  await expect.poll(async () => (await lagOf(service)).count).toBe(1);
});

test("a node that starts after writes have gone on does not count them, and neither does a client that catches up", async ({
  skip,
}) => {
  skip(!DATES_EVENTS, NO_DATES);
  const { service, db, file, url, connect, now } = await startTestService({
    collections: COLLECTIONS,
    history: { window: "60s" },
  });
  const items = db.collection<{ _id: number; shown: boolean }>("items");
  await items.insertOne({ _id: 0, shown: true });
  const before = await connect({ sub: "ada" });
  const subscribed = await before.ask({ type: "subscribe", id: "a", collection: "items" });
  await before.fence(await now());
  const { cursor } = (await before.until(({ type }) => type === "snapshot")) ?? {};
  await service.stop();
  for (let _id = 1; _id <= 20; _id++) await items.insertOne({ _id, shown: true });
  const next = await startService(toConfig(file), pino({ level: "silent" }));
  onTestFinished(() => next.stop());
  await expect.poll(() => metricOf(next, "tidewire_change_events_total")).toBeGreaterThanOrEqual(20);
  const address = url.replace(/:\d+\//, `:${next.address.port}/`);
  const client = await WsClient.connect(address, { token: await signToken({ sub: "ada" }) });
  onTestFinished(() => client.socket.terminate());
  const { ticket } = subscribed;
  await client.ask({ type: "subscribe", id: "a", collection: "items", cursor, ticket });
  await expect.poll(() => client.received.filter(({ type }) => type === "added").length).toBe(20);
  expect(await lagOf(next)).toEqual({ count: 0, sum: 0 });
  await items.insertOne({ _id: 21, shown: true });
  await expect.poll(async () => (await lagOf(next)).count).toBe(1);
});

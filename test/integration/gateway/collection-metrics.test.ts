/** Metrics by collection: the label is one of the configured collections, and the numbers add up. */
import { expect, test } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { startTestService, toConfig } from "../../support/service.ts";

const rules = [{ name: "all" }];

async function start() {
  const setup = await startTestService({
    collections: { items: { rules }, others: { rules } },
    limits: { linger: "0s" },
  });
  const { service, name } = setup;
  /** The values of a metric, by the label `collection` and the rest of the labels. */
  const valuesOf = async (metric: string): Promise<Record<string, number>> => {
    const { values = [] } = (await service.metrics.registry.getSingleMetric(metric)?.get()) ?? {};
    return Object.fromEntries(
      values.map(({ labels: { collection = "", ...rest }, value }) => [
        [String(collection).replace(`${name}.`, ""), ...Object.values(rest)].join(" "),
        value,
      ]),
    );
  };
  return { ...setup, valuesOf };
}

test("subscriptions, snapshots and changes are counted for their collection", async () => {
  const { db, connect, valuesOf } = await start();
  const client = await connect({ sub: "ada" });
  for (const [id, collection] of Object.entries({ a: "items", b: "items", c: "others" })) {
    await client.ask({ type: "subscribe", id, collection, filter: { n: { $ne: id } } });
    await client.until(({ type, last }) => type === "snapshot" && last === true);
  }
  expect(await valuesOf("tidewire_subscriptions")).toEqual({ items: 2, others: 1 });
  expect(await valuesOf("tidewire_snapshots_total")).toEqual({ "items read": 2, "others read": 1 });
  await db.collection<{ _id: number }>("items").insertOne({ _id: 1 });
  await db.collection<{ _id: number }>("others").insertOne({ _id: 1 });
  await client.until(() => client.received.filter(({ type }) => type === "added").length === 3);
  expect(await valuesOf("tidewire_changes_total")).toEqual({ "items added": 2, "others added": 1 });
  await client.ask({ type: "unsubscribe", id: "a" });
  expect(await valuesOf("tidewire_subscriptions")).toEqual({ items: 1, others: 1 });
  await client.close();
  await expect.poll(() => valuesOf("tidewire_subscriptions")).toEqual({ items: 0, others: 0 });
});

test("a subscription whose rights move it to another live query stays counted once", async () => {
  const { service, connect, file, valuesOf } = await start();
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "a", collection: "items" });
  const narrower = [{ name: "some", filter: { n: 1 } }];
  await service.reload(toConfig({ ...file, collections: { items: { rules: narrower }, others: { rules } } }));
  await client.until(({ type, start }) => type === "subscribed" && start !== "snapshot");
  expect(await valuesOf("tidewire_subscriptions")).toEqual({ items: 1 });
  await client.close();
  await expect.poll(() => metricOf(service, "tidewire_subscriptions")).toBe(0);
});

test("a name that the configuration does not have makes no label", async () => {
  const { connect, valuesOf } = await start();
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "a", collection: "no-such" });
  for (const metric of ["subscriptions", "snapshots_total", "changes_total"]) {
    expect(await valuesOf(`tidewire_${metric}`)).toEqual({});
  }
});

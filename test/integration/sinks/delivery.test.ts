/** Sinks against a real MongoDB and a real HTTP receiver: what is sent, in which order, and how a sink goes on. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { toConfig } from "../../support/service.ts";
import { startWebhookSink } from "../../support/webhook-world.ts";

const LATE = { filter: { status: "late" } };

interface Order {
  _id: number;
  status: string;
  margin?: number;
  total?: number;
  n?: number;
}

test("sends the changes of a result as CloudEvents: entered, changed, left", async () => {
  const { receiver, orders, follows } = await startWebhookSink<Order>({
    ...LATE,
    fields: { exclude: ["margin"] },
  });
  await follows();
  await orders.insertMany([
    { _id: 1, status: "open", margin: 3 },
    { _id: 2, status: "late", margin: 4 },
  ]);
  await orders.updateOne({ _id: 1 }, { $set: { status: "late" } });
  await orders.updateOne({ _id: 1 }, { $set: { total: 9 } });
  await orders.updateOne({ _id: 1 }, { $set: { status: "done" } });
  await receiver.holds(4);
  const ofOne = receiver.accepted.filter(({ subject }) => subject === "1");
  expect(ofOne.map(({ type }) => type)).toEqual([
    "tidewire.orders.added",
    "tidewire.orders.changed",
    "tidewire.orders.removed",
  ]);
  expect(ofOne[1]?.data).toMatchObject({ type: "changed", cause: "update", doc: { _id: 1, total: 9 } });
  expect(ofOne[2]?.data).toMatchObject({ type: "removed", _id: 1 });
  const [two] = receiver.accepted.filter(({ subject }) => subject === "2");
  expect(two).toMatchObject({ source: "/tidewire/late", data: { doc: { _id: 2, status: "late" } } });
  expect(two?.data.doc).not.toHaveProperty("margin");
  expect(two?.data).not.toHaveProperty("query");
  expect(Math.abs(Date.parse(two?.time ?? "") - Date.now())).toBeLessThan(120_000);
  expect(new Set(receiver.ids).size).toBe(4);
});

test("begins with the present result if it is to, as added with the cause snapshot", async () => {
  const { receiver, orders, service } = await startWebhookSink({ ...LATE, snapshot: true, values: "ejson" });
  await orders.insertMany(Array.from({ length: 50 }, () => ({ status: "late" })));
  await receiver.holds(50);
  const causes = new Set(receiver.accepted.map(({ data }) => data.cause));
  expect([...causes].every((cause) => cause === "snapshot" || cause === "insert")).toBe(true);
  expect(receiver.accepted[0]?.data.doc?.["_id"]).toHaveProperty("$oid");
  expect(service.readiness().ready).toBe(true);
});

test("goes on after a restart: nothing is missing, and nothing is sent twice after a clean stop", async () => {
  const { receiver, orders, file, service, follows } = await startWebhookSink<Order>(LATE);
  await follows();
  const write = async (from: number, count: number) => {
    for (let id = from; id < from + count; id++) await orders.insertOne({ _id: id, status: "late" });
  };
  await write(0, 100);
  await service.stop();
  await write(100, 100);
  const second = await startService(toConfig(file));
  await write(200, 50);
  await receiver.holds(250);
  await receiver.rests();
  await second.stop();
  expect(receiver.ids).toHaveLength(250);
  expect(new Set(receiver.accepted.map(({ subject }) => subject)).size).toBe(250);
});

test("keeps the order of each document while documents are sent at the same time", async () => {
  const { receiver, orders, follows } = await startWebhookSink<Order>(LATE);
  await follows();
  let together = 0;
  let most = 0;
  receiver.respond = async () => {
    most = Math.max(most, ++together);
    await sleep(Math.random() * 10);
    together--;
    return 200;
  };
  const documents = Array.from({ length: 20 }, (_, id) => ({ _id: id, status: "late", n: 0 }));
  await orders.insertMany(documents);
  for (let n = 1; n <= 20; n++) await orders.updateMany({}, { $set: { n } });
  await receiver.holds(20 * 21);
  for (const { _id } of documents)
    expect(receiver.valuesOf(String(_id), "n")).toEqual(Array.from({ length: 21 }, (_, n) => n));
  expect(most).toBeGreaterThan(1);
  expect(receiver.accepted).toHaveLength(20 * 21);
});

test("sends counts and groups", async () => {
  const { receiver, orders, follows } = await startWebhookSink({ aggregate: { by: "status" } });
  await follows();
  await orders.insertMany([{ status: "late" }, { status: "late" }]);
  const last = () => receiver.accepted.at(-1)?.data.doc;
  await expect.poll(last, { timeout: 60_000 }).toEqual({ _id: "late", count: 2 });
});

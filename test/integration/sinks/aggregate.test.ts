/** Sinks that send the rows of an aggregate: whatever happens in between, the receiver has the rows of the server in the end. */
import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { startService } from "../../../src/server.ts";
import { SentRowStore } from "../../../src/sinks/sent-row-store.ts";
import { SentRows } from "../../../src/sinks/sent-rows.ts";
import { testDatabase } from "../../support/mongod.ts";
import { toConfig } from "../../support/service.ts";
import { sinkMessage } from "../../support/sink-messages.ts";
import type { WebhookReceiver } from "../../support/webhook-receiver.ts";
import { startWebhookSink } from "../../support/webhook-world.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };

interface Order {
  _id: number;
  status: string;
}

/** The copy of a receiver that follows the messages, and drops those whose id it has seen. */
function copyOf({ accepted }: WebhookReceiver): Record<string, number> {
  const seen = new Set<string>();
  const copy = new Map<string, number>();
  for (const { id, subject, data } of accepted) {
    if (seen.has(id)) continue;
    seen.add(id);
    if (data.type === "removed") copy.delete(subject);
    else copy.set(subject, Number(data.doc?.["count"]));
  }
  return Object.fromEntries(copy);
}

/** Follows already: a connection that is replaced at the start would send all rows once more, behind whatever a test holds. */
async function start() {
  const started = await startWebhookSink<Order>({ aggregate: { by: "status" } });
  await started.follows();
  return started;
}

const statuses = (...all: string[]): Order[] => all.map((status, _id) => ({ _id, status }));

test("a row that returns to its former state while no node runs is sent again", async () => {
  const { receiver, orders, service, file } = await start();
  await orders.insertMany(statuses("a", "a", "b"));
  await expect.poll(() => copyOf(receiver), PATIENCE).toEqual({ a: 2, b: 1 });
  const never = deferred();
  const held: unknown[] = [];
  receiver.respond = async ({ subject, data }) => {
    if (subject !== "b") return 200;
    held.push(data.doc);
    await never.promise;
    return 503;
  };
  // The request for b holds the position back, and the next changes of a are accepted after it.
  await orders.updateOne({ _id: 2 }, { $set: { status: "c" } });
  await expect.poll(() => held.length, PATIENCE).toBe(1);
  await orders.updateOne({ _id: 0 }, { $set: { status: "d" } });
  await expect.poll(() => copyOf(receiver), PATIENCE).toMatchObject({ a: 1, d: 1 });
  await service.stop();
  never.resolve();
  receiver.respond = () => 200;
  await orders.updateOne({ _id: 0 }, { $set: { status: "a" } });
  const second = await startService(toConfig(file));
  await expect.poll(() => copyOf(receiver), PATIENCE).toEqual({ a: 2, c: 1 });
  await second.stop();
});

test("rows that wait for the receiver when the next run begins are replaced by the present ones", async () => {
  const { receiver, orders, service, file, stateOf } = await start();
  await orders.insertMany(statuses("a", "a", "b"));
  await expect.poll(() => copyOf(receiver), PATIENCE).toEqual({ a: 2, b: 1 });
  receiver.respond = () => 503;
  const before = receiver.requests;
  await orders.updateOne({ _id: 0 }, { $set: { status: "c" } });
  await expect.poll(() => receiver.requests, PATIENCE).toBeGreaterThan(before);
  await service.stop();
  await orders.updateMany({}, { $set: { status: "a" } });
  const former = (await stateOf())?.position?.cursor;
  const second = await startService(toConfig(file));
  await expect.poll(async () => (await stateOf())?.position?.cursor, PATIENCE).not.toBe(former);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(3);
  const taken = receiver.accepted.length;
  receiver.respond = () => 200;
  await expect.poll(() => copyOf(receiver), PATIENCE).toEqual({ a: 3 });
  await receiver.rests();
  const sent = receiver.accepted.slice(taken).map(({ subject, data }) => `${data.type} ${subject}`);
  expect(sent.sort()).toEqual(["added a", "removed b", "removed c"]);
  await second.stop();
  // A row that was removed is not removed again.
  const third = await startService(toConfig(file));
  await receiver.holds(taken + 4);
  await receiver.rests();
  expect(receiver.accepted.slice(taken + 3).map(({ subject }) => subject)).toEqual(["a"]);
  await third.stop();
});

async function sentRows() {
  const { db } = await testDatabase();
  const rows = new SentRowStore(db);
  await rows.prepare();
  const failed = (error: unknown) => {
    throw error;
  };
  const begin = (run: number, most?: number) =>
    SentRows.takeOver({ name: "late", run, rows, answer: (ask) => ask(), failed }, most);
  return { begin };
}

const row = (id: string, key: string, isRemoved = false) => {
  const message = sinkMessage(id, key);
  const type = isRemoved ? "tidewire.orders.removed" : "tidewire.orders.changed";
  return { ...message, event: { ...message.event, type } };
};
const NONE: ReadonlySet<string> = new Set();

test("a row is forgotten when its last message is accepted, and that has removed it", async () => {
  const { begin } = await sentRows();
  const rows = await begin(1);
  await rows.note([row("1", "a"), row("2", "b"), row("3", "c"), row("4", "b", true), row("5", "c", true)]);
  await rows.note([row("6", "c")]);
  for (const [id, key] of [
    ["1", "a"],
    ["4", "b"],
    ["5", "c"],
  ] as const)
    rows.noteAccepted(row(id, key));
  expect(rows.others(NONE)).toEqual(["a", "c"]);
  // The write waits for those before it.
  await rows.note([row("7", "d")]);
  expect((await begin(2)).others(new Set(["d"]))).toEqual(["a", "c"]);
});

test("a former holder that wakes up removes no row of the present one", async () => {
  const { begin } = await sentRows();
  const frozen = await begin(1);
  await frozen.note([row("1", "a"), row("2", "a", true)]);
  const present = await begin(2);
  await present.note([row("3", "a")]);
  frozen.noteAccepted(row("2", "a", true));
  await frozen.note([row("4", "b")]);
  expect((await begin(3)).others(NONE).sort()).toEqual(["a", "b"]);
});

test("removed rows whose messages wait are kept up to a bound", async () => {
  const { begin } = await sentRows();
  const rows = await begin(1, 3);
  await rows.note([row("1", "a", true), row("2", "b"), row("3", "c", true)]);
  expect(rows.others(NONE)).toEqual(["a", "b", "c"]);
  await rows.note([row("4", "d")]);
  expect(rows.others(NONE)).toEqual(["b", "d"]);
  await rows.note([row("5", "e")]);
  expect((await begin(2)).others(NONE).sort()).toEqual(["b", "d", "e"]);
});

/** Sinks whose target is down, refuses a message, is gone or is slow; and what admins decide about them. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { toConfig } from "../../support/service.ts";
import type { ReceivedEvent } from "../../support/webhook-receiver.ts";
import { startWebhookSink } from "../../support/webhook-world.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
const FAST = { attempts: 3, first: "50ms", factor: 1, max: "50ms" };

interface Order {
  _id: number;
  status: string;
  n?: number;
}

/** A service with one sink, `late`, which follows already. */
async function startSink(sink: Record<string, unknown> = {}) {
  const started = await startWebhookSink<Order>({ filter: { status: "late" }, retry: FAST, ...sink });
  await started.follows();
  const insert = (from: number, count: number) =>
    started.orders.insertMany(
      Array.from({ length: count }, (_, index) => ({ _id: from + index, status: "late", n: 0 })),
    );
  return { ...started, insert };
}

test("a target that is down receives everything afterwards, in order, from the state database", async () => {
  const { receiver, orders, insert, stateOf } = await startSink();
  await receiver.close();
  await insert(0, 300);
  for (let n = 1; n <= 5; n++) await orders.updateMany({}, { $set: { n } });
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(1_800);
  expect((await stateOf())?.trouble).toContain("ECONNREFUSED");
  await receiver.open();
  await receiver.holds(1_800);
  await receiver.rests();
  expect(new Set(receiver.ids).size).toBe(1_800);
  for (let id = 0; id < 300; id++) expect(receiver.valuesOf(String(id), "n")).toEqual([0, 1, 2, 3, 4, 5]);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  expect((await stateOf())?.trouble).toBeNull();
});

test("a message that the target refuses is parked, later changes of its document follow, and others pass", async () => {
  const { receiver, orders, insert, store, stateOf } = await startSink();
  const isPoison = ({ subject, data }: ReceivedEvent) => subject === "7" && data.doc?.["n"] === 0;
  receiver.respond = (event) => (isPoison(event) ? 500 : 200);
  await insert(0, 20);
  await orders.updateMany({}, { $set: { n: 1 } });
  await receiver.holds(39);
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(1);
  const [parked] = await store.parked("late", { limit: 10 });
  expect(parked).toMatchObject({ attempts: 3, message: { key: "7", event: { data: { doc: { n: 0 } } } } });
  expect(receiver.valuesOf("7", "n")).toEqual([1]);
  expect(receiver.valuesOf("8", "n")).toEqual([0, 1]);
  // It is sent again, under the same id, when an admin asks for that.
  receiver.respond = () => 200;
  expect(await store.askReplay("late", null)).toBe(1);
  await receiver.holds(40);
  expect(receiver.accepted.at(-1)?.id).toBe(parked?.message.id);
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(0);
});

test("a document that is refused for a while blocks nobody, and its changes arrive in order", async () => {
  const { receiver, orders, insert, stateOf } = await startSink({ retry: { ...FAST, attempts: 5 } });
  let refusals = 0;
  receiver.respond = ({ subject }) => (subject === "3" && refusals++ < 2 ? 500 : 200);
  await insert(0, 10);
  for (let n = 1; n <= 4; n++) await orders.updateMany({}, { $set: { n } });
  await receiver.holds(50);
  expect(receiver.valuesOf("3", "n")).toEqual([0, 1, 2, 3, 4]);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  // The lane is over, so that the next change is not spooled.
  await orders.updateOne({ _id: 3 }, { $set: { n: 5 } });
  await receiver.holds(51);
});

test("the rest of a lane is sent by the next holder if the first message has left before the stop", async () => {
  const { receiver, orders, insert, stateOf, store, service, file } = await startSink({
    retry: { ...FAST, attempts: 100 },
  });
  let refuses = true;
  let stopping: Promise<void> | null = null;
  let wasAnswered = false;
  receiver.respond = async ({ subject }) => {
    if (subject !== "3") return 200;
    if (refuses) return 500;
    // The stop begins while the first message is in flight, so that the others are taken back.
    stopping ??= service.stop();
    if (!wasAnswered) await sleep(100);
    wasAnswered = true;
    return 200;
  };
  await insert(3, 1);
  for (let n = 1; n <= 3; n++) await orders.updateOne({ _id: 3 }, { $set: { n } });
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(4);
  refuses = false;
  await expect.poll(() => stopping, PATIENCE).not.toBeNull();
  await stopping;
  expect((await stateOf())?.spooledMessages).toBe(3);
  expect(await store.lanes("late", 10)).toEqual([{ lane: "3", dueAtMs: 0 }]);
  expect(await store.oldestSpooledMs("late")).not.toBeNull();
  const second = await startService(toConfig(file));
  await receiver.holds(4);
  expect(receiver.valuesOf("3", "n")).toEqual([0, 1, 2, 3]);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  await second.stop();
});

test("a document that is refused for longer than the spool's age is parked, and the sink is not reset", async () => {
  const { receiver, orders, insert, stateOf } = await startSink({
    retry: { ...FAST, attempts: 100 },
    spool: { age: "3s" },
  });
  receiver.respond = ({ subject }) => (subject === "3" ? 500 : 200);
  await insert(0, 5);
  for (let n = 1; n <= 3; n++) await orders.updateOne({ _id: 3 }, { $set: { n } });
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(4);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  expect((await stateOf())?.resets).toBe(0);
});

test("a paused sink sends nothing and loses nothing", async () => {
  const { receiver, orders, insert, store, stateOf } = await startSink();
  await store.setControl("late", { isPaused: true, disabled: null });
  await expect
    .poll(async () => {
      await insert(Math.floor(Math.random() * 1e9), 1);
      return (await stateOf())?.spooledMessages;
    }, PATIENCE)
    .toBeGreaterThan(0);
  const before = receiver.requests;
  await insert(0, 50);
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBeGreaterThanOrEqual(50);
  expect(receiver.requests).toBe(before);
  await store.setControl("late", { isPaused: false, disabled: null });
  // A node that loses the lease on a busy machine repeats what it has sent last.
  const received = () => new Set(receiver.accepted.map(({ subject }) => subject)).size;
  await expect.poll(received, PATIENCE).toBe(await orders.countDocuments());
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
});

test("a target that answers 410 disables the sink, and it goes on when an admin resumes it", async () => {
  const { receiver, insert, store, stateOf } = await startSink();
  receiver.respond = () => 410;
  await insert(0, 1);
  await expect.poll(async () => (await stateOf())?.disabled?.reason, PATIENCE).toContain("410");
  receiver.respond = () => 200;
  const before = receiver.requests;
  await insert(1, 10);
  await receiver.rests();
  expect(receiver.requests).toBe(before);
  await store.setControl("late", { isPaused: false, disabled: null });
  await receiver.holds(11);
});

test("a sink whose spool is full begins again with the present result, and says so", async () => {
  const { receiver, orders, insert, stateOf, service } = await startSink({
    snapshot: true,
    spool: { bytes: "64KiB" },
  });
  await receiver.close();
  await insert(0, 100);
  for (let n = 1; n <= 10; n++) await orders.updateMany({}, { $set: { n } });
  await expect.poll(async () => (await stateOf())?.resets, PATIENCE).toBeGreaterThan(0);
  expect((await stateOf())?.lastReset?.reason).toBe("spool-bytes");
  const metrics = await service.metrics.registry.metrics();
  expect(metrics).toMatch(/tidewire_sink_resets_total\{sink="late",reason="spool-bytes"\} [1-9]/);
  await receiver.open();
  const complete = () => Array.from({ length: 100 }, (_, id) => receiver.valuesOf(String(id), "n").at(-1));
  await expect.poll(() => complete().every((n) => n === 10), PATIENCE).toBe(true);
  expect(receiver.accepted.some(({ data }) => data.cause === "snapshot")).toBe(true);
});

/** Sinks of a service with several workers: one of them runs each sink, and another one takes over. */
import { expect, test } from "vitest";
import { webhookWorld } from "../../support/webhook-world.ts";
import { pidsOf, scrape, spawnWorkers } from "../../support/worker-fleet.ts";

const PATIENCE = { timeout: 120_000, interval: 50 };
const COUNT = 200;

interface SinkDocument {
  _id: string;
  position: unknown;
  run: number;
}

test("[G2] one worker of a fleet runs a sink, and another one goes on when it is killed", async () => {
  const { receiver, name, client, state, config } = await webhookWorld("orders");
  const { service, health } = await spawnWorkers(config, 3);
  const sinks = state.collection<SinkDocument>("sinks");
  const found = () => sinks.findOne({ _id: "all" });
  await expect.poll(async () => (await found())?.position ?? null, PATIENCE).not.toBeNull();
  const leading = () => scrape(service, "tidewire_sink_leading");
  const orders = client.db(name).collection<{ _id: number }>("orders");
  const insert = async (from: number) => {
    for (let _id = from; _id < from + COUNT; _id++) await orders.insertOne({ _id });
  };
  await insert(0);
  await receiver.holds(COUNT);
  expect(await leading()).toBe(1);
  // Which worker it is shows only when it is gone, so each is killed, until a new run has begun.
  const firstRun = (await found())?.run ?? 0;
  let written = COUNT;
  const spared = pidsOf(await health());
  expect(spared).toHaveLength(3);
  while ((await found())?.run === firstRun) {
    const pid = spared.pop() ?? expect.fail("no worker has run the sink");
    const killed = insert(written);
    process.kill(pid, "SIGKILL");
    await killed;
    written += COUNT;
    await receiver.holds(written);
    await expect
      .poll(async () => (await health()).ready && !pidsOf(await health()).includes(pid), PATIENCE)
      .toBe(true);
  }
  expect(await leading()).toBe(1);
  await receiver.rests();
  const subjects = receiver.accepted.map(({ subject }) => Number(subject));
  expect([...new Set(subjects)].sort((a, b) => a - b)).toEqual(Array.from({ length: written }, (_, n) => n));
  // `concurrency` of the sink is 16.
  expect(new Set(receiver.ids).size).toBe(written);
  expect(receiver.accepted.length - written).toBeLessThanOrEqual(16);
}, 300_000);

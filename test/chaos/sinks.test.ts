/** Sinks of real nodes that are killed and frozen while writers write: nothing is lost, and almost nothing repeated. */
import { setTimeout as pause } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { FUZZ_FACTOR } from "../property/seed.ts";
import { type SpawnedService, spawnService } from "../support/spawn-service.ts";
import { webhookWorld } from "../support/webhook-world.ts";
import { type Counted, judgeArrived, SteadyWriter } from "./sink-world.ts";

const PATIENCE = { timeout: 120_000, interval: 50 };
/** 50 with TIDEWIRE_FUZZ=20, as under `npm run soak`. */
const KILLS = Math.ceil(2.5 * FUZZ_FACTOR);
/** A few kills say little about a share, so that only long runs judge it, on a machine of their own. */
const IS_LONG = FUZZ_FACTOR >= 10;
/** Messages that one kill may repeat on a busy machine, where a write of the position takes up to a second. */
const UNSAVED_MAX = 250;
/** Writes per second. */
const RATE = 200;
/** How long a node works before it is killed, at random between these, in milliseconds. */
const LIFE_MS = [8_000, 12_000] as const;

const leads = async ({ pid, adminUrl }: SpawnedService): Promise<boolean> => {
  if (pid === undefined) return false;
  const text = await fetch(`${adminUrl}/metrics`).then(
    (answer) => answer.text(),
    () => "",
  );
  return /^tidewire_sink_leading\{[^}]*\} 1$/m.test(text);
};

/** Two nodes with one sink, a receiver, and a writer. */
async function start() {
  const world = await webhookWorld("counted");
  const { receiver, name, client, state } = world;
  const { mongodb, ...file } = world.config;
  const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
  const nodes = await Promise.all([spawnService({ config }), spawnService({ config })]);
  const leader = async (): Promise<SpawnedService> => {
    let found: SpawnedService | undefined;
    const find = async () => {
      for (const node of nodes) if (await leads(node)) found = node;
      return found !== undefined;
    };
    await expect.poll(find, PATIENCE).toBe(true);
    return found as SpawnedService;
  };
  await leader();
  const sinks = state.collection<{ _id: string; position: unknown }>("sinks");
  await expect
    .poll(async () => (await sinks.findOne({ _id: "all" }))?.position ?? null, PATIENCE)
    .not.toBeNull();
  const writer = new SteadyWriter(client.db(name).collection<Counted>("counted"), RATE);
  onTestFinished(() => writer.stop());
  return { receiver, nodes, leader, writer, sinks };
}

type World = Awaited<ReturnType<typeof start>>;

/** @returns The repetitions. */
const judge = ({ receiver, writer }: Pick<World, "receiver" | "writer">): number =>
  judgeArrived(
    receiver.accepted.map(({ id, subject, data }) => ({ id, subject, n: Number(data.doc?.["n"]) })),
    writer.counts,
  );

test(
  "loses nothing and repeats almost nothing when the node that runs a sink is killed",
  async () => {
    const world = await start();
    const { receiver, writer, leader } = world;
    for (let kill = 0; kill < KILLS; kill++) {
      const node = await leader();
      const before = receiver.accepted.length;
      await expect.poll(() => receiver.accepted.length, PATIENCE).toBeGreaterThan(before);
      await pause(LIFE_MS[0] + Math.random() * (LIFE_MS[1] - LIFE_MS[0]));
      await node.kill("SIGKILL");
      await node.start();
    }
    await writer.stop();
    await expect.poll(() => new Set(receiver.ids).size, PATIENCE).toBe(writer.total);
    const repeated = judge(world);
    const share = (100 * repeated) / receiver.accepted.length;
    console.log(
      `${KILLS} kills, ${receiver.accepted.length} sent, ${repeated} of them twice (${share.toFixed(3)} %)`,
    );
    expect(repeated).toBeLessThanOrEqual(IS_LONG ? 0.001 * receiver.accepted.length : KILLS * UNSAVED_MAX);
  },
  60_000 + KILLS * 60_000,
);

test("a holder that was frozen changes nothing when it wakes up", async () => {
  const world = await start();
  const { receiver, writer, leader, nodes, sinks } = world;
  const frozen = await leader();
  await expect.poll(() => receiver.accepted.length, PATIENCE).toBeGreaterThan(100);
  frozen.signal("SIGSTOP");
  const other = nodes.find((node) => node !== frozen) as SpawnedService;
  await expect.poll(() => leads(other), PATIENCE).toBe(true);
  const taken = receiver.accepted.length;
  await expect.poll(() => receiver.accepted.length, PATIENCE).toBeGreaterThan(taken + 200);
  const fence = (await sinks.findOne({ _id: "all" }))?.["fence" as keyof object];
  frozen.signal("SIGCONT");
  await expect.poll(() => leads(frozen), PATIENCE).toBe(false);
  const after = receiver.accepted.length;
  await expect.poll(() => receiver.accepted.length, PATIENCE).toBeGreaterThan(after + 200);
  await writer.stop();
  await expect.poll(() => new Set(receiver.ids).size, PATIENCE).toBe(writer.total);
  expect((await sinks.findOne({ _id: "all" }))?.["fence" as keyof object]).toEqual(fence);
  // The frozen process had sent a few messages, which arrive at most once more.
  expect(judgeUnordered(world)).toBeLessThanOrEqual(32);
}, 300_000);

/** A request that was frozen on its way may arrive late, so only completeness is judged. @returns The repetitions. */
function judgeUnordered({ receiver, writer }: Pick<World, "receiver" | "writer">): number {
  const contents = new Map(
    receiver.accepted.map(({ id, subject, data }) => [id, `${subject} ${String(data.doc?.["n"])}`]),
  );
  expect(contents.size).toBe(writer.total);
  expect(new Set(contents.values()).size).toBe(writer.total);
  return receiver.accepted.length - contents.size;
}

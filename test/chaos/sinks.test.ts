/** Sinks of real nodes that are killed and frozen while writers write: nothing is lost, and almost nothing repeated. */
import { setTimeout as pause } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { type SpawnedService, spawnService } from "../support/spawn-service.ts";
import { webhookWorld } from "../support/webhook-world.ts";
import { BY_GROUP, copyOf, GroupWriter, judgeRows, type Member } from "./sink-groups.ts";
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

/** Two nodes with one sink, and a receiver. */
async function startNodes(collection: string, sink: Record<string, unknown> = {}) {
  const world = await webhookWorld(collection, sink);
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
  return { receiver, nodes, leader, sinks, db: client.db(name) };
}

/** Nodes with a sink that sends documents, and a writer that counts these up. */
async function start() {
  const nodes = await startNodes("counted");
  const writer = new SteadyWriter(nodes.db.collection<Counted>("counted"), RATE);
  onTestFinished(() => writer.stop());
  return { ...nodes, writer };
}

/** Kills the node that runs the sink and starts it again, as often as `KILLS` says. */
async function killLeaders({ receiver, leader }: Pick<World, "receiver" | "leader">): Promise<void> {
  for (let kill = 0; kill < KILLS; kill++) {
    const node = await leader();
    const before = receiver.accepted.length;
    await expect.poll(() => receiver.accepted.length, PATIENCE).toBeGreaterThan(before);
    await pause(LIFE_MS[0] + Math.random() * (LIFE_MS[1] - LIFE_MS[0]));
    await node.kill("SIGKILL");
    await node.start();
  }
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
    const { receiver, writer } = world;
    await killLeaders(world);
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

test(
  "sends the rows of an aggregate as they were after some commit, and the present ones in the end, when its node is killed",
  async () => {
    const world = await startNodes("members", { aggregate: BY_GROUP });
    const { receiver, db } = world;
    const writer = new GroupWriter(db.collection<Member>("members"), RATE, startSeed("groups of a sink"));
    onTestFinished(() => writer.stop());
    await killLeaders(world);
    await writer.stop();
    const { rows } = writer;
    await expect.poll(() => copyOf(receiver.accepted), PATIENCE).toEqual(rows);
    await receiver.rests();
    expect(copyOf(receiver.accepted)).toEqual(rows);
    judgeRows(receiver.accepted, writer);
    // Rows that have ended while no node followed them.
    const ended = receiver.accepted.filter(
      ({ data: { type, cause } }) => `${type} ${cause}` === "removed snapshot",
    );
    expect(ended.length).toBeGreaterThan(0);
    console.log(
      `${KILLS} kills, ${receiver.accepted.length} rows sent, ${ended.length} of them removed by a start`,
    );
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

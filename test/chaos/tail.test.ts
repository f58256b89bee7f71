/**
 * [G2, G3] Nodes that share one change stream through Redis lose nothing and repeat nothing, whatever happens to the
 * leader, to Redis or to its replica while clients follow and writers write.
 */
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { describeCounts, FLAWLESS } from "./fleet.ts";
import { replicate, TailNodes } from "./tail-nodes.ts";

/** How often each disturbance happens: 50 and 20 times with TIDEWIRE_FUZZ=20, as under `npm run soak`. */
const LEADER_KILLS = Math.ceil(2.5 * FUZZ_FACTOR);
const REDIS_KILLS = FUZZ_FACTOR;
const FLUSHES = FUZZ_FACTOR;
/** In turn one that an admin asked for, and one after a crash. */
const FAILOVERS = Math.max(2, FUZZ_FACTOR);
/** How long no node may lead: a minute under `npm run soak`. */
const WITHOUT_LEADER_MS = 3_000 * FUZZ_FACTOR;
/** The longest silence of a client. Only long runs judge it, because it depends on the machine. */
const SILENCE_MS_MAX = 3_000;

async function killLeader(world: TailNodes): Promise<void> {
  const leader = await world.leader();
  await leader.kill("SIGKILL");
  await leader.start();
}

async function killRedis(world: TailNodes): Promise<void> {
  const before = await world.leftCounts();
  const { primary, replica } = world.servers;
  await primary.stop();
  await world.haveLeft(before);
  await world.haveWritten(50);
  await primary.start();
  await replicate(replica, primary);
}

async function flush(world: TailNodes): Promise<void> {
  await world.servers.primary.ask("FLUSHALL");
  await world.haveWritten(50);
}

/** The replica takes over with everything, and the nodes' address leads there only afterwards. */
async function failOver(world: TailNodes): Promise<void> {
  const before = await world.leftCounts();
  const { primary, replica } = world.servers;
  await primary.ask("FAILOVER", "TO", "127.0.0.1", String(replica.port));
  const role = async () => String(await replica.ask("INFO", "replication"));
  await expect.poll(role).toContain("role:master");
  await world.haveWritten(50);
  world.swapServers();
  await world.haveLeft(before);
}

/** The primary dies, and the replica takes over without the last entries. */
async function crash(world: TailNodes): Promise<void> {
  const before = await world.leftCounts();
  const { primary, replica } = world.servers;
  replica.signal("SIGSTOP");
  try {
    await world.haveWritten(20);
    await primary.stop();
  } finally {
    replica.signal("SIGCONT");
  }
  await replica.ask("REPLICAOF", "NO", "ONE");
  await primary.start();
  await replicate(primary, replica);
  world.swapServers();
  await world.haveLeft(before);
}

const withoutLeader = (world: TailNodes): Promise<void> =>
  world.withoutLeader(async () => {
    await world.haveLeft(await world.leftCounts());
    await pause(WITHOUT_LEADER_MS);
  });

const DISTURBANCES: readonly [
  name: string,
  times: number,
  disturb: (world: TailNodes, round: number) => Promise<void>,
][] = [
  ["the node that fills it is killed", LEADER_KILLS, killLeader],
  ["Redis is killed and comes back empty", REDIS_KILLS, killRedis],
  ["Redis is flushed", FLUSHES, flush],
  ["Redis fails over to a replica", FAILOVERS, (world, round) => (round % 2 === 0 ? failOver : crash)(world)],
  ["no node may fill it", 1, withoutLeader],
];

test.for(DISTURBANCES)(
  "[G2] nodes that share a tail lose nothing and repeat nothing when %s, %i times",
  async ([name, times, disturb], { skip }) => {
    const seed = startSeed("tail");
    const world = await TailNodes.start(skip, seed);
    const silencesMs: number[] = [];
    for (let round = 0; round < times; round++) {
      await disturb(world, round);
      await world.haveRecovered();
      silencesMs.push(Math.round(world.fleet.takeSilenceMs()));
    }
    const reasons = await world.reasons();
    const counts = await world.fleet.settle();
    const silences = `longest silences ${silencesMs
      .sort((a, b) => b - a)
      .slice(0, 5)
      .join(", ")} ms`;
    console.log(
      `tail: seed ${seed}: ${name}, ${times} times, ${silences}, left ${reasons}, ${describeCounts(counts)}`,
    );
    expect(counts).toMatchObject(FLAWLESS);
    const starts = Object.keys(counts["starts"] as object); // a count for each kind
    expect(starts.filter((start) => start !== "snapshot" && start !== "resumed")).toEqual([]);
    if (disturb !== killLeader) expect(starts, "no client has to reconnect").toEqual(["snapshot"]);
    if (FUZZ_FACTOR > 1) expect(Math.max(...silencesMs)).toBeLessThanOrEqual(SILENCE_MS_MAX);
  },
);

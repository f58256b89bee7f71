/** One fault on one deployment, with a client in each situation, and how long everything took to be well again. */
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import type { Service } from "../../src/server.ts";
import { metricOf } from "../support/metric.ts";
import { until } from "../support/mongod.ts";
import { Oracle } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { VersionedWriter } from "../support/versioned-writer.ts";
import { type Fault, FaultDeployment, type Topology } from "./fault-deployment.ts";
import {
  atStart,
  DATABASE,
  fill,
  inCatchUp,
  inSnapshot,
  loadingLookup,
  readingLive,
  type Situation,
  startNode,
  startUntilItRuns,
  urlOf,
} from "./fault-situations.ts";

export interface Run {
  readonly topology: Topology;
  readonly fault: Fault;
  readonly seed: number;
}

export interface Outcome {
  /** From the moment at which MongoDB took writes again, in milliseconds; 0 where the service was there before. */
  readonly backAfterMs: { readonly live: number; readonly "catch-up": number; readonly start: number };
  /** The duration of a start without a fault, on this machine under its present load. */
  readonly startMs: number;
  /** By situation, what was wrong in the end. */
  readonly problems: Readonly<Record<string, readonly string[]>>;
}

/** Everything that stands before the fault. */
class World {
  readonly deployment: FaultDeployment;
  readonly oracle: Oracle;
  /** Follows live, reads snapshots and lookups; its history reaches back over any outage. */
  readonly node: Service;
  /** Catches up from the oplog alone. */
  readonly forgetful: Service;
  readonly situations: Situation[] = [];
  readonly logged: readonly string[];
  /** The duration of a start, in milliseconds. */
  readonly startMs: number;
  readonly #stops: (() => Promise<unknown>)[];

  private constructor(
    deployment: FaultDeployment,
    nodes: readonly [Service, Service],
    { logged, startMs }: Pick<World, "logged" | "startMs">,
    stops: (() => Promise<unknown>)[],
  ) {
    this.deployment = deployment;
    [this.node, this.forgetful] = nodes;
    this.logged = logged;
    this.startMs = startMs;
    this.#stops = stops;
    this.oracle = new Oracle(deployment.backend, `${DATABASE}-state`);
  }

  static async start({ topology, fault }: Run, directory: string): Promise<World> {
    const deployment = await FaultDeployment.start(topology, fault.via, directory);
    const logged: string[] = [];
    const log = pino({ level: "info" }, { write: (line) => void logged.push(JSON.parse(line).msg) });
    const stops = [() => deployment.stop()];
    try {
      await fill(deployment.backend.db(DATABASE));
      const beginMs = Date.now();
      const nodes: [Service, Service] = [
        await startNode(deployment.uri, "120s", log),
        await startNode(deployment.uri, "2s"),
      ];
      const startMs = Date.now() - beginMs;
      for (const node of nodes) {
        stops.push(() => node.stop());
        await until("a node that is ready", async () => node.readiness().ready);
      }
      return new World(deployment, nodes, { logged, startMs }, stops);
    } catch (error) {
      for (const stop of stops.reverse()) await stop();
      throw error;
    }
  }

  add(situation: Situation): void {
    this.situations.push(situation);
    this.#stops.push(() => situation.stop());
  }

  onStop(stop: () => Promise<unknown>): void {
    this.#stops.push(stop);
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) await stop();
  }
}

export async function run(options: Run, directory: string): Promise<Outcome> {
  const world = await World.start(options, directory);
  try {
    return await suffer(world, options.fault, new Random(options.seed));
  } finally {
    await world.stop();
  }
}

async function suffer(world: World, fault: Fault, random: Random): Promise<Outcome> {
  const { deployment, oracle, node, forgetful } = world;
  await oracle.learnEpoch();
  const live = await readingLive(urlOf(node), oracle, random);
  world.add(live);
  world.add(await loadingLookup(urlOf(node), oracle, random));
  world.add(await inSnapshot(urlOf(node), oracle));
  const primary = await deployment.set.primary();
  const isForgotten = async () => (await metricOf(forgetful, "tidewire_history_commits")) === 0;
  world.add(await inCatchUp(urlOf(forgetful), oracle, deployment.backend.db(DATABASE), isForgotten));
  const writer = fault.quiet === true ? undefined : startWriter(world, random);

  // Now and then the fault comes before the first step of a start, now and then in the midst of it.
  const starting = pause(random.int(0, 300)).then(() => startUntilItRuns(deployment.uri, "0s"));
  starting.catch(() => {}); // It is waited for below.
  world.onStop(async () => (await starting).stop());
  await pause(random.int(0, 300));
  const struck = fault.befall(deployment, primary);
  for (const situation of world.situations) situation.strike();
  await struck;

  const answersAtMs = await deployment.untilAnswers();
  const since = (node: Promise<Service>) =>
    node.then(untilReady).then(() => Math.max(0, Date.now() - answersAtMs));
  const [liveMs, catchUpMs, startMs] = await Promise.all([
    Promise.all([since(Promise.resolve(node)), untilDelivered(world, fault)]).then(() =>
      Math.max(0, Date.now() - answersAtMs),
    ),
    since(Promise.resolve(forgetful)),
    since(starting),
  ]);
  const starter = await atStart(urlOf(await starting), oracle, random);
  world.add(starter);
  starter.start();
  await writer?.stop();
  const problems: Record<string, readonly string[]> = {};
  for (const situation of world.situations)
    problems[situation.name] = await situation.problems(deployment.backend.db(DATABASE));
  problems["nodes"] = await problemsOf(world);
  return {
    backAfterMs: { live: liveMs, "catch-up": catchUpMs, start: startMs },
    startMs: world.startMs,
    problems,
  };
}

function startWriter({ deployment }: World, random: Random): VersionedWriter {
  const { backend } = deployment;
  const writer = new VersionedWriter(backend, backend.db(DATABASE), "live", "w", random.fork());
  writer.start();
  return writer;
}

const untilReady = (node: Service) => until("a node that is ready", async () => node.readiness().ready);

/** Writes a document, by whatever it takes, and waits until the client that follows has it. */
async function untilDelivered({ deployment, situations }: World, fault: Fault): Promise<void> {
  if (fault.quiet === true) await deployment.renewBackend();
  const _id = `after ${fault.name}`;
  await until("a write", async () => {
    const probes = deployment.backend.db(DATABASE).collection<{ _id: string }>("live");
    const written = probes.updateOne({ _id }, { $set: { v: 1 } }, { upsert: true });
    return written.then(
      () => true,
      () => undefined,
    );
  });
  const [live] = situations;
  await until("its delivery", async () => live !== undefined && "client" in live && holds(live, _id));
}

const holds = (live: Situation, _id: string): boolean => {
  const { client } = live as Awaited<ReturnType<typeof readingLive>>;
  return client.heldOf("q")?.documents.has(JSON.stringify(_id)) === true;
};

/** Checks for events that must not have happened on the nodes, and for log lines that they must have written. */
async function problemsOf({ node, forgetful, logged }: World): Promise<string[]> {
  const problems: string[] = [];
  for (const each of [node, forgetful]) {
    const lost = await metricOf(each, "tidewire_position_lost_total");
    if (lost > 0) problems.push(`positions lost: ${lost}`);
    const downSeconds = await metricOf(each, "tidewire_stream_down_seconds");
    if (downSeconds > 0 || each.readiness().streamDown !== null) problems.push(`still down: ${downSeconds}`);
  }
  const downs = logged.filter((text) => text.startsWith("the change stream is down")).length;
  const ups = logged.filter((text) => text === "the change stream is up again").length;
  if (downs !== ups) problems.push(`said to be down ${downs} times, to be up again ${ups} times`);
  return problems;
}

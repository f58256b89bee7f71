/** Three nodes that read the shared tail, a Redis with a replica behind one address, and a fleet of clients and writers. */
import { MongoClient } from "mongodb";
import { expect, type TestContext } from "vitest";
import { LeaseStore } from "../../src/source/lease-store.ts";
import { testDatabase } from "../support/mongod.ts";
import { Random } from "../support/random.ts";
import { Redis } from "../support/redis.ts";
import { testConfig } from "../support/service.ts";
import { type SpawnedService, spawnService } from "../support/spawn-service.ts";
import { departures, leads, readsTail } from "../support/tail-fleet.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { COLLECTIONS, Fleet } from "./fleet.ts";

const NODES = 3;
/** A node that has left the tail several times waits up to half a minute before it returns. */
const PATIENCE = { timeout: 120_000, interval: 50 };

interface TailNodesParts {
  readonly uri: string;
  readonly database: string;
  readonly proxy: TcpProxy;
  readonly servers: { primary: Redis; replica: Redis };
}

export class TailNodes {
  readonly nodes: SpawnedService[] = [];
  readonly proxy: TcpProxy;
  /** The roles change with each failover. */
  readonly servers: { primary: Redis; replica: Redis };
  readonly #uri: string;
  readonly #database: string;
  #fleet: Fleet | undefined;
  #connects = 0;

  private constructor({ uri, database, proxy, servers }: TailNodesParts) {
    this.#uri = uri;
    this.#database = database;
    this.proxy = proxy;
    this.servers = servers;
  }

  /** Starts everything, and waits until all nodes read the tail and all clients follow. */
  static async start(skip: TestContext["skip"], seed: number): Promise<TailNodes> {
    const servers = { primary: await Redis.start(skip), replica: await Redis.start(skip) };
    await replicate(servers.replica, servers.primary);
    const proxy = await TcpProxy.start(servers.primary.port);
    const { name: database, uri } = await testDatabase();
    const world = new TailNodes({ uri, database, proxy, servers });
    world.nodes.push(...(await Promise.all(Array.from({ length: NODES }, () => world.#startNode()))));
    world.#fleet = await Fleet.start({
      uri,
      database,
      url: () => world.#nextUrl(),
      random: new Random(seed),
    });
    await world.haveRecovered();
    world.fleet.takeSilenceMs();
    return world;
  }

  get fleet(): Fleet {
    if (this.#fleet === undefined) throw new Error("not started yet");
    return this.#fleet;
  }

  /** The node that fills the tail, once there is one. */
  async leader(): Promise<SpawnedService> {
    let found: SpawnedService | undefined;
    const find = async () => {
      for (const node of this.nodes) if (await leads(node)) found = node;
      return found !== undefined;
    };
    await expect.poll(find, PATIENCE).toBe(true);
    return found as SpawnedService;
  }

  /** All nodes read the tail, all clients follow, and changes arrive at them. */
  async haveRecovered(): Promise<void> {
    await this.leader();
    for (const node of this.nodes) await expect.poll(() => readsTail(node), PATIENCE).toBe(true);
    const follow = () => this.fleet.clients.every((client) => client.isFollowing);
    await expect.poll(follow, PATIENCE).toBe(true);
    const before = this.fleet.changes;
    await expect.poll(() => this.fleet.changes, PATIENCE).toBeGreaterThan(before + 100);
  }

  /** How often each node has left the tail since its start. */
  leftCounts(): Promise<number[]> {
    return Promise.all(this.nodes.map(leftCountOf));
  }

  /** Why nodes have left the tail since their starts, with numbers. */
  async reasons(): Promise<string> {
    const sums: Record<string, number> = {};
    for (const node of this.nodes) {
      for (const [reason, count] of Object.entries(await departures(node)))
        sums[reason] = (sums[reason] ?? 0) + count;
    }
    return JSON.stringify(sums);
  }

  /** Every node has left the tail since `before` was counted. */
  async haveLeft(before: readonly number[]): Promise<void> {
    for (const [index, node] of this.nodes.entries())
      await expect.poll(() => leftCountOf(node), PATIENCE).toBeGreaterThan(before[index] ?? 0);
  }

  /** The replica is the primary now: the nodes' address leads to it, and open connections end. */
  swapServers(): void {
    const { primary, replica } = this.servers;
    this.servers.primary = replica;
    this.servers.replica = primary;
    this.proxy.redirect(replica.port);
  }

  /** Waits until the writers have written this much more. */
  async haveWritten(writes: number): Promise<void> {
    const before = this.fleet.writes;
    await expect.poll(() => this.fleet.writes, PATIENCE).toBeGreaterThan(before + writes);
  }

  /** Takes the lease of the tail from its holder, and keeps it while `work` runs. Nobody fills the tail meanwhile. */
  async withoutLeader(work: () => Promise<void>): Promise<void> {
    const client = await new MongoClient(this.#uri).connect();
    try {
      const state = client.db(`${this.#database}-state`);
      const lease = await state.collection<{ _id: string }>("leases").findOne({ _id: /^tail\./ });
      const name = lease?._id ?? "";
      const store = new LeaseStore(state);
      const take = async () => store.take(name, await store.read(name), "a test", 5_000);
      let fence = 0n;
      await expect.poll(async () => (fence = (await take())?.fence ?? 0n), PATIENCE).toBeGreaterThan(0n);
      const renewal = setInterval(() => void store.renew(name, fence).catch(() => {}), 1_000); // the next one follows
      try {
        await work();
      } finally {
        clearInterval(renewal);
        await store.release(name, fence);
      }
    } finally {
      await client.close();
    }
  }

  /** Clients are spread over the nodes that run. */
  #nextUrl(): string {
    const running = this.nodes.filter(({ pid }) => pid !== undefined);
    const node = running[this.#connects++ % running.length] ?? this.nodes[0];
    return `${node?.url.replace("http", "ws")}/v1/ws`;
  }

  #startNode(): Promise<SpawnedService> {
    const redis = { url: `redis://127.0.0.1:${this.proxy.port}`, key: `chaos-${this.#database}` };
    const { mongodb, ...file } = testConfig(this.#uri, this.#database, {
      collections: COLLECTIONS,
      mongodb: { tail: { redis: { ...redis, bytes: "64MiB" } } },
      server: { heartbeat: "1s", drainTimeout: "5s" },
      history: { window: "5s" },
    });
    // `testConfig` gives every section of the file.
    const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
    return spawnService({ config });
  }
}

/** Lets a server copy another one, and waits until it has everything. */
export async function replicate(replica: Redis, primary: Redis): Promise<void> {
  await replica.ask("REPLICAOF", "127.0.0.1", String(primary.port));
  const replication = async () => String(await replica.ask("INFO", "replication"));
  await expect.poll(replication, PATIENCE).toContain("master_link_status:up");
}

async function leftCountOf(node: SpawnedService): Promise<number> {
  const counts = Object.values(await departures(node));
  return counts.reduce((sum, count) => sum + count, 0);
}

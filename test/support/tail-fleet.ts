/** Nodes that read the shared tail, with a writer whose every write is judged. */
import { setTimeout as delay } from "node:timers/promises";
import type { MongoClient } from "mongodb";
import { expect, onTestFinished, type TestContext } from "vitest";
import { testDatabase } from "./mongod.ts";
import { Redis } from "./redis.ts";
import { KEEPS_IMAGES } from "./server-features.ts";
import { testConfig } from "./service.ts";
import { PATIENCE, SourceNode, type SourceNodeOptions } from "./source-node.ts";
import { type SpawnedService, spawnService } from "./spawn-service.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export interface Thing {
  _id: number;
  v: number;
  text?: string;
}

/** Writes until it is stopped: single writes and transactions, each of which counts up its documents. */
export class Writer {
  readonly #client: MongoClient;
  readonly #database: string;
  readonly #done: Promise<void>;
  #stopped = false;
  #text = "";
  writes = 0;

  constructor(client: MongoClient, database: string) {
    this.#client = client;
    this.#database = database;
    this.#done = this.#run();
    onTestFinished(() => this.stop());
  }

  /** Makes later writes of this many bytes. */
  useBytes(bytes: number): void {
    this.#text = "x".repeat(bytes);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    const things = this.#client.db(this.#database).collection<Thing>("things");
    for (let n = 0; !this.#stopped; n++) {
      const _id = n % 7;
      const set = this.#text === "" ? {} : { $set: { text: this.#text } };
      if (n % 11 === 10) await things.deleteOne({ _id });
      else if (n % 5 === 4) {
        const session = this.#client.startSession();
        await session.withTransaction(async () => {
          for (const id of [_id, _id + 10, _id + 20])
            await things.updateOne({ _id: id }, { $inc: { v: 1 }, ...set }, { upsert: true, session });
        });
        await session.endSession();
      } else await things.updateOne({ _id }, { $inc: { v: 1 }, ...set }, { upsert: true });
      this.writes++;
      await delay(2);
    }
  }
}

/** Two nodes on the tail, and a writer. */
export class Fleet {
  readonly options: SourceNodeOptions;
  readonly client: MongoClient;
  readonly nodes: SourceNode[];
  readonly writer: Writer;
  readonly redis: Redis;
  readonly proxy: TcpProxy;
  readonly skip: TestContext["skip"];

  private constructor(
    options: SourceNodeOptions,
    { redis, proxy, skip }: Pick<Fleet, "redis" | "proxy" | "skip">,
    nodes: SourceNode[],
  ) {
    this.skip = skip;
    this.options = options;
    this.client = options.client;
    this.redis = redis;
    this.proxy = proxy;
    this.nodes = nodes;
    this.writer = new Writer(options.client, options.database);
  }

  /** @param beforeNodes Runs before any node competes for filling the tail. */
  static async start(
    skip: TestContext["skip"],
    bytes = 64 * 1024 * 1024,
    beforeNodes: (options: SourceNodeOptions) => Promise<unknown> = async () => {},
  ): Promise<Fleet> {
    const redis = await Redis.start(skip);
    const proxy = await TcpProxy.start(redis.port);
    const { client, name, uri, db } = await testDatabase();
    onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
    await db.createCollection(
      "things",
      KEEPS_IMAGES ? { changeStreamPreAndPostImages: { enabled: true } } : {},
    );
    const redisUrl = `redis://127.0.0.1:${proxy.port}`;
    const options = { client, uri, database: name, redisUrl, bytes };
    await beforeNodes(options);
    const nodes = [await SourceNode.start(options), await SourceNode.start(options)];
    const fleet = new Fleet(options, { redis, proxy, skip }, nodes);
    await fleet.areReading("tail");
    return fleet;
  }

  get key(): string {
    return `tail-${this.options.database}:`;
  }

  async tailKeys(): Promise<string[]> {
    return (await this.redis.ask("KEYS", `${this.key}*`)) as string[];
  }

  async areReading(source: string, nodes = this.nodes): Promise<void> {
    for (const node of nodes) await expect.poll(() => node.reads(), PATIENCE).toBe(source);
  }

  /** All nodes have left the tail since `before` was taken. */
  async haveLeft(before: readonly number[], nodes = this.nodes): Promise<void> {
    for (const [index, node] of nodes.entries())
      await expect.poll(() => leftCount(node), PATIENCE).toBeGreaterThan(before[index] ?? 0);
  }

  async leader(): Promise<SourceNode> {
    const find = async () => {
      for (const node of this.nodes) if (await node.isLeader()) return node;
      return undefined;
    };
    await expect.poll(find, PATIENCE).toBeDefined();
    return (await find()) as SourceNode;
  }

  /** Waits for writes, then compares every node with the collection. */
  async judge(): Promise<void> {
    const { writes } = this.writer;
    await expect.poll(() => this.writer.writes, PATIENCE).toBeGreaterThan(writes + 20);
    await this.writer.stop();
    for (const node of this.nodes) await node.equalsFind(this.client, this.options.database);
  }
}

export async function leftCount(node: SourceNode): Promise<number> {
  const switches = await node.switches();
  return Object.entries(switches)
    .filter(([name]) => name.startsWith("mongodb ") && name !== "mongodb start")
    .reduce((sum, [, count]) => sum + count, 0);
}

/** Lets nodes wait before they accept their next batch. */
export function hold(nodes: readonly SourceNode[]): { reached: Promise<unknown>; release: () => void } {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = () => {
      for (const node of nodes) node.beforeAccept = async () => {};
      resolve();
    };
  });
  const reached = nodes.map(
    (node) =>
      new Promise<void>((resolve) => {
        node.beforeAccept = () => {
          resolve();
          return released;
        };
      }),
  );
  return { reached: Promise.all(reached), release };
}

/** A whole service in a process of its own, which fills the tail of the nodes in this process. */
export async function startLeader({
  uri,
  database,
  redisUrl = "",
}: SourceNodeOptions): Promise<SpawnedService> {
  const { mongodb, ...file } = testConfig(uri, database, {
    collections: { things: { rules: [{ name: "all" }] } },
    auth: { revocation: "off" },
    mongodb: { tail: { redis: { url: redisUrl, key: `tail-${database}`, bytes: "64MiB" } } },
  });
  const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
  const service = await spawnService({ config });
  await expect.poll(() => leads(service), PATIENCE).toBe(true);
  return service;
}

/** Whether the service fills the tail. */
export const leads = (service: SpawnedService): Promise<boolean> =>
  hasSample(service, "tidewire_tail_leader 1");

/** Whether the service reads the tail. */
export const readsTail = (service: SpawnedService): Promise<boolean> =>
  hasSample(service, 'tidewire_stream_source{source="tail"} 1');

/** How often the service has left the tail, by reason. It began to read MongoDB at its start, too, which does not count. */
export async function departures(service: SpawnedService): Promise<Record<string, number>> {
  const pattern = /^tidewire_tail_switches_total\{to="mongodb",reason="(?!start")([\w-]+)"\} (\d+)$/gm;
  const found = [...(await metricsOf(service)).matchAll(pattern)];
  return Object.fromEntries(found.map(([, reason = "", count]) => [reason, Number(count)]));
}

const hasSample = async (service: SpawnedService, line: string): Promise<boolean> =>
  (await metricsOf(service)).split("\n").includes(line);

async function metricsOf({ adminUrl }: SpawnedService): Promise<string> {
  return (await fetch(`${adminUrl}/metrics`)).text();
}

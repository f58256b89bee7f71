/** A change source whose sink keeps a copy of a collection, and judges every commit that it receives. */

import * as redis from "@redis/client";
import { BSON, type Document, type MongoClient, type ReadPreference, Timestamp } from "mongodb";
import { expect, onTestFinished } from "vitest";
import { isChangeEvent } from "../../src/source/change-event.ts";
import { ChangeSource } from "../../src/source/change-source.ts";
import { Deployment } from "../../src/source/deployment.ts";
import { EpochStore } from "../../src/source/epoch-store.ts";
import { answerOf } from "../../src/source/mongo.ts";
import type { CommitBatch } from "../../src/source/read-commits.ts";
import { readServerTime, ServerClock } from "../../src/source/server-clock.ts";
import { identifyDeployment } from "../../src/source/topology.ts";
import { guardParts } from "./guard-parts.ts";

/** For everything that takes seconds, except where the machine is busy with something else. */
export const PATIENCE = { timeout: 120_000, interval: 20 };

export interface SourceNodeOptions {
  readonly client: MongoClient;
  readonly uri: string;
  readonly database: string;
  /** `undefined` for a node that reads MongoDB alone. */
  readonly redisUrl?: string | undefined;
  /** Nodes with the same one share a tail. Default: all nodes of the database. */
  readonly key?: string;
  readonly bytes?: number;
  readonly startBeforeMs?: number;
  readonly readPreference?: ReadPreference;
  readonly collections?: readonly string[];
  readonly staleMs?: number;
}

const idOf = (key: Uint8Array) => BSON.EJSON.stringify(BSON.deserialize(key)["_id"]);

/** One node, as far as its change stream. */
export class SourceNode {
  readonly name: string;
  readonly source: ChangeSource;
  readonly metrics = guardParts().metrics;
  /** Faults: a commit twice, a version that does not follow the last one. */
  readonly faults: string[] = [];
  /** Called before each batch is accepted. */
  beforeAccept: () => Promise<void> = async () => {};
  losses = 0;
  /** Events by which a whole collection was replaced. */
  replacements = 0;
  #copy = new Map<string, Document>();
  #copiedAt = 0n;
  #seen = new Set<string>();
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  static #count = 0;

  private constructor(options: SourceNodeOptions) {
    const { client, uri, database, redisUrl, bytes = 64 * 1024 * 1024, readPreference } = options;
    this.name = `node-${++SourceNode.#count}-${process.pid}`;
    const { log } = guardParts();
    const parts = { log, metrics: this.metrics };
    const stateDatabase = client.db(`${database}-state`);
    const identify = async () => (await identifyDeployment(client)).id;
    const clock = new ServerClock(() => answerOf(client, () => readServerTime(client)), parts);
    const tail =
      redisUrl === undefined
        ? undefined
        : {
            options: { redis: { url: redisUrl, key: options.key ?? `tail-${database}`, bytes } },
            redis,
            holder: this.name,
            serverNowMs: () => clock.nowMs(),
          };
    this.source = new ChangeSource(
      {
        uri,
        connectTimeoutMs: 2_000,
        namespaces: (options.collections ?? ["things"]).map((name) => `${database}.${name}`),
        stateNamespaces: [],
        ruleNamespaces: [],
        startBeforeMs: options.startBeforeMs ?? 0,
        awaitTimeMs: 500,
        progressTimeoutMs: 5_000,
        checkpointIntervalMs: 200,
        images: true,
        onNotice: () => {},
        ...(readPreference === undefined ? {} : { readPreference }),
        ...(options.staleMs === undefined ? {} : { staleMs: options.staleMs }),
        tail,
      },
      {
        client,
        deployment: new Deployment(client, new EpochStore(stateDatabase), identify),
        stateDatabase,
        onMissingImage: () => {},
        node: this.name,
        sink: {
          lost: () => this.losses++,
          prepare: async () => {},
          begin: (_epoch, from) => this.#begin(client, database, from),
          accept: (batch) => this.#accept(batch),
        },
        ...parts,
      },
    );
  }

  /** Starts a node on an empty collection. It stops with the test. */
  static async start(options: SourceNodeOptions): Promise<SourceNode> {
    const node = new SourceNode(options);
    node.#running = node.source.run(node.#abort.signal);
    onTestFinished(() => node.stop());
    await expect.poll(() => node.source.state, PATIENCE).toBe("running");
    return node;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  /** `mongodb` or `tail`. */
  async reads(): Promise<string | undefined> {
    const { values } = await this.metrics.streamSource.get();
    return values.find(({ value }) => value === 1)?.labels["source"] as string | undefined;
  }

  async isLeader(): Promise<boolean> {
    const { values } = await this.metrics.tailLeader.get();
    return values[0]?.value === 1;
  }

  /** How often the node began to read a source, by `source reason`. */
  async switches(): Promise<Record<string, number>> {
    const { values } = await this.metrics.tailSwitches.get();
    return Object.fromEntries(
      values
        .filter(({ value }) => value > 0)
        .map(({ labels, value }) => [`${labels["to"]} ${labels["reason"]}`, value]),
    );
  }

  /** The copy equals the collection, and no commit was faulty. */
  async equalsFind(client: MongoClient, database: string): Promise<void> {
    const things = client.db(database).collection("things");
    const documents = await things.find().toArray();
    const wanted = Object.fromEntries(
      documents.map((document) => [BSON.EJSON.stringify(document._id), document["v"]]),
    );
    const held = () => Object.fromEntries([...this.#copy].map(([id, document]) => [id, document["v"]]));
    await expect.poll(held, PATIENCE).toEqual(wanted);
    expect(this.faults).toEqual([]);
    expect(this.losses).toBe(0);
  }

  /** Copies the collection as it is at one cluster time, like a snapshot of the service. */
  async #begin(client: MongoClient, database: string, from: bigint): Promise<void> {
    this.#copy = new Map();
    this.#seen = new Set();
    const { cursor } = await client.db(database).command({
      find: "things",
      batchSize: 10_000,
      readConcern: { level: "snapshot", afterClusterTime: new Timestamp(from) },
    });
    for (const document of cursor.firstBatch as Document[])
      this.#copy.set(BSON.EJSON.stringify(document["_id"]), document);
    this.#copiedAt = (cursor.atClusterTime as Timestamp).toBigInt();
  }

  async #accept(batch: CommitBatch): Promise<void> {
    await this.beforeAccept();
    for (const { identity, events, clusterTime } of batch.commits) {
      if (this.#seen.has(identity)) this.faults.push(`twice: ${identity}`);
      this.#seen.add(identity);
      if (clusterTime <= this.#copiedAt) continue;
      for (const event of events) {
        if (!isChangeEvent(event)) {
          this.#copy.clear();
          this.replacements++;
          continue;
        }
        const id = idOf(event.documentKey);
        const before = this.#copy.get(id);
        if (event.after === undefined) {
          if (before === undefined) this.faults.push(`delete of an unknown ${id}`);
          this.#copy.delete(id);
          continue;
        }
        const document = BSON.deserialize(event.after);
        // Each write to a document counts it up by one, so every lost or repeated one is noticed.
        const expected = before === undefined ? 1 : before["v"] + 1;
        if (document["v"] !== expected) this.faults.push(`${id}: ${document["v"]} after ${expected - 1}`);
        this.#copy.set(id, document);
      }
    }
  }
}

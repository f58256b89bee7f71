/**
 * Nodes of bench/fleet.mjs as far as their change stream, several in one process: each has its own clients of MongoDB, its own
 * connection to Redis, its own position and its own checkpoints. Or a bare change stream, which only notes when events arrive.
 */
import { createRequire } from "node:module";
import { dist, MongoClient, ROOT } from "./lib/product.mjs";
import { clockMs, serve } from "./lib/serve.mjs";

const { ChangeSource } = await dist("source/change-source.js");
const { RawChangeStream } = await dist("source/change-stream.js");
const { Deployment } = await dist("source/deployment.js");
const { EpochStore } = await dist("source/epoch-store.js");
const { isChangeEvent } = await dist("source/change-event.js");
const { identifyDeployment } = await dist("source/topology.js");
const { createMetrics } = await dist("metrics/metrics.js");
const require = createRequire(new URL("package.json", ROOT));
const { pino } = require("pino");
const log = pino({ level: process.env.BENCH_LOG ?? "silent" }, pino.destination(2));

/** Times of arrival, in the order of the events, if they are to be noted. */
class Arrivals {
  count = 0;
  times = null;

  arm(isNoting) {
    this.count = 0;
    this.times = isNoting ? [] : null;
  }

  take(events) {
    this.count += events;
    if (this.times === null || events === 0) return;
    const at = clockMs();
    for (let i = 0; i < events; i++) this.times.push(at);
  }
}

/** One node. Its options are the defaults of the configuration. */
class Node {
  arrivals = new Arrivals();
  metrics = createMetrics();
  #client;
  #source;
  #running;
  #abort = new AbortController();

  async start({ uri, database, name, redisUrl }) {
    this.#client = await new MongoClient(uri, { appName: name }).connect();
    const client = this.#client;
    const stateDatabase = client.db(`${database}-state`);
    const identify = async () => (await identifyDeployment(client)).id;
    this.#source = new ChangeSource(
      {
        uri,
        connectTimeoutMs: 2_000,
        namespaces: [`${database}.items`],
        stateNamespaces: [],
        ruleNamespaces: [],
        startBeforeMs: 0,
        awaitTimeMs: 1_000,
        progressTimeoutMs: 10_000,
        checkpointIntervalMs: 1_000,
        images: true,
        onNotice: () => {},
        tail: redisUrl === undefined ? undefined : await tailOf(redisUrl, database, name),
      },
      {
        client,
        deployment: new Deployment(client, new EpochStore(stateDatabase), identify),
        stateDatabase,
        onMissingImage: () => {},
        node: name,
        sink: {
          lost: () => log.error({ name }, "the position is lost"),
          prepare: async () => {},
          begin: async () => {},
          accept: async ({ commits }) => {
            let events = 0;
            for (const commit of commits) events += commit.events.filter(isChangeEvent).length;
            this.arrivals.take(events);
          },
        },
        log,
        metrics: this.metrics,
      },
    );
    this.#running = this.#source.run(this.#abort.signal);
  }

  /** `mongodb` or `tail`; `undefined` before the first answer. */
  async reads() {
    const { values } = await this.metrics.streamSource.get();
    const isUp = this.#source.state === "running";
    return isUp ? values.find(({ value }) => value === 1)?.labels.source : undefined;
  }

  async leads() {
    return (await this.metrics.tailLeader.get()).values[0]?.value === 1;
  }

  async stop() {
    this.#abort.abort();
    await this.#running;
    await this.#client.close();
  }
}

async function tailOf(url, database, holder) {
  const redis = await import("@redis/client");
  return {
    options: { redis: { url, key: database, bytes: 256 * 1024 * 1024 } },
    redis,
    holder,
    serverNowMs: () => Date.now(), // MongoDB runs on this machine
  };
}

/** A change stream as the node's own, without anything behind it. */
class BareStream {
  arrivals = new Arrivals();
  #client;
  #stream;
  #isStopped = false;

  async start({ uri, database }) {
    this.#client = await new MongoClient(uri).connect();
    const settings = { database, namespaces: [`${database}.items`], images: true, batchSize: 1_000 };
    const waits = { maxAwaitMs: 1_000, stallTimeoutMs: 30_000 };
    this.#stream = await RawChangeStream.open(this.#client, { now: true }, { ...settings, ...waits });
    await this.#stream.next(1); // the server finds its position only here
    void this.#run(); // a failure ends the process
  }

  async #run() {
    try {
      for (;;) this.arrivals.take((await this.#stream.next()).events.length);
    } catch (error) {
      if (!this.#isStopped) throw error;
    }
  }

  async stop() {
    this.#isStopped = true;
    this.#stream.close();
    await this.#client.close();
  }
}

let readers = [];

serve({
  ready: () => {},

  /** Starts nodes, or a bare stream. */
  async start({ count = 1, isBare = false, ...about }) {
    readers = Array.from({ length: count }, () => (isBare ? new BareStream() : new Node()));
    const name = (i) => `reader-${process.pid}-${i}-${about.database}`;
    await Promise.all(readers.map((reader, i) => reader.start({ ...about, name: name(i) })));
  },

  reads: () => Promise.all(readers.map((reader) => reader.reads())),

  leads: async () => (await Promise.all(readers.map((reader) => reader.leads()))).some((leads) => leads),

  /** Counts from here on. */
  arm({ isNoting }) {
    for (const { arrivals } of readers) arrivals.arm(isNoting);
  },

  /** The fewest and the most events that a reader has received. */
  received() {
    const counts = readers.map(({ arrivals }) => arrivals.count);
    return { least: Math.min(...counts), most: Math.max(...counts) };
  },

  times: () => readers.map(({ arrivals }) => Float64Array.from(arrivals.times)),

  async stop() {
    await Promise.all(readers.map((reader) => reader.stop()));
    readers = [];
  },
});

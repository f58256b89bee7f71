/**
 * Tidewire's own pipeline from the change stream to ready frames, with subscribers in the process instead of sockets:
 * for more live queries than one machine can open sockets for.
 */
import { pino } from "pino";
import { dist, MongoClient } from "../lib/product.mjs";
import { options, serve } from "../lib/serve.mjs";

const { Account } = await dist("feed/account.js");
const { Feed } = await dist("feed/feed.js");
const { FeedLimits, HistoryOptions } = await dist("feed/options.js");
const { UNCONDITIONAL } = await dist("feed/rights.js");
const { parseAggregate } = await dist("match/aggregate.js");
const { canonicalFilter } = await dist("match/canonical-filter.js");
const { parseFilter } = await dist("match/parse-filter.js");
const { EVERYTHING } = await dist("match/projection.js");
const { createMetrics } = await dist("metrics/metrics.js");
const { ChangeSource } = await dist("source/change-source.js");
const { Deployment } = await dist("source/deployment.js");
const { EpochStore } = await dist("source/epoch-store.js");
const { ensureImages } = await dist("source/images.js");
const { MongoSnapshots } = await dist("source/mongo-snapshots.js");
const { identifyDeployment } = await dist("source/topology.js");
const { joinFrames } = await dist("gateway/transports/ws-frames.js");

let received = 0;
let expected = 0;
let reached = () => {};

/** Makes the frames as a socket would, and counts them. */
const sink = {
  mode: "json",
  compression: null,
  write(chunk) {
    chunk.wire ??= joinFrames(chunk.messages);
    if (chunk.messages[0].type !== "snapshot") received += chunk.messages.length;
    if (received === expected) reached();
    return true;
  },
  room: async () => true,
  mayRead: async () => true,
  snapshotTurn: async () => () => {},
  reset: () => {},
  noteUnchanged: () => {},
  becameLive: () => {},
  failed: (error) => {
    throw error;
  },
};

const client = await new MongoClient(options.uri).connect();
const db = client.db(options.database);
await ensureImages(db, options.collection);
const stateDatabase = client.db(`${options.database}-${process.pid}`);
const log = pino({ level: "silent" });
const metrics = createMetrics();
const deployment = new Deployment(
  client,
  new EpochStore(stateDatabase),
  async () => (await identifyDeployment(client)).id,
);
const limits = FeedLimits.parse(options.limits ?? {});
const feed = new Feed(HistoryOptions.parse({}), limits, {
  reader: new MongoSnapshots(client),
  deployment,
  idleAgeMs: 2_000,
  readOplog: (from, signal) => source.read(from, signal),
  log,
  metrics,
});
const source = new ChangeSource(
  {
    uri: options.uri,
    connectTimeoutMs: 2_000,
    namespaces: [`${options.database}.${options.collection}`],
    stateNamespaces: [],
    ruleNamespaces: [],
    startBeforeMs: 0,
    awaitTimeMs: 1_000,
    progressTimeoutMs: 10_000,
    checkpointIntervalMs: 1_000,
    images: true,
    onNotice: () => {},
  },
  { client, deployment, stateDatabase, node: "bench", sink: feed, onMissingImage: () => {}, log, metrics },
);
const running = source.run(new AbortController().signal);
running.catch(() => process.exit(1));
while (!feed.timeline.isReady) await new Promise((resolve) => setTimeout(resolve, 5));

const terms = {
  rights: UNCONDITIONAL,
  account: new Account(limits, () => {}),
};

serve({
  ready: () => ({}),

  /**
   * @param sort Of all live queries. A sorted one knows its documents from its snapshot, which is not counted.
   * @param aggregate Of all live queries: they count, and know their rows from their snapshots.
   */
  async open({ filters, sort = null, aggregate }) {
    const wantsSnapshot = sort !== null || aggregate !== undefined;
    for (const filter of filters) {
      const parsed = parseFilter(filter, { regex: "prefix" });
      const delivery = feed.subscribe(
        {
          key: canonicalFilter(parsed),
          database: options.database,
          collectionName: options.collection,
          filter: parsed,
          projection: EVERYTHING,
          sort,
          limit: null,
          documents: "full",
          aggregate: aggregate === undefined ? null : parseAggregate(aggregate),
          requireIndex: false,
        },
        sink,
        { ...terms, wantsSnapshot },
      );
      await delivery.open({ snapshot: wantsSnapshot, resumeFrom: null, refused: null });
      delivery.run();
    }
  },

  arm({ deliveries }) {
    received = 0;
    expected = deliveries;
  },

  async done() {
    if (received < expected)
      await new Promise((resolve) => {
        reached = resolve;
      });
    return { received, lost: 0 };
  },

  seen: () => new Float64Array(),
});

/** A source and a feed on a real mongod, without gateway and sockets: what follows is joined by plain functions. */
import { pino } from "pino";
import { onTestFinished } from "vitest";
import { Feed } from "../../src/feed/feed.ts";
import type { LiveQuerySpec } from "../../src/feed/live-query-spec.ts";
import { FeedLimits, HistoryOptions } from "../../src/feed/options.ts";
import type { SliceClock } from "../../src/feed/slices.ts";
import { canonicalFilter } from "../../src/match/canonical-filter.ts";
import { parseFilter } from "../../src/match/parse-filter.ts";
import { EVERYTHING } from "../../src/match/projection.ts";
import type { Projection } from "../../src/match/projection-fields.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { ChangeSource } from "../../src/source/change-source.ts";
import type { CommitSink } from "../../src/source/commit-sink.ts";
import { Deployment } from "../../src/source/deployment.ts";
import { type Epoch, EpochStore } from "../../src/source/epoch-store.ts";
import { ensureImages } from "../../src/source/images.ts";
import { MongoSnapshots } from "../../src/source/mongo-snapshots.ts";
import type { CommitBatch } from "../../src/source/read-commits.ts";
import { identifyDeployment } from "../../src/source/topology.ts";
import { testDatabase } from "./mongod.ts";
import { KEEPS_IMAGES } from "./server-features.ts";

export const log = pino({ level: process.env["TIDEWIRE_TEST_LOG"] ?? "silent" });

export interface HarnessOptions {
  readonly collections?: readonly string[];
  /** Default: whether the server keeps any. */
  readonly images?: boolean;
  readonly history?: Partial<HistoryOptions>;
  readonly limits?: Partial<FeedLimits>;
  readonly sliceClock?: SliceClock;
}

export async function startFeed(options: HarnessOptions = {}) {
  const { client, db, name, uri } = await testDatabase();
  const { images = KEEPS_IMAGES, collections = ["things"] } = options;
  for (const collection of collections) {
    if (!images) await db.createCollection(collection);
    else await ensureImages(db, collection);
  }
  const stateDatabase = client.db(`${name}-state`);
  const metrics = createMetrics();
  const identify = async () => (await identifyDeployment(client)).id;
  const deployment = new Deployment(client, new EpochStore(stateDatabase), identify);
  const history = HistoryOptions.parse({ windowMs: 0, cursorStepMs: 0, ...options.history });
  const feed: Feed = new Feed({ ...history, windowMs: 300_000 }, FeedLimits.parse(options.limits ?? {}), {
    reader: new MongoSnapshots(client),
    deployment,
    readOplog: (from, signal) => source.read(from, signal),
    idleAgeMs: 400,
    log,
    metrics,
    ...(options.sliceClock === undefined ? {} : { sliceClock: options.sliceClock }),
  });
  const gate = new Gate(feed);
  const source: ChangeSource = new ChangeSource(
    {
      uri,
      connectTimeoutMs: 2_000,
      namespaces: collections.map((collection) => `${name}.${collection}`),
      stateNamespaces: [],
      ruleNamespaces: [],
      startBeforeMs: 0,
      awaitTimeMs: 200,
      progressTimeoutMs: 5_000,
      checkpointIntervalMs: 200,
      images: KEEPS_IMAGES,
      onNotice: () => {},
    },
    { client, deployment, stateDatabase, node: "test", sink: gate, onMissingImage: () => {}, log, metrics },
  );
  const abort = new AbortController();
  const running = source.run(abort.signal);
  onTestFinished(async () => {
    abort.abort();
    await running;
    feed.stop();
    await stateDatabase.dropDatabase();
  });
  while (!feed.timeline.isReady) await new Promise((resolve) => setTimeout(resolve, 5));

  const spec = (
    filter: object = {},
    projection: Projection = EVERYTHING,
    collection = "things",
    rest: Partial<Pick<LiveQuerySpec, "sort" | "limit" | "documents" | "requireIndex" | "aggregate">> = {},
  ): LiveQuerySpec => {
    const parsed = parseFilter(filter, { regex: "prefix" });
    const fields = JSON.stringify([[...projection.fields].map(([field]) => field), rest]);
    return {
      key: `${collection} ${canonicalFilter(parsed)} ${fields}`,
      database: name,
      collectionName: collection,
      filter: parsed,
      projection,
      sort: null,
      limit: null,
      documents: "full",
      aggregate: null,
      requireIndex: false,
      ...rest,
    };
  };
  return { client, db, name, uri, feed, gate, source, metrics, deployment, spec };
}

/** Between source and feed: a stream that is behind, for as long as a test wants. */
class Gate implements CommitSink {
  readonly #feed: Feed;
  #held: CommitBatch[] | undefined;

  constructor(feed: Feed) {
    this.#feed = feed;
  }

  lost(): void {
    this.#feed.lost();
  }

  prepare(clusterTime: bigint): Promise<void> {
    return this.#feed.prepare(clusterTime);
  }

  begin(epoch: Epoch, from: bigint): Promise<void> {
    return this.#feed.begin(epoch, from);
  }

  async accept(batch: CommitBatch): Promise<void> {
    if (this.#held === undefined) await this.#feed.accept(batch);
    else this.#held.push(batch);
  }

  hold(): void {
    this.#held = [];
  }

  async release(): Promise<void> {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const batch of held) await this.#feed.accept(batch);
  }
}

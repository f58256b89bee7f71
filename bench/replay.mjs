/**
 * The cost of a change between the answer of MongoDB and the ready frame, without sockets and without MongoDB: 5,000 events
 * are recorded once and replayed. For comparing two states of the code on a machine that is busy with something else.
 *   node bench/replay.mjs [live queries] [room | mixed] [rounds]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { documentsOf, mixedFilters } from "./lib/documents.mjs";
import { dist, MongoClient } from "./lib/product.mjs";
import { median } from "./lib/statistics.mjs";

const { Account } = await dist("feed/account.js");
const { Feed } = await dist("feed/feed.js");
const { FeedLimits, HistoryOptions } = await dist("feed/options.js");
const { joinFrames } = await dist("gateway/transports/ws-frames.js");
const { UNCONDITIONAL } = await dist("feed/rights.js");
const { canonicalFilter } = await dist("match/canonical-filter.js");
const { parseFilter } = await dist("match/parse-filter.js");
const { EVERYTHING } = await dist("match/projection.js");
const { createMetrics } = await dist("metrics/metrics.js");
const { RawChangeStream } = await dist("source/change-stream.js");
const { startEmbeddedMongod } = await dist("source/embedded-mongod.js");
const { ensureImages } = await dist("source/images.js");
const { readCommits } = await dist("source/read-commits.js");

const DATABASE = "replay";
const COLLECTION = "docs";
const EVENTS = 5_000;
const BATCH = 100;
const LIMITS = FeedLimits.parse({ workPerUserMs: 1_000, filterWorkPerUser: 1_000_000_000 });
/** Users share the live queries. One user alone would exceed the largest processing time that a user may have. */
const USERS = 8;

const queries = Number(process.argv[2] ?? 5_000);
const kind = process.argv[3] ?? "room";
const rounds = Number(process.argv[4] ?? 20);

async function record() {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-replay-"));
  const logger = { info: () => {}, warn: () => {}, error: () => {} };
  const mongod = await startEmbeddedMongod({ dataDir: directory, logger });
  const client = await new MongoClient(mongod.uri).connect();
  const db = client.db(DATABASE);
  await ensureImages(db, COLLECTION);
  const stream = await RawChangeStream.open(
    client,
    { now: true },
    {
      database: DATABASE,
      namespaces: [`${DATABASE}.${COLLECTION}`],
      images: true,
      batchSize: 1_000,
      maxAwaitMs: 1_000,
      stallTimeoutMs: 10_000,
    },
  );
  const batches = [];
  for (let from = 0; from < EVENTS; from += BATCH) {
    const documents = documentsOf(kind, BATCH, queries, from).map(({ document }) => document);
    await db.collection(COLLECTION).insertMany(documents, { writeConcern: { w: "majority" } });
    for (let got = 0; got < BATCH; ) {
      const batch = await stream.next();
      got += batch.events.length;
      batches.push(batch);
    }
  }
  stream.close();
  await client.close();
  await mongod.stop();
  await rm(directory, { recursive: true, force: true });
  return batches;
}

async function makeFeed(counted) {
  const feed = new Feed(HistoryOptions.parse({}), LIMITS, {
    idleAgeMs: 2_000,
    metrics: createMetrics(),
  });
  feed.begin({ id: "00000000", cursorKey: Buffer.alloc(16, 1) }, 1n);
  const sink = {
    mode: "json",
    compression: null,
    write(chunk) {
      chunk.wire ??= joinFrames(chunk.messages);
      counted.deliveries += chunk.messages.length;
      return true;
    },
    noteUnchanged: () => {},
    becameLive: () => {},
  };
  const users = Array.from({ length: USERS }, () => new Account(LIMITS, () => {}));
  const terms = { wantsSnapshot: false, rights: UNCONDITIONAL };
  const filters =
    kind === "mixed" ? mixedFilters(queries) : Array.from({ length: queries }, (_, room) => ({ room }));
  for (const [i, json] of filters.entries()) {
    const filter = parseFilter(json, { regex: "prefix" });
    const spec = { key: canonicalFilter(filter), database: DATABASE, collectionName: COLLECTION, filter };
    const rest = {
      projection: EVERYTHING,
      sort: null,
      limit: null,
      documents: "full",
      aggregate: null,
      requireIndex: false,
    };
    const delivery = feed.subscribe({ ...spec, ...rest }, sink, { ...terms, account: users[i % USERS] });
    await delivery.open({ snapshot: false, resumeFrom: null, refused: null });
    delivery.run();
  }
  return feed;
}

const cpuUs = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

const recorded = await record();
const counted = { deliveries: 0 };
const feed = await makeFeed(counted);
const read = [];
const accept = [];
for (let round = 0; round < rounds + 3; round++) {
  const batches = recorded.values();
  const stream = { next: async () => batches.next().value ?? { events: [], ended: true } };
  const startUs = cpuUs();
  const commits = [];
  for await (const batch of readCommits(stream, new Set([`${DATABASE}.${COLLECTION}`]))) commits.push(batch);
  const readUs = cpuUs();
  for (const batch of commits) await feed.accept(batch);
  // The first few rounds are cold.
  if (round < 3) continue;
  read.push((readUs - startUs) / EVENTS);
  accept.push((cpuUs() - readUs) / EVENTS);
}
feed.stop();
const deliveries = counted.deliveries / ((rounds + 3) * EVENTS);
console.log(
  `${queries} live queries (${kind}): read ${median(read).toFixed(2)} µs, accept ${median(accept).toFixed(2)} µs per change, ${deliveries.toFixed(2)} deliveries`,
);

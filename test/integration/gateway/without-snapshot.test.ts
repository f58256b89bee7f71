/** Sorted subscriptions and aggregates that begin without a snapshot: the service still reads their state, within its limits. */
import type { Db } from "mongodb";
import { afterEach, expect, test, vi } from "vitest";
import { SnapshotCursor } from "../../../src/source/snapshot-cursor.ts";
import { metricOf } from "../../support/metric.ts";
import { startTestService } from "../../support/service.ts";
import type { Received, WsClient } from "../../support/ws-client.ts";

afterEach(() => vi.restoreAllMocks());

/** The level of lines that need no attention. */
const INFO = 30;

const OPEN = { things: { rules: [{ name: "all" }] } };
const subscribe = { type: "subscribe", id: "a", collection: "things", snapshot: false };

type Thing = { _id: number; n: number; a?: unknown; b?: unknown };
const thingsOf = (db: Db) => db.collection<Thing>("things");
const numbered = (count: number, rest: object = {}) =>
  Array.from({ length: count }, (_, n): Thing => ({ _id: n, n, ...rest }));

/** Messages about the subscription, from its answer on. */
async function answers(client: WsClient, request: object): Promise<Received[]> {
  expect(await client.ask({ ...subscribe, ...request })).toMatchObject({ type: "subscribed", start: "live" });
  await client.until(({ type }) => type === "error");
  return client.received.filter(({ type }) => type !== "welcome" && type !== "watermark").slice(1);
}

/** Waits until the subscription is live, writes, and returns the change. */
async function changeAfter(
  client: WsClient,
  now: () => Promise<{ t: number; i: number }>,
  write: () => unknown,
) {
  await client.fence(await now());
  await write();
  return client.until(({ type }) => type === "changed" || type === "added");
}

const GROUPS = { limits: { aggregateGroups: 10 }, request: { aggregate: { by: "n" } } };
const SORTED = { limits: { snapshotDocuments: 10 }, request: { sort: [["n", 1]] } };
const BY_TWO = { limits: {}, request: { sort: [["a", 1], ["b", 1]] } }; // biome-ignore format: a pair per path

test.each([
  [
    "of more groups than limits.aggregateGroups",
    GROUPS,
    numbered(11),
    "snapshot-too-large",
    "aggregateGroups",
  ],
  [
    "sorted, of more documents than limits.snapshotDocuments",
    SORTED,
    numbered(11),
    "snapshot-too-large",
    "snapshotDocuments",
  ],
  ["sorted by two paths that hold arrays", BY_TWO, numbered(1, { a: [1], b: [2] }), "bad-filter", undefined],
] as const)(
  "[5] a subscription without a snapshot %s ends with the error of a snapshot, after one read",
  async (_name, { limits, request }, documents, code, limit) => {
    const lines: unknown[] = [];
    const { db, connect, settled } = await startTestService({
      collections: OPEN,
      limits,
      onLogLine: (line) => {
        if (Number(line["level"]) > INFO) lines.push(line);
      },
    });
    await thingsOf(db).insertMany(documents);
    await settled();
    const reads = vi.spyOn(SnapshotCursor.prototype, "next");
    const client = await connect({ sub: "u1" });
    const [error, ...rest] = await answers(client, request);
    expect(error).toMatchObject({
      type: "error",
      id: "a",
      code,
      retry: "never",
      ...(limit && { details: { limit } }),
    });
    expect(rest.filter(({ type }) => type !== "unsubscribed")).toEqual([]);
    expect(reads.mock.calls.length).toBeLessThanOrEqual(2);
    expect(lines).toEqual([]);
  },
);

test.each([
  ["of limits.aggregateGroups groups", GROUPS, numbered(10)],
  ["sorted, of limits.snapshotDocuments documents", SORTED, numbered(10)],
  ["sorted by two paths of which one holds an array", BY_TWO, numbered(1, { a: [1], b: 2 })],
] as const)(
  "[5] a subscription without a snapshot %s follows the changes",
  async (_name, { limits, request }, documents) => {
    const { db, connect, settled, now } = await startTestService({ collections: OPEN, limits });
    await thingsOf(db).insertMany(documents);
    await settled();
    const client = await connect({ sub: "u1" });
    await client.ask({ ...subscribe, ...request });
    const change = await changeAfter(client, now, () =>
      thingsOf(db).updateOne({ _id: 0 }, { $set: { n: -1 } }),
    );
    expect(change).toBeDefined();
    expect(client.received.filter(({ type }) => type === "reset" || type === "error")).toEqual([]);
  },
);

test("a result that grows over limits.snapshotDocuments while it is followed ends, and is not read again and again", async () => {
  const { db, connect, settled, now } = await startTestService({ collections: OPEN, limits: SORTED.limits });
  await thingsOf(db).insertMany(numbered(10));
  await settled();
  const client = await connect({ sub: "u1" });
  await client.ask({ ...subscribe, ...SORTED.request });
  await client.fence(await now());
  await thingsOf(db).insertOne({ _id: 10, n: 10 });
  expect(await client.until(({ type }) => type === "error")).toMatchObject({
    code: "snapshot-too-large",
    details: { limit: "snapshotDocuments" },
  });
  expect(client.received.filter(({ type }) => type === "reset")).toHaveLength(1);
});

test("[5] a capped collection has neither sorted results nor aggregates, also without a snapshot", async () => {
  const { db, connect, settled } = await startTestService({ collections: OPEN });
  await db.dropCollection("things");
  await db.createCollection("things", { capped: true, size: 100_000 });
  await settled();
  const client = await connect({ sub: "u1" });
  const [error] = await answers(client, { sort: [["n", 1]] });
  expect(error).toMatchObject({ type: "error", code: "bad-request", details: { path: "sort" } });
});

test("allow.requireIndex: a sorted subscription without a snapshot needs an index for its state", async () => {
  const { db, connect, settled, now } = await startTestService({
    collections: { things: { rules: [{ name: "indexed", allow: { requireIndex: true } }] } },
  });
  await thingsOf(db).insertMany(numbered(3));
  await settled();
  const client = await connect({ sub: "u1" });
  await client.ask({ ...subscribe, filter: { n: { $gte: 0 } }, sort: [["n", 1]] });
  expect(await client.until(({ type }) => type === "unsubscribed")).toMatchObject({ reason: "forbidden" });
  await thingsOf(db).createIndex({ n: 1, _id: 1 });
  await client.ask({ ...subscribe, id: "b", filter: { n: { $gt: 0 } }, sort: [["n", 1]] });
  expect(
    await changeAfter(client, now, () => thingsOf(db).updateOne({ _id: 1 }, { $set: { n: 5 } })),
  ).toMatchObject({ type: "changed" });
});

const { next } = SnapshotCursor.prototype;

/** Counts the batches that are being read. */
function measureConcurrency(): { readonly most: () => number } {
  let most = 0;
  let held = 0;
  vi.spyOn(SnapshotCursor.prototype, "next").mockImplementation(async function (this: SnapshotCursor) {
    most = Math.max(most, ++held);
    try {
      return await next.call(this);
    } finally {
      held--;
    }
  });
  return { most: () => most };
}

test.each([
  ["snapshotConcurrency", { snapshotConcurrency: 2, snapshotsPerConnection: 100 }],
  ["snapshotsPerConnection", { snapshotConcurrency: 100, snapshotsPerConnection: 2 }],
])("limits.%s bounds the reads of sorted subscriptions without a snapshot", async (_limit, limits) => {
  const { service, db, connect, settled, now } = await startTestService({ collections: OPEN, limits });
  // More than one batch.
  await thingsOf(db).insertMany(numbered(2_000));
  await settled();
  const reading = measureConcurrency();
  const client = await connect({ sub: "u1" });
  for (let index = 1; index <= 20; index++) {
    const filter = { n: { $ne: -index } };
    client.send({ ...subscribe, id: `${index}`, filter, sort: [["n", 1]] });
  }
  await client.fence(await now());
  expect(reading.most()).toBeLessThanOrEqual(2);
  expect(await metricOf(service, "tidewire_snapshot_reads")).toBe(0);
  expect(client.received.filter(({ type }) => type === "subscribed")).toHaveLength(20);
  expect(client.received.filter(({ type }) => type === "reset" || type === "error")).toEqual([]);
});

test.each([
  ["4MiB", "ends"],
  ["32MiB", "stays"],
])(
  "limits.userWindowBytes %s: a sorted subscription without a snapshot that reads ten megabytes for its state %s",
  async (userWindowBytes, outcome) => {
    const { service, db, connect, settled, now } = await startTestService({
      collections: OPEN,
      limits: { userWindowBytes },
    });
    await thingsOf(db).insertMany(numbered(2_000, { a: "x".repeat(5_000) }));
    await settled();
    const client = await connect({ sub: "u1" });
    // The state itself takes less than two megabytes.
    const request = { ...subscribe, sort: [["n", 1]] };
    expect(await client.ask(request)).toMatchObject({ type: "subscribed" });
    await client.fence(await now());
    const errors = client.received.filter(({ type }) => type === "error" || type === "reset");
    if (outcome === "stays") expect(errors).toEqual([]);
    else
      expect(errors).toMatchObject([
        { code: "too-many-subscriptions", details: { limit: "userWindowBytes" } },
      ]);
    await expect.poll(() => metricOf(service, "tidewire_window_read_bytes")).toBe(0);
  },
);

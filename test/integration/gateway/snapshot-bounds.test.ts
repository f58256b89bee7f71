/** Reads of MongoDB that take too long, and reads that no index serves. */
import { expect, test } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { startTestService, testConfig, toConfig } from "../../support/service.ts";

const OPEN = { things: { rules: [{ name: "all" }] } };
const INDEXED = {
  things: {
    rules: [{ name: "indexed", filter: { tenant: "%%user.tenant" }, allow: { requireIndex: true } }],
  },
};
const subscribe = { type: "subscribe", collection: "things" };

/** Enough documents that MongoDB checks its clock while it reads them; the clock itself moves in steps of 10 ms. */
const MANY = Array.from({ length: 30_000 }, (_, n) => ({
  _id: n as unknown as string,
  tenant: "t1",
  n,
  text: "x".repeat(50),
}));

/**
 * Matches no document, and MongoDB compares each document with every part: over all documents this takes some hundred
 * milliseconds.
 */
const SLOW = {
  $nor: [
    ...Array.from({ length: 45 }, (_, n) => ({ text: { $gt: `${"x".repeat(50)}${n}` } })),
    { text: { $gte: "x" } },
  ],
};

test("limits.snapshotTime: a read that takes longer is given up, says so, and frees its slot", async () => {
  const { service, db, connect } = await startTestService({
    collections: OPEN,
    limits: { snapshotTime: "1ms", snapshotConcurrency: 1, snapshotDocuments: 100_000 },
  });
  await db.collection<{ _id: string }>("things").insertMany(MANY);
  const client = await connect({ sub: "u1" });
  for (const id of ["a", "b"]) {
    // A sort is of no use as long as not all of it has been read.
    expect(
      await client.ask({ ...subscribe, id, sort: [["text", 1]], limit: 10, filter: SLOW }),
    ).toMatchObject({
      type: "error",
      code: "unavailable",
      retry: "later",
      details: { limit: "snapshotTime", value: 1 },
    });
  }
  expect(await metricOf(service, "tidewire_snapshot_reads")).toBe(0);
});

test("limits.snapshotTime: a sorted subscription without a snapshot ends if its state takes longer to read", async () => {
  const { db, connect, settled } = await startTestService({
    collections: OPEN,
    limits: { snapshotTime: "1ms", snapshotDocuments: 100_000 },
  });
  await db.collection<{ _id: string }>("things").insertMany(MANY);
  await settled();
  const client = await connect({ sub: "u1" });
  const request = { ...subscribe, id: "a", snapshot: false, sort: [["text", 1]], filter: SLOW };
  expect(await client.ask(request)).toMatchObject({ type: "subscribed" });
  expect(await client.until(({ type }) => type === "error" || type === "reset")).toMatchObject({
    type: "error",
    code: "unavailable",
    retry: "later",
    details: { limit: "snapshotTime", value: 1 },
  });
  expect(await client.until(({ type }) => type === "unsubscribed")).toMatchObject({ id: "a" });
});

test("limits.snapshotTime: the default is enough for the same read", async () => {
  const { db, connect } = await startTestService({
    collections: OPEN,
    limits: { snapshotDocuments: 100_000 },
  });
  await db.collection<{ _id: string }>("things").insertMany(MANY);
  const client = await connect({ sub: "u1" });
  const answer = await client.ask({
    ...subscribe,
    id: "a",
    sort: [["text", 1]],
    limit: 10,
    filter: SLOW,
  });
  expect(answer).toMatchObject({ type: "subscribed", start: "snapshot" });
});

test("limits.snapshotTime: a lookup of a rule that takes longer is given up as well", async () => {
  const { db, connect, now } = await startTestService({
    collections: {
      messages: {
        lookups: {
          rooms: { collection: "things", filter: { text: { $ne: "%%user.sub" }, ...SLOW }, value: "n" },
        },
        rules: [{ name: "member", filter: { roomId: { $in: "%%lookup.rooms" } } }],
      },
    },
    limits: { snapshotTime: "1ms" },
  });
  await db.collection<{ _id: string }>("things").insertMany(MANY);
  const client = await connect({ sub: "u1" });
  // A lookup is read at the head of the stream, which has to contain the documents.
  await client.fence(await now());
  expect(await client.ask({ type: "subscribe", id: "a", collection: "messages" })).toMatchObject({
    type: "error",
    code: "unavailable",
    message: expect.stringContaining("a lookup of the rule takes longer"),
    details: { limit: "snapshotTime", value: 1 },
  });
});

const refused = { type: "error", code: "forbidden", retry: "never", details: { part: "index" } };

test("allow.requireIndex: refuses a request that no index serves, sorts and branches of $or included", async () => {
  const { service, db, connect } = await startTestService({ collections: INDEXED });
  const things = db.collection("things");
  await things.insertMany([
    { tenant: "t1", n: 1, status: "open" },
    { tenant: "t2", n: 2, status: "done" },
  ]);
  const client = await connect({ sub: "u1", tenant: "t1" });
  let number = 0;
  const ask = (request: object) => client.ask({ ...subscribe, id: `${number++}`, ...request });
  expect(await ask({})).toMatchObject(refused);
  expect(await ask({ snapshot: false })).toMatchObject({ type: "subscribed", start: "live" });

  await things.createIndex({ tenant: 1 });
  // A request that was refused for lack of an index is sent again with another filter.
  expect(await ask({ filter: { n: { $gte: 0 } } })).toMatchObject({ type: "subscribed" });
  expect(await ask({ filter: { $or: [{ n: 1 }, { status: "open" }] } })).toMatchObject({
    type: "subscribed",
  });
  expect(await ask({ sort: [["n", 1]], limit: 5 })).toMatchObject(refused);
  await things.createIndex({ tenant: 1, status: 1, n: 1, _id: 1 });
  expect(await ask({ filter: { status: "open" }, sort: [["n", 1]], limit: 5 })).toMatchObject({
    type: "subscribed",
  });
  const asked = await metricOf(service, "tidewire_index_checks_total");
  expect(await ask({ filter: { n: { $gte: 7 } } })).toMatchObject({ type: "subscribed" });
  expect(await metricOf(service, "tidewire_index_checks_total")).toBe(asked + 1);
});

test("allow.requireIndex: an edit that adds it ends the subscriptions that no index serves, and no other", async () => {
  const rules = (requireIndex: boolean) => ({
    things: { rules: [{ name: "all", allow: { requireIndex } }] },
  });
  const { service, uri, name, db, connect } = await startTestService({ collections: rules(false) });
  const things = db.collection("things");
  await things.insertOne({ tenant: "t1", n: 1 });
  await things.createIndex({ tenant: 1 });
  const client = await connect({ sub: "u1" });
  await client.ask({ ...subscribe, id: "served", filter: { tenant: "t1" } });
  await client.ask({ ...subscribe, id: "not served", filter: { n: 1 } });
  await service.reload(toConfig(testConfig(uri, name, { collections: rules(true) })));
  expect(await client.until((got) => got.type === "unsubscribed")).toMatchObject({
    id: "not served",
    reason: "forbidden",
  });
  await expect
    .poll(() => client.received.filter((got) => got.type === "subscribed" && got.id === "served").length)
    .toBe(2);
  expect(client.received.filter(({ type }) => type === "unsubscribed")).toHaveLength(1);
});

test.each([
  ["64KiB", true],
  ["64MiB", false],
])(
  "limits.snapshotBytes %s: a lone reader receives the whole snapshot, whether sent batches go (%s) or stay",
  async (snapshotBytes, isShed) => {
    const { service, db, connect } = await startTestService({
      collections: OPEN,
      limits: { snapshotBytes, snapshotBatchBytes: "16KiB", snapshotDocuments: 100_000 },
    });
    await db.collection<{ _id: string }>("things").insertMany(MANY.slice(0, 5_000));
    const client = await connect({ sub: "u1" });
    expect(await client.ask({ ...subscribe, id: "a" })).toMatchObject({ type: "subscribed" });
    await client.until(({ type, last }) => type === "snapshot" && last === true);
    const batches = client.received.filter(({ type }) => type === "snapshot");
    expect(batches.flatMap(({ docs }) => docs as unknown[])).toHaveLength(5_000);
    expect((await metricOf(service, "tidewire_snapshots_shed_total")) > 0).toBe(isShed);
    expect(await client.ask({ ...subscribe, id: "b", filter: { n: 1 } })).toMatchObject({
      type: "subscribed",
    });
  },
);

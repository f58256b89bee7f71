/**
 * Values with keys that a serializer or JavaScript gives a meaning to, and `_id`s of every type: what the service asks
 * MongoDB is compared, byte by byte, with what the documents hold.
 */
import fc from "fast-check";
import type { Db, Document } from "mongodb";
import { expect, test, vi } from "vitest";
import { BSON_TYPE, type BsonValue, elementsOf } from "../../src/match/bson-value.ts";
import { compileFilter } from "../../src/match/compile-filter.ts";
import { encodeDocument } from "../../src/match/encode.ts";
import { parseFilter } from "../../src/match/parse-filter.ts";
import { EVERYTHING } from "../../src/match/projection.ts";
import { toMongo } from "../../src/match/to-mongo.ts";
import { valueKey } from "../../src/match/value-key.ts";
import { arrayOf, bytesOf, documentOf, int32, string } from "../../src/match/write-bson.ts";
import { RAW, readRawAnswer } from "../../src/source/raw-answer.ts";
import { SnapshotCursor } from "../../src/source/snapshot-cursor.ts";
import { startFeed } from "../support/feed-harness.ts";
import { testDatabase } from "../support/mongod.ts";
import { insertRaw } from "../support/raw-insert.ts";
import { follow } from "../support/recorder.ts";
import { SCALARS } from "./bson-samples.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const PATIENCE = { timeout: 60_000 };
const seed = startSeed("raw values");

const KEYS = ["_bsontype", "toBSON", "toJSON", "__proto__", "constructor", "then", "0", "1", "10"];
const KEYS_ALIKE = ["a", "A", "é", "e\u0301", "$ref", "$id", "$db", ""];
const key = fc.constantFrom(...KEYS, ...KEYS_ALIKE);

/** Leaves as JSON and as BSON. */
const leaf = fc.constantFrom<[unknown, BsonValue]>(
  [1, int32(1)],
  ["ObjectId", string("ObjectId")],
  ["Long", string("Long")],
  ["x", string("x")],
);
type Tree = { json: unknown; value: BsonValue };

/** Values as a client writes them and as a document holds them. A key never begins with `$` in a client's value. */
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 3 },
    { weight: 2, arbitrary: leaf.map(([json, value]) => ({ json, value })) },
    {
      weight: 1,
      arbitrary: fc.array(tie("tree"), { maxLength: 2 }).map((items) => ({
        json: items.map(({ json }) => json),
        value: arrayOf(items.map(({ value }) => value)),
      })),
    },
    {
      weight: 3,
      arbitrary: fc
        .uniqueArray(fc.tuple(key, tie("tree")), { maxLength: 3, selector: ([name]) => name })
        .map((fields) => fields.filter(([name]) => !name.startsWith("$") && !/^\d/.test(name)))
        .map((fields) => ({
          // Defined, because an assignment to `__proto__` would not make a field.
          json: Object.fromEntries(fields.map(([name, { json }]) => [name, json])),
          value: documentOf(fields.map(([name, { value }]) => [name, value] as const)),
        })),
    },
  ),
}));

/** By the path `p`, or by a path of one of the keys. */
const filterOf = fc
  .tuple(
    fc.constantFrom("p", "p", ...KEYS.filter((name) => name !== "__proto__")),
    fc.constantFrom("$eq", "$in", "$ne", "$elemMatch", "$gte", "$all"),
    tree,
    tree,
  )
  .map(([path, operator, { json }, other]) => {
    if (operator === "$in" || operator === "$all") return { [path]: { [operator]: [json, other.json] } };
    return { [path]: { [operator]: operator === "$elemMatch" ? { $eq: json } : json } };
  });

const rawFind = async (db: Db, filter: Document = {}) =>
  readRawAnswer(await db.command({ find: "things", filter, batchSize: 10_000 }, RAW)).documents;

const idsOf = (documents: readonly Uint8Array[]) =>
  documents.map((document) => valueKey([...elementsOf(document)][0]!)).sort();

test("a filter with any keys finds what it matches", async () => {
  const { client, db, name, uri } = await testDatabase();
  const documents = fc
    .sample(fc.tuple(tree, key, tree), { numRuns: 300, seed })
    .map(([p, field, other], id) =>
      bytesOf(
        documentOf([
          ["_id", int32(id)],
          ["p", p.value],
          ...(field.startsWith("$") ? [] : [[field, other.value] as const]),
        ]),
      ),
    );
  await insertRaw(uri, name, "things", documents);
  const stored = await rawFind(db);
  let found = 0;
  const property = fc.asyncProperty(filterOf, async (json) => {
    const filter = parseFilter(JSON.parse(JSON.stringify(json)), { regex: "prefix" });
    const query = { database: name, collection: "things", filter: toMongo(filter), maxTimeMs: 10_000 };
    const cursor = await SnapshotCursor.open(client, query, 1n);
    const answer = await cursor.next();
    cursor.close();
    expect(idsOf(answer)).toEqual(idsOf(stored.filter(compileFilter(filter))));
    if (answer.length > 0 && answer.length < stored.length) found++;
  });
  await fc.assert(property, { numRuns: 400 * FUZZ_FACTOR, seed });
  expect(found).toBeGreaterThan(50);
});

/** `_id`s that the server takes. */
function ids(): BsonValue[] {
  const refused: readonly number[] = [BSON_TYPE.regex, BSON_TYPE.undefined, BSON_TYPE.array];
  const scalars = SCALARS.map(({ value }) => value).filter(({ type }) => !refused.includes(type));
  const far = documentOf([
    ["d", { ...int32(0), type: BSON_TYPE.date, bytes: Buffer.from("ffffffffffffff7f", "hex"), end: 8 }],
  ]);
  const ordered = documentOf([
    ["b", int32(1)],
    ["1", int32(2)],
  ]);
  const others = fc.sample(tree, { numRuns: 150, seed }).map(({ value }) => value);
  const all = [...scalars, far, ordered, ...others.filter(({ type }) => type !== BSON_TYPE.array)];
  // Equal for the server, as 1 and 1.0 are.
  return [...new Map(all.map((id) => [valueKey(id), id])).values()];
}

test.each([
  ["without a collation", undefined],
  ["with a default collation", { locale: "en", strength: 1 }],
])("without images, changes of documents with any _id arrive one by one, %s", async (_name, collation) => {
  const { client, db, name, uri, feed, metrics, spec } = await startFeed({ images: false });
  await db.dropCollection("things");
  // A collation makes some of the strings equal.
  const all = ids().filter(
    ({ type }) => collation === undefined || (type !== BSON_TYPE.string && type !== BSON_TYPE.symbol),
  );
  await db.createCollection("things", collation === undefined ? {} : { collation });
  const pad = string("x".repeat(20_000));
  const documents = all.map((id, n) =>
    bytesOf(
      documentOf([
        ["_id", id],
        ["n", int32(n)],
        ["pad", pad],
      ]),
    ),
  );
  await insertRaw(uri, name, "things", documents);
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  await feed.timeline.reached(operationTime.toBigInt(), 120_000);
  const reads = vi.spyOn(SnapshotCursor, "readAt");
  const whole = await follow(feed, spec({ n: { $gte: 0 } }));
  const first = await follow(
    feed,
    spec({ n: { $gte: 0 } }, undefined, "things", { sort: [["n", 1]], limit: 3 }),
  );
  await expect.poll(() => whole.sink.live + first.sink.live, PATIENCE).toBe(2);
  const things = db.collection<{ n: number }>("things");
  await things.updateMany({}, { $set: { v: 1 } });
  await things.updateMany({ n: { $mod: [3, 0] } }, { $mul: { n: -1 } });
  await things.deleteMany({ n: { $gte: 0, $lt: 30 } });
  await things.insertOne({ n: 1_000_000 });
  const last = () => [...whole.sink.state.values()].some((doc) => (doc as { n: number }).n === 1_000_000);
  await expect.poll(last, PATIENCE).toBe(true);
  await first.delivery.liveQuery.state.reaches(feed.timeline.headSeq);
  const encoded = (await rawFind(db, { n: { $gte: 0 } })).map(
    (document) => JSON.parse(encodeDocument(document, EVERYTHING, "ejson")) as { _id: unknown; n: number },
  );
  expect(whole.sink.state).toEqual(new Map(encoded.map((doc) => [JSON.stringify(doc._id), doc])));
  const smallest = encoded.toSorted((a, b) => a.n - b.n).slice(0, 3);
  expect(first.sink.order.map((id) => first.sink.state.get(id))).toEqual(smallest);
  for (const { sink } of [whole, first])
    expect(sink.messages.filter(({ type }) => type === "reset")).toEqual([]);
  expect((await metrics.imagesUnreadable.get()).values[0]?.value ?? 0).toBe(0);
  const byId = reads.mock.calls.filter(
    ([, query]) => query.sort === undefined && query.filter instanceof Uint8Array,
  );
  expect(byId.length, "documents that a window asked for by their _id").toBeGreaterThan(0);
});

test("without images, the read of a changed document uses the index of _id, also under a default collation", async () => {
  const { db, feed, spec } = await startFeed({ images: false });
  await db.dropCollection("things");
  await db.createCollection("things", { collation: { locale: "en", strength: 1 } });
  const things = db.collection<{ _id: string; n: number }>("things");
  await things.insertMany(["a", "b", "É"].map((_id) => ({ _id, n: 0 })));
  const { sink } = await follow(feed, spec({ n: { $gte: 0 } }));
  await expect.poll(() => sink.live, PATIENCE).toBe(1);
  // Equal to "a" under the collation: the one is gone when the other has come.
  await things.deleteOne({ _id: "a" });
  await things.insertOne({ _id: "A", n: 1 });
  await things.updateOne({ _id: "É" }, { $set: { n: 2 } });
  await expect
    .poll(() => [...sink.state.values()].map((doc) => (doc as { _id: string })._id).toSorted(), PATIENCE)
    .toEqual(["A", "b", "É"]);
  await expect.poll(() => sink.state.get('"É"'), PATIENCE).toEqual({ _id: "É", n: 2 });
  const uses = async () => {
    const [index] = await things.aggregate<{ accesses: { ops: bigint } }>([{ $indexStats: {} }]).toArray();
    return Number(index?.accesses.ops);
  };
  const before = await uses();
  await things.updateMany({}, { $inc: { n: 10 } });
  await expect.poll(() => sink.state.get('"b"'), PATIENCE).toEqual({ _id: "b", n: 10 });
  // The state before and after each of three documents.
  expect(await uses()).toBeGreaterThanOrEqual(before + 6);
});

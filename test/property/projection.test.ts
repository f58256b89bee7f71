/** Projections, their intersections and comparison against the server's own. */
import fc from "fast-check";
import { BSON, type Document } from "mongodb";
import { beforeAll, expect, test } from "vitest";
import { fromJs } from "../../src/match/bson-value.ts";
import { encodeDocument } from "../../src/match/encode.ts";
import {
  canonicalProjection,
  EVERYTHING,
  excludeProjection,
  includeProjection,
  intersectProjections,
  isHiddenPath,
  projectedEqual,
} from "../../src/match/projection.ts";
import type { Projection } from "../../src/match/projection-fields.ts";
import { documentTree, toDocument } from "./bson-samples.ts";
import { ownCollection } from "./own-collection.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const DOCUMENTS = 300;
const PROJECTIONS = 150 * FUZZ_FACTOR;

const { db, collection, insert } = await ownCollection("projection");
let documents: Buffer[];
const seed = startSeed("projection");

beforeAll(async () => {
  documents = fc
    .sample(documentTree, { numRuns: DOCUMENTS, seed })
    .map((tree, id) => toDocument(tree, fromJs(id)));
  await insert(documents);
});

const PATHS = [
  "a",
  "b",
  "c",
  "a.a",
  "a.b",
  "a.c",
  "b.a",
  "b.b",
  "a.a.a",
  "a.b.a",
  "a.b.b",
  "0",
  "a.0",
  "a.b.0",
  "b.1",
];
/** Paths of which none is part of another, as both the server and we demand. */
const paths = fc
  .uniqueArray(fc.constantFrom(...PATHS), { minLength: 1, maxLength: 4 })
  .filter((list) => list.every((one) => list.every((other) => !other.startsWith(`${one}.`))));

const included = paths.map((list) => ({
  projection: includeProjection(list),
  stage: Object.fromEntries(list.map((path) => [path, 1])),
}));
const excluded = paths.map((list) => ({
  projection: excludeProjection(list),
  stage: Object.fromEntries(list.map((path) => [path, 0])),
}));
const either = fc.oneof(included, excluded);

async function encodedByServer(stages: readonly Document[]): Promise<string[]> {
  const pipeline = [{ $sort: { _id: 1 } }, ...stages.map(($project) => ({ $project }))];
  // Raw, so that no type is lost on the way.
  const found = await collection.aggregate(pipeline, { raw: true, batchSize: 10_000 }).toArray();
  // With `raw` the driver gives bytes, whatever its types say.
  return found.map((document) => encodeDocument(document as unknown as Uint8Array, EVERYTHING, "ejson"));
}

const encoded = (projection: Projection) =>
  documents.map((document) => encodeDocument(document, projection, "ejson"));

test("shows exactly what the server's projection shows, inclusion or exclusion", async () => {
  const property = fc.asyncProperty(either, async ({ projection, stage }) => {
    const found = await collection.find({}, { projection: stage, sort: { _id: 1 }, raw: true }).toArray();
    // As above.
    const expected = found.map((document) =>
      encodeDocument(document as unknown as Uint8Array, EVERYTHING, "ejson"),
    );
    expect(encoded(projection)).toEqual(expected);
  });
  await fc.assert(property, { numRuns: PROJECTIONS, seed });
});

test("a field whose name contains a dot is shown and hidden as by the server, and never by an inclusion of the path", async () => {
  const dotted = { "a.b": 1, a: { b: 2, "b.c": 3, c: [{ b: 4, "b.c": 5 }] }, "a.b.c": 6, z: 7 };
  const own = db.collection<{ _id: number }>("dotted");
  await own.insertOne({ _id: 1, ...dotted });
  const document = BSON.serialize({ _id: 1, ...dotted });
  const lists = [["a.b"], ["a.b.c"], ["a"], ["a.c"], ["a.c.b"], ["z"], ["a.b", "z"]];
  for (const list of lists) {
    for (const [make, value] of [[includeProjection, 1] as const, [excludeProjection, 0] as const]) {
      const projection = Object.fromEntries(list.map((path) => [path, value]));
      const found = await own.find({}, { projection }).toArray();
      expect(JSON.parse(encodeDocument(document, make(list), "json"))).toEqual(found[0]);
    }
    const shown = Object.keys(JSON.parse(encodeDocument(document, includeProjection(list), "json")));
    expect(shown.filter((name) => name.includes("."))).toEqual([]);
  }
});

test("an intersection shows what the server shows when it applies one after the other", async () => {
  const property = fc.asyncProperty(either, either, async (one, other) => {
    const both = intersectProjections(one.projection, other.projection);
    expect(encoded(both)).toEqual(await encodedByServer([one.stage, other.stage]));
    const swapped = intersectProjections(other.projection, one.projection);
    expect(canonicalProjection(swapped)).toBe(canonicalProjection(both));
  });
  await fc.assert(property, { numRuns: PROJECTIONS, seed });
});

test("two documents are equal under a projection iff the same bytes of both are visible", async () => {
  const property = fc.asyncProperty(either, either, async (one, other) => {
    const projection = intersectProjections(one.projection, other.projection);
    const pipeline = [
      { $sort: { _id: 1 } },
      { $set: { _id: 0 } },
      { $project: one.stage },
      { $project: other.stage },
    ];
    const found = await collection.aggregate(pipeline, { raw: true, batchSize: 10_000 }).toArray();
    const sameId = documents.map((document) => withId(document));
    for (let i = 1; i < documents.length; i++) {
      // As above; and neighbours in the list exist, as the loop counts them.
      const [left, right] = [found[i - 1], found[i]] as unknown as [Uint8Array, Uint8Array];
      const [before, after] = [sameId[i - 1], sameId[i]] as [Uint8Array, Uint8Array];
      expect(projectedEqual(projection, before, after)).toBe(Buffer.compare(left, right) === 0);
    }
  });
  await fc.assert(property, { numRuns: PROJECTIONS / 3, seed });
});

/** The `_id` is the int32 behind "_id" in each of our documents. */
function withId(document: Buffer): Buffer {
  const copy = Buffer.from(document);
  copy.writeInt32LE(0, 9);
  return copy;
}

test("a field that is not visible never lies on a path that is allowed", () => {
  const property = fc.property(
    either,
    either,
    fc.constantFrom(...PATHS),
    documentTree,
    (one, other, path, tree) => {
      const projection = intersectProjections(one.projection, other.projection);
      fc.pre(!isHiddenPath(projection, path));
      // Then whatever `find` could tell about the path, it could tell from the visible document.
      const whole = toDocument(tree);
      const visible = BSON.serialize(JSON.parse(encodeDocument(whole, projection, "json")));
      const decoded = BSON.serialize(JSON.parse(encodeDocument(whole, EVERYTHING, "json")));
      expect(valuesAt(visible, path)).toEqual(valuesAt(decoded, path));
    },
  );
  fc.assert(property, { numRuns: 3_000 * FUZZ_FACTOR, seed });
});

/** All that a path may find, whether it enters arrays by index or not. */
function valuesAt(document: Uint8Array, path: string): unknown[] {
  let values: unknown[] = [BSON.deserialize(document)];
  for (const part of path.split(".")) {
    values = values.flatMap((value) => step(value, part));
  }
  return values;
}

function step(value: unknown, part: string): unknown[] {
  if (Array.isArray(value))
    return value.flatMap((element) => step(element, part)).concat(value[Number(part)] ?? []);
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return [];
  return [Reflect.get(value, part)];
}

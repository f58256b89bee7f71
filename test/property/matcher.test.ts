/** The matcher against its specification, the server's `find`. */
import fc from "fast-check";
import { BSON, type Document } from "mongodb";
import { expect, test } from "vitest";
import { PredicateIndex } from "../../src/feed/predicate-index.ts";
import { fromJs } from "../../src/match/bson-value.ts";
import { compileFilter } from "../../src/match/compile-filter.ts";
import type { Filter } from "../../src/match/filter.ts";
import { compileFilterInSteps } from "../../src/match/filter-steps.ts";
import { parseFilter } from "../../src/match/parse-filter.ts";
import { runThrough } from "../../src/match/steps.ts";
import { toMongo } from "../../src/match/to-mongo.ts";
import { TidewireError } from "../../src/protocol/errors.ts";
import type { ChangeEvent } from "../../src/source/change-event.ts";
import { rawField } from "../../src/source/raw-field.ts";
import { plainFilter } from "../support/plain-filter.ts";
import { CHECKS_ARGUMENTS_LIKE_US } from "../support/server-features.ts";
import { MATCHER_CASES } from "../unit/match/matcher-cases.ts";
import { documentTree, isLiteral, toDocument, toJson, valueTree } from "./bson-samples.ts";
import { filterJson, path } from "./filter-samples.ts";
import { ownCollection } from "./own-collection.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const { EJSON } = BSON;

const DOCUMENTS = 400;
const FILTERS = 300;
const BATCHES = 2 * FUZZ_FACTOR;

const { collection, db, insert } = await ownCollection("matcher");

/** The ids that `find` gives, or the reason for which the server refuses the filter. */
async function find(filter: Document): Promise<Set<number> | string> {
  try {
    const found = await collection.find(filter, { projection: { _id: 1 }, batchSize: 10_000 }).toArray();
    return new Set(found.map(({ _id }) => Number(_id)));
  } catch (error) {
    return String(error);
  }
}

/** As `find`, by the bytes that the service sends. */
async function findByBytes(filter: Uint8Array): Promise<Set<number> | string> {
  const command = { find: collection.collectionName, ...rawField("filter", filter), batchSize: 10_000 };
  const answer = await db.command({ ...command, projection: { _id: 1 } });
  return new Set((answer["cursor"].firstBatch as { _id: number }[]).map(({ _id }) => Number(_id)));
}

/** Extended JSON as the driver's values; `$regex`, which is an operator to us, is left as it is. */
function revive(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(revive);
  if (typeof json !== "object" || json === null) return json;
  const entries = Object.entries(json);
  if (entries.some(([key]) => WRAPPER.test(key))) {
    return EJSON.parse(JSON.stringify({ json }), { relaxed: false }).json;
  }
  return Object.fromEntries(entries.map(([key, value]) => [key, revive(value)]));
}

const WRAPPER = /^\$(?:oid|date|number\w+|binary|timestamp|minKey|maxKey|regularExpression)$/;

function parse(input: unknown): Filter | string {
  try {
    return parseFilter(input, { regex: "prefix", maxDepth: 20, maxPredicates: 1_000, maxValues: 10_000 });
  } catch (error) {
    if (!(error instanceof TidewireError)) throw error;
    return error.message;
  }
}

function differences(documents: readonly Buffer[], matched: Set<number>, found: Set<number>): string[] {
  return documents.flatMap((document, id) => {
    if (matched.has(id) === found.has(id)) return [];
    const decoded = BSON.deserialize(document, { promoteValues: false, validation: { utf8: false } });
    const text = EJSON.stringify(decoded, { relaxed: false });
    return [`find says ${found.has(id)}: ${text}`];
  });
}

async function insertDocuments(seed: number): Promise<Buffer[]> {
  const documents = fc
    .sample(documentTree, { numRuns: DOCUMENTS, seed })
    .map((tree, id) => toDocument(tree, fromJs(id)));
  await collection.deleteMany({});
  await insert(documents);
  return documents;
}

test("matches exactly the documents that find gives, for any filter, value and document", async () => {
  const seed = startSeed("matcher");
  let accepted = 0;
  for (let batch = 0; batch < BATCHES; batch++) {
    const documents = await insertDocuments(seed + batch);
    const property = fc.asyncProperty(filterJson, async (input) => {
      const filter = parse(input);
      let found = await find(revive(input) as Document);
      // A server with other checks of its own judges what the service sends, which it has to accept.
      if (!CHECKS_ARGUMENTS_LIKE_US && (typeof filter === "string") !== (typeof found === "string")) {
        if (typeof filter === "string") return;
        found = await findByBytes(toMongo(filter));
      }
      if (typeof filter === "string" || typeof found === "string") {
        expect([typeof filter, typeof found], `we: ${String(filter)}, the server: ${String(found)}`).toEqual([
          "string",
          "string",
        ]);
        return;
      }
      accepted++;
      const matches = compileFilter(filter);
      const matched = new Set(documents.flatMap((document, id) => (matches(document) ? [id] : [])));
      expect(differences(documents, matched, found)).toEqual([]);
      const inSteps = compileFilterInSteps(filter, 0);
      const matchedInSteps = new Set(
        documents.flatMap((document, id) => (runThrough(inSteps(document)) ? [id] : [])),
      );
      expect(differences(documents, matchedInSteps, found), "in steps").toEqual([]);
      expect(await findByBytes(toMongo(filter)), "what we send to the server").toEqual(found);
    });
    await fc.assert(property, { numRuns: FILTERS, seed: seed + batch });
  }
  console.log(`matcher: ${accepted} filters, ${accepted * DOCUMENTS} pairs`);
  expect(accepted * DOCUMENTS).toBeGreaterThan(20_000);
});

const insertOf = (after: Uint8Array | undefined): ChangeEvent => ({
  operation: "insert",
  namespace: "db.c",
  documentKey: BSON.serialize({ _id: 1 }),
  before: undefined,
  after,
});
/** Concerns everything. */
const WITHOUT_IMAGE = insertOf(undefined);

test("a document fulfils an equality iff the index of filters finds it", () => {
  const seed = startSeed("equality in the index");
  const literal = valueTree.filter(isLiteral).map(toJson);
  const property = fc.property(
    path,
    literal,
    fc.array(documentTree, { minLength: 20, maxLength: 20 }),
    (at, value, trees) => {
      const filter = parseFilter({ [at]: { $eq: value } }, { regex: "prefix" });
      const index = new PredicateIndex<object>();
      index.add({}, filter);
      const matches = compileFilter(filter);
      for (const tree of trees) {
        const document = toDocument(tree);
        expect(index.candidates([insertOf(document)]).size === 1).toBe(matches(document));
      }
    },
  );
  fc.assert(property, { numRuns: 2_000 * FUZZ_FACTOR, seed });
});

test("whatever fulfils a filter is found by the index of filters", () => {
  const seed = startSeed("filters in the index");
  const property = fc.property(
    fc.array(filterJson, { minLength: 1, maxLength: 20 }),
    fc.array(documentTree, { minLength: 20, maxLength: 20 }),
    (all, trees) => {
      const index = new PredicateIndex<Filter>();
      for (const json of all) {
        const filter = parse(json);
        if (typeof filter !== "string") index.add(filter, filter);
      }
      const filters = [...index.candidates([WITHOUT_IMAGE])];
      for (const tree of trees) {
        const document = toDocument(tree);
        const found = new Set(index.candidates([insertOf(document)]));
        for (const filter of filters) if (compileFilter(filter)(document)) expect(found).toContain(filter);
      }
    },
  );
  fc.assert(property, { numRuns: 200 * FUZZ_FACTOR, seed });
});

test("the server agrees with every case of the table", async () => {
  for (const [filter, document, expected] of MATCHER_CASES) {
    await collection.deleteMany({});
    await collection.insertOne({ ...EJSON.parse(JSON.stringify(document), { relaxed: false }), _id: 1 });
    const ours = plainFilter(parseFilter(filter, { regex: "subset" }));
    for (const query of [ours, revive(filter) as Document]) {
      expect((await collection.findOne(query)) !== null, JSON.stringify([filter, document])).toBe(expected);
    }
  }
});

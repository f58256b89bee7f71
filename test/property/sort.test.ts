/** Sorts against the server's `find().sort()`. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { fromJs } from "../../src/match/bson-value.ts";
import { compileSort } from "../../src/match/sort.ts";
import { runThrough } from "../../src/match/steps.ts";
import type { SortSpec } from "../../src/protocol/messages.ts";
import { documentTree, toDocument } from "./bson-samples.ts";
import { ownCollection } from "./own-collection.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

/** Few at a time: one document that the server refuses to sort (parallel arrays) spoils the query. */
const DOCUMENTS = 12;
const COLLECTIONS = 40 * FUZZ_FACTOR;
const SORTS = 25;

const { collection, insert } = await ownCollection("sort");

const PATHS = [
  ...["a", "b", "a.a", "a.b", "b.a", "a.0", "a.1", "a.b.a", "a.0.b", "a.b.0", "0", "_id"],
  ...["a.0.0", "a.0.0.a", "a.0.1", "a.1.0.b", "a.0.0.0"],
];
const spec: fc.Arbitrary<SortSpec> = fc.uniqueArray(
  fc.tuple(fc.constantFrom(...PATHS), fc.constantFrom<1 | -1>(1, -1)),
  { minLength: 1, maxLength: 3, selector: ([path]) => path },
);

test("puts documents in the order in which find gives them, ties broken by _id", async () => {
  const seed = startSeed("sort");
  let sorted = 0;
  for (let round = 0; round < COLLECTIONS; round++) {
    const documents = fc
      .sample(documentTree, { numRuns: DOCUMENTS, seed: seed + round })
      .map((tree, id) => toDocument(tree, fromJs(id)));
    await collection.deleteMany({});
    await insert(documents);
    const property = fc.asyncProperty(spec, async (paths) => {
      const withId = paths.some(([path]) => path === "_id") ? paths : [...paths, ["_id", 1] as const];
      const found = await collection
        // The text of an error may quote what is not UTF-8.
        .find({}, { projection: { _id: 1 }, enableUtf8Validation: false })
        .sort(new Map(withId))
        .toArray()
        .catch((error: unknown) => String(error));
      // Parallel arrays, and a name that is an index and a field at once.
      if (typeof found === "string") {
        expect(found).toMatch(/parallel arrays|Ambiguous field name/);
        return;
      }
      sorted++;
      const sort = compileSort(paths);
      const keys = documents.map((document, id) => ({ id, key: sort.key(document) }));
      for (const { id, key } of keys)
        expect(runThrough(sort.keyInSteps(documents[id] as Buffer)), "in steps").toEqual(key);
      const ours = keys.toSorted((a, b) => sort.compare(a.key, b.key)).map(({ id }) => id);
      expect(ours).toEqual(found.map(({ _id }) => Number(_id)));
    });
    await fc.assert(property, { numRuns: SORTS, seed: seed + round });
  }
  console.log(`sort: ${sorted} sorts of ${DOCUMENTS} documents`);
  expect(sorted).toBeGreaterThan((COLLECTIONS * SORTS) / 4);
});

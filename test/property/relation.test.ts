/** The computed relation of two filters or projections, checked against documents. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { compileFilter } from "../../src/match/compile-filter.ts";
import type { Filter } from "../../src/match/filter.ts";
import { parseFilter } from "../../src/match/parse-filter.ts";
import { compareFilters } from "../../src/match/relation.ts";
import { TidewireError } from "../../src/protocol/errors.ts";
import { documentTree, toDocument } from "./bson-samples.ts";
import { filterJson } from "./filter-samples.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

function parse(input: unknown): Filter | null {
  try {
    return parseFilter(input, { regex: "prefix", maxDepth: 20, maxPredicates: 1_000, maxValues: 10_000 });
  } catch (error) {
    if (!(error instanceof TidewireError)) throw error;
    return null;
  }
}

type Json = Readonly<Record<string, unknown>>;

/** Pairs that often have something to do with each other, as an edit of a rule does. */
const edit: fc.Arbitrary<readonly [Json, Json]> = fc.oneof(
  fc.tuple(filterJson, filterJson),
  fc.tuple(filterJson, filterJson).map(([a, b]) => [a, { $and: [a, b] }] as const),
  fc.tuple(filterJson, filterJson).map(([a, b]) => [{ $or: [a, b] }, b] as const),
  fc.tuple(filterJson, filterJson).map(([a, b]) => [{ $nor: [a, b] }, { $nor: [b] }] as const),
  fc
    .tuple(filterJson, filterJson)
    .map(([a, b]) => [{ $and: [{ $or: [a, b] }, b] }, { $or: [b, { $and: [a, b] }] }] as const),
  // The same path twice: sets, ranges and negations of each other.
  fc
    .tuple(filterJson, filterJson, fc.constantFrom("a", "b", "a.b"))
    .map(([a, b, path]) => [{ [path]: Object.values(a)[0] }, { [path]: Object.values(b)[0] }] as const),
);

test("what a filter is said to show of another's documents, it shows of any", () => {
  const seed = startSeed("relation");
  const documents = fc.sample(documentTree, { numRuns: 400, seed }).map((tree) => toDocument(tree));
  const found = { equal: 0, narrower: 0, wider: 0, other: 0 };
  const property = fc.property(edit, ([a, b]) => {
    const [from, to] = [parse(a), parse(b)];
    if (from === null || to === null) return;
    const relation = compareFilters(from, to);
    found[relation]++;
    const [matchesFrom, matchesTo] = [compileFilter(from), compileFilter(to)];
    for (const document of documents) {
      const [was, is] = [matchesFrom(document), matchesTo(document)];
      if (relation === "equal") expect(is).toBe(was);
      if (relation === "narrower" && is) expect(was).toBe(true);
      if (relation === "wider" && was) expect(is).toBe(true);
    }
  });
  fc.assert(property, { numRuns: 1_500 * FUZZ_FACTOR, seed });
  console.log(`relation: ${JSON.stringify(found)}`);
  for (const count of Object.values(found)) expect(count).toBeGreaterThan(20);
});

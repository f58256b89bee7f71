import fc from "fast-check";
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { bindFilter } from "../../../src/match/bind-filter.ts";
import { toBson } from "../../../src/match/bson-value.ts";
import { canonicalFilter } from "../../../src/match/canonical-filter.ts";
import type { Filter } from "../../../src/match/filter.ts";
import { filterCost } from "../../../src/match/filter-cost.ts";
import { filterPaths } from "../../../src/match/filter-paths.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { filterToBson } from "../../../src/match/to-mongo.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { filterJson } from "../../property/filter-samples.ts";
import { startSeed } from "../../property/seed.ts";

const seed = startSeed("filters");
const LIMITS = { maxDepth: 50, maxPredicates: 10_000, maxValues: 100_000 };

function parse(input: unknown, limits = LIMITS): Filter | undefined {
  try {
    return parseFilter(input, { regex: "prefix", ...limits });
  } catch (error) {
    if (error instanceof TidewireError) return undefined;
    throw error;
  }
}

/** Runs for random filters that the parser takes. */
function forFilters(check: (filter: Filter, input: unknown) => void): void {
  const property = fc.property(filterJson, (input) => {
    const filter = parse(input);
    fc.pre(filter !== undefined);
    check(filter, input);
  });
  fc.assert(property, { numRuns: 1_000, seed });
}

test("the filter that is sent to the server parses to the same filter", () => {
  forFilters((filter) => {
    const again = parse(BSON.EJSON.serialize(toBson(filterToBson(filter)), { relaxed: false }));
    expect(again && canonicalFilter(again)).toBe(canonicalFilter(filter));
    expect(again && [...filterPaths(again)].sort()).toEqual([...filterPaths(filter)].sort());
  });
});

test("a filter is taken with just its depth and predicates as limits, and refused with less", () => {
  forFilters((filter, input) => {
    const { depth, predicates } = filterCost(filter);
    expect(parse(input, { ...LIMITS, maxDepth: depth, maxPredicates: predicates })).toBeDefined();
    expect(parse(input, { ...LIMITS, maxPredicates: predicates - 1 })).toBeUndefined();
    if (depth > 0) expect(parse(input, { ...LIMITS, maxDepth: depth - 1 })).toBeUndefined();
  });
});

test("binding does not change a filter without claims", () => {
  const none = () => expect.unreachable("no claim was written");
  forFilters((filter) => expect(bindFilter(filter, { one: none, many: none })).toEqual(filter));
});

import { toBson } from "../../src/match/bson-value.ts";
import type { Filter } from "../../src/match/filter.ts";
import { filterToBson } from "../../src/match/to-mongo.ts";

/** The filter as `find` takes it, in plain objects, for comparisons. */
export const plainFilter = (filter: Filter): Record<string, unknown> =>
  plain(toBson(filterToBson(filter))) as Record<string, unknown>; // a document, as it was one

function plain(value: unknown): unknown {
  if (value instanceof Map)
    return Object.fromEntries(Array.from(value, ([key, inner]) => [key, plain(inner)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

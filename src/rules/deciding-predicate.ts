/**
 * Finds the part of a filter that decided about a document. An admin who asks why a user does not see a document needs
 * the one condition that failed, not the whole filter.
 */
import { fromJs, toBson } from "../match/bson-value.ts";
import { compileFilter } from "../match/compile-filter.ts";
import { encodeValue } from "../match/encode.ts";
import type { Filter } from "../match/filter.ts";
import { filterToBson } from "../match/to-mongo.ts";

/** Whether a document matches, and the part of the filter that decides it, in words. */
export function deciding(filter: Filter, document: Uint8Array): { matches: boolean; because: string } {
  const matches = compileFilter(filter)(document);
  return { matches, because: because(filter, document, matches) };
}

function because(filter: Filter, document: Uint8Array, matches: boolean): string {
  if (filter.op === "path") return `${predicateText(filter)} ${matches ? "holds" : "does not hold"}`;
  const branch = (wanted: boolean) =>
    filter.filters.find((inner) => compileFilter(inner)(document) === wanted);
  if (filter.op === "$and") {
    const failed = matches ? undefined : branch(false);
    if (failed !== undefined) return because(failed, document, false);
    return filter.filters.length === 0 ? "it asks for nothing" : `${predicateText(filter)} holds`;
  }
  const met = branch(true);
  if (met !== undefined) {
    const inner = because(met, document, true);
    return filter.op === "$or" ? inner : `${inner}, which $nor forbids`;
  }
  return `no branch of ${filter.op} holds: ${predicateText(filter)}`;
}

/** A filter as JSON in the form of `find`, with a single `$eq` and a plain conjunction in the short notation. */
export function predicateText(filter: Filter): string {
  return encodeValue(fromJs(shorten(toBson(filterToBson(filter)) as FilterMap)), "ejson");
}

/** A filter whose documents are maps, as `toBson` makes them. */
type FilterMap = ReadonlyMap<string, unknown>;

/**
 * Shortens a filter for readers. `toMongo` writes everything explicitly, so that no value can be read as an operator.
 */
function shorten(filter: FilterMap): FilterMap {
  const [first] = filter;
  if (filter.size === 1 && first?.[0] === "$and" && Array.isArray(first[1])) {
    const parts = first[1].map(shorten).filter((part) => part.size > 0);
    const entries = parts.flatMap((part) => [...part]);
    const short = new Map(entries);
    // Two conditions on one path cannot share an object.
    return short.size === entries.length ? short : new Map([["$and", parts]]);
  }
  return new Map(
    Array.from(filter, ([key, value]) => [key, Array.isArray(value) ? value.map(branchOf) : plain(value)]),
  );
}

function branchOf(value: unknown): unknown {
  // Branches of $or and $nor. Lists of values never reach this point, because they are one level deeper.
  return value instanceof Map ? shorten(value) : value;
}

function plain(value: unknown): unknown {
  return value instanceof Map && value.size === 1 && value.has("$eq") ? value.get("$eq") : value;
}

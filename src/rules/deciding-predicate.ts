/**
 * Finds the part of a filter that decided about a document. An admin who asks why a user does not see a document needs
 * the one condition that failed, not the whole filter.
 */
import { fromJs, toBson } from "../match/bson-value.ts";
import { compileFilter } from "../match/compile-filter.ts";
import { encodeValue } from "../match/encode.ts";
import type { Filter } from "../match/filter.ts";
import { filterToBson } from "../match/to-mongo.ts";

/** A filter as text. */
export type FilterText = (filter: Filter) => string;

/** Whether a document matches, and why. */
export interface Deciding {
  readonly matches: boolean;
  /** The part of the filter that decides it, in words. */
  readonly because: string;
  /** The path of the deciding condition; `null` if no single condition decides. */
  readonly path: string | null;
}

/**
 * Whether a document matches, and the part of the filter that decides it.
 * @param text How conditions are written in the reason.
 */
export function deciding(filter: Filter, document: Uint8Array, text: FilterText = predicateText): Deciding {
  const matches = compileFilter(filter)(document);
  return { matches, ...reason(filter, document, matches, text) };
}

function reason(
  filter: Filter,
  document: Uint8Array,
  matches: boolean,
  text: FilterText,
): Pick<Deciding, "because" | "path"> {
  if (filter.op === "path")
    return { because: `${text(filter)} ${matches ? "holds" : "does not hold"}`, path: filter.path };
  const branch = (wanted: boolean) =>
    filter.filters.find((inner) => compileFilter(inner)(document) === wanted);
  if (filter.op === "$and") {
    const [only] = filter.filters;
    const failed = matches ? undefined : branch(false);
    if (failed !== undefined) return reason(failed, document, false, text);
    if (only === undefined) return { because: "it asks for nothing", path: null };
    if (filter.filters.length === 1) return reason(only, document, matches, text);
    return { because: `${text(filter)} holds`, path: null };
  }
  const met = branch(true);
  if (met === undefined) return { because: `no branch of ${filter.op} holds: ${text(filter)}`, path: null };
  const inner = reason(met, document, true, text);
  return filter.op === "$or" ? inner : { ...inner, because: `${inner.because}, which $nor forbids` };
}

/** A filter as `predicateText` writes it, without any of its values, which may come from documents and tokens. */
export function redactedText(filter: Filter): string {
  return JSON.stringify(toRedacted(filter));
}

const REDACTED = "…";

function toRedacted(filter: Filter): Readonly<Record<string, unknown>> {
  if (filter.op === "path") {
    const { op } = filter.predicate;
    const operator = op === "$elemMatchValue" ? "$elemMatch" : op;
    return { [filter.path]: op === "$eq" ? REDACTED : { [operator]: REDACTED } };
  }
  const parts = filter.filters.map(toRedacted);
  if (filter.op !== "$and") return { [filter.op]: parts };
  const paths = parts.flatMap((part) => Object.keys(part));
  return new Set(paths).size === paths.length ? Object.assign({}, ...parts) : { $and: parts };
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

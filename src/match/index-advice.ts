/** Suggests an index for a filter. `tidewire explain` prints it when MongoDB would read the whole collection. */
import type { Filter, Predicate } from "./filter.ts";

/** More fields in an index seldom pay, because the first ones already select. */
const FIELDS_MAX = 3;

/**
 * The fields of an index that serves a filter: first those with equality, then those with a range.
 * @returns An empty list if an index cannot help: the filter has conditions only in the branches of an `$or`, or none
 *   at all.
 */
export function indexFields(filter: Filter): readonly string[] {
  const paths = [...conjunctionOf(filter)];
  const equal = paths.filter(({ op }) => op === "$eq" || op === "$in").map(({ path }) => path);
  const ranges = paths.filter(({ op }) => RANGES.has(op)).map(({ path }) => path);
  // After a range, later fields of an index are no longer used for the search.
  const fields = [...new Set([...equal, ...ranges.slice(0, 1)])];
  return fields.includes("_id") ? [] : fields.slice(0, FIELDS_MAX);
}

const RANGES: ReadonlySet<Predicate["op"]> = new Set(["$gt", "$gte", "$lt", "$lte", "$regex", "$all"]);

function* conjunctionOf(filter: Filter): Generator<{ path: string; op: Predicate["op"] }> {
  if (filter.op === "path") yield { path: filter.path, op: filter.predicate.op };
  else if (filter.op === "$and") for (const branch of filter.filters) yield* conjunctionOf(branch);
}

/** The shell command that creates such an index, for an operator to paste. */
export function createIndexLine(database: string, collection: string, filter: Filter): string | undefined {
  const fields = indexFields(filter);
  if (fields.length === 0) return undefined;
  const keys = fields.map((field) => `${/^[A-Za-z_]\w*$/.test(field) ? field : JSON.stringify(field)}: 1`);
  return `db.getSiblingDB(${JSON.stringify(database)}).getCollection(${JSON.stringify(collection)}).createIndex({ ${keys.join(", ")} })`;
}

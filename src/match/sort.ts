/**
 * Sort keys and their order. The order must be that of `find().sort()` for every document, including arrays and mixed
 * types, because a window combines documents that the server sorted with documents that the service sorts.
 */
import { amount } from "../protocol/amount.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { SortSpec } from "../protocol/messages.ts";
import type { BsonValue } from "./bson-value.ts";
import { indexesIn, MAX_INDEXES, quote, walkFault } from "./paths.ts";
import { compareTuples } from "./sort-paths.ts";
import { compileSortValues } from "./sort-values.ts";
import type { Steps } from "./steps.ts";

/**
 * The sort key of a document: the value of each sorted path, and its `_id`. It contains no part of the document's
 * buffer.
 */
export type SortKey = readonly BsonValue[];

/** Orders documents by their sort keys. */
export interface Sort {
  key(document: Uint8Array): SortKey;
  /** Like `key`, in steps. */
  keyInSteps(document: Uint8Array): Steps<SortKey>;
  /** Negative if `a` comes first. Zero only for documents with the same `_id`. */
  compare(a: SortKey, b: SortKey): number;
}

/**
 * Parses a client's `sort`: `[path, 1 | -1]` pairs.
 * @param maxPaths The server accepts at most 32.
 * @throws {TidewireError} `bad-filter`
 */
export function parseSort(input: unknown, maxPaths: number): SortSpec {
  if (!Array.isArray(input) || input.length === 0) {
    throw refusal("sort needs at least one pair of path and direction");
  }
  if (input.length > maxPaths) {
    const details = { limit: "sortPaths", value: maxPaths };
    throw new TidewireError("bad-filter", `a sort has at most ${amount(maxPaths, "path")}`, details);
  }
  const paths = new Set<string>();
  let indexes = 0;
  return input.map((pair: unknown) => {
    const [path, direction, ...rest] = Array.isArray(pair) ? (pair as readonly unknown[]) : [];
    if (typeof path !== "string" || (direction !== 1 && direction !== -1) || rest.length > 0) {
      throw refusal("sort needs pairs of a path and 1 or -1");
    }
    const fault = walkFault(path) ?? (paths.has(path) ? "is sorted twice" : undefined);
    if (fault !== undefined) throw refusal(`the path ${quote(path)} ${fault}`, path);
    paths.add(path);
    // All paths are followed together, so the indexes of one path cost all of them.
    indexes += indexesIn(path);
    if (indexes > MAX_INDEXES) {
      throw refusal(
        `the paths of a sort have more than ${MAX_INDEXES} parts that may be indexes of arrays`,
        path,
      );
    }
    return [path, direction];
  });
}

function refusal(message: string, path?: string): TidewireError {
  return new TidewireError("bad-filter", message, path === undefined ? {} : { path });
}

/** The server's order of documents (`find().sort()`), with ties broken by `_id`, ascending. */
export function compileSort(spec: SortSpec): Sort {
  const full: SortSpec = spec.some(([path]) => path === "_id") ? spec : [...spec, ["_id", 1]];
  const values = compileSortValues(full);
  const directions = full.map(([, direction]) => direction);
  return {
    key: (document) => copied(values.of(document)),
    *keyInSteps(document) {
      return copied(yield* values.inSteps(document));
    },
    compare: (a, b) => compareTuples(a, b, directions),
  };
}

/**
 * Copies the values into one array. Keys are kept for a long time and documents are not, and a separate array per value
 * would need more memory than most values.
 */
function copied(values: readonly BsonValue[]): SortKey {
  const bytes = new Uint8Array(values.reduce((size, { start, end }) => size + end - start, 0));
  let at = 0;
  return values.map((value) => {
    const start = at;
    at += value.end - value.start;
    bytes.set(value.bytes.subarray(value.start, value.end), start);
    return { type: value.type, bytes, start, end: at };
  });
}

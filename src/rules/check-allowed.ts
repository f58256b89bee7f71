import { type Aggregate, aggregatePaths } from "../match/aggregate.ts";
import type { Filter } from "../match/filter.ts";
import { filterPaths } from "../match/filter-paths.ts";
import { isHiddenPath } from "../match/projection.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { SortSpec } from "../protocol/messages.ts";
import type { Rule } from "./compile-rules.ts";

/** The parts of a request that a rule may refuse. */
export interface CheckedRequest {
  readonly filter: Filter;
  readonly sort: SortSpec | null;
  readonly limit: number | null;
  readonly snapshot: boolean;
  readonly aggregate: Aggregate | null;
}

/**
 * Checks that a rule allows a request.
 * @throws {TidewireError} `forbidden`
 */
export function checkAllowed(rule: Rule, { filter, sort, limit, snapshot, aggregate }: CheckedRequest): void {
  const { allow } = rule;
  checkPaths(filterPaths(filter), rule, "filter");
  checkPaths(aggregate === null ? [] : aggregatePaths(aggregate), rule, "aggregate");
  if (aggregate !== null && !allow.aggregate) throw refusal("aggregate", "this rule allows no aggregates");
  if (aggregate === null && !allow.documents)
    throw refusal("documents", "this rule allows counts and groups only: subscribe with aggregate");
  if (snapshot && !allow.snapshot)
    throw refusal("snapshot", "this rule allows changes only: subscribe with snapshot: false");
  const sortPaths = (sort ?? []).map(([path]) => path);
  checkPaths(sortPaths, rule, "sort");
  if (sortPaths.some((path) => path !== "_id" && allow.sort?.includes(path) === false))
    throw refusal("sort", "this sort is not allowed");
  // A limit bounds the documents of a result, and an aggregate sends none.
  if (aggregate === null && allow.maxLimit !== null && (limit === null || limit > allow.maxLimit))
    throw refusal("limit", `a limit of at most ${allow.maxLimit} is needed here`);
}

/** A filter, sort or aggregate on a hidden field would reveal its value in the result. */
function checkPaths(paths: readonly string[], rule: Rule, part: "filter" | "sort" | "aggregate"): void {
  const hidesIds = !rule.allow.documents;
  const isHidden = (path: string) =>
    isHiddenPath(rule.projection, path) || (hidesIds && (path === "_id" || path.startsWith("_id.")));
  const path = paths.find(isHidden);
  if (path === undefined) return;
  throw new TidewireError("forbidden", `the ${part} uses a field that you may not see`, { part, path });
}

const refusal = (part: string, text: string) => new TidewireError("forbidden", text, { part });

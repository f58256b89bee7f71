/**
 * Decides which data a client may see. It is the only code that does: every path to a live query calls it, on every
 * transport, so a rule cannot be bypassed by choosing another way in. The functions are pure; time, claims and lookup
 * values are arguments.
 */
import { createHash } from "node:crypto";
import { type Aggregate, canonicalAggregate, parseAggregate } from "../match/aggregate.ts";
import { andFilters } from "../match/canonical-filter.ts";
import type { Filter } from "../match/filter.ts";
import { parseFilter } from "../match/parse-filter.ts";
import {
  canonicalProjection,
  EVERYTHING,
  includeProjection,
  intersectProjections,
} from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import { parseSort } from "../match/sort.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { AggregateRequest, DocumentMode, SortSpec } from "../protocol/messages.ts";
import type { BoundLookup, LookupValues } from "./bind-rule.ts";
import { checkAllowed } from "./check-allowed.ts";
import type { RequestLimits, Rule, RuleSet } from "./compile-rules.ts";
import { filterText } from "./filter-text.ts";
import { type AppliedRule, type Grant, grantOf, type Subject } from "./grant.ts";
import { sharedProjection } from "./shared-projection.ts";

/** A client's request, as in `subscribe` (docs/protocol.md, section 3.1). Its form was checked already. */
export interface QueryRequest {
  readonly collection: string;
  readonly filter?: Readonly<Record<string, unknown>>;
  readonly fields?: readonly string[];
  readonly sort?: SortSpec;
  readonly limit?: number;
  /** Default true. */
  readonly snapshot?: boolean;
  /** Default `full`. */
  readonly documents?: DocumentMode;
  /** Counts and groups in place of documents. */
  readonly aggregate?: AggregateRequest;
}

/** The query that a client is granted. It contains the rule's filter and fields, with the claims filled in. */
export interface EffectiveQuery {
  /** The name that clients use. */
  readonly collection: string;
  readonly database: string;
  readonly collectionName: string;
  /** The name of the rule that applied, for logs. Clients never receive it. */
  readonly rule: string;
  /** The identity of the rule that applied (`Rule.identity`). */
  readonly ruleIdentity: string;
  readonly filter: Filter;
  readonly projection: Projection;
  readonly sort: SortSpec | null;
  readonly limit: number | null;
  readonly documents: DocumentMode;
  /** The groups that the client receives in place of documents; `null` for documents. */
  readonly aggregate: Aggregate | null;
  readonly snapshotAllowed: boolean;
  /** The rounded time that replaces `%%now` in it, in epoch milliseconds; `null` if its rule does not use `%%now`. */
  readonly nowMs: number | null;
  /** Whether a snapshot is only read if an index serves it. */
  readonly requireIndex: boolean;
  /** The sets from which the filter was made. When one of them changes, the rights change. */
  readonly lookups: readonly BoundLookup[];
  /**
   * Identifies the contribution of the rule with the claims filled in. An equal grant and an equal request give an
   * equal live query.
   */
  readonly grant: string;
  /** Equal for equal live queries, on every node and after a restart. It reveals nothing about the query. */
  readonly key: string;
}

/**
 * The part of a request that can be judged without rules. It is kept, because rules judge it again when rights change.
 */
export interface ParsedRequest {
  /** The name that clients use. */
  readonly collection: string;
  readonly filter: Filter;
  readonly fields: Projection | null;
  readonly sort: SortSpec | null;
  readonly limit: number | null;
  readonly snapshot: boolean;
  readonly documents: DocumentMode;
  readonly aggregate: Aggregate | null;
}

/**
 * Decides which query a request is granted under the rules.
 * @param subject `null` for anonymous clients.
 * @param nowMs The time in epoch milliseconds. `%%now` is this time rounded down to `rules.nowStep`.
 * @throws {TidewireError} `forbidden`, `unknown-collection`, `bad-filter`, `bad-request`. The request is checked before
 *   the rules, so that a user who may not see a collection learns nothing else about it.
 * @throws {LookupsNeeded} Sets must be read first.
 */
export function authorize(
  rules: RuleSet,
  subject: Subject | null,
  request: QueryRequest,
  nowMs: number,
  lookupValues: LookupValues = () => null,
): EffectiveQuery {
  return authorizeParsed(rules, subject, parseRequest(request, rules.limits), nowMs, lookupValues);
}

/**
 * Like `authorize`, for a request that was parsed before.
 * @param known The earlier result of the same request. If the grant is unchanged, the result is as well.
 * @throws {TidewireError} `forbidden`, `unknown-collection`; `forbidden` also if a rule cannot be evaluated.
 * @throws {LookupsNeeded} Sets must be read first.
 */
export function authorizeParsed(
  rules: RuleSet,
  subject: Subject | null,
  request: ParsedRequest,
  nowMs: number,
  lookupValues: LookupValues,
  known?: EffectiveQuery,
): EffectiveQuery {
  const grant = grantOf(rules, subject, request.collection, nowMs, lookupValues);
  if (known?.grant !== grant.key) return sharedQuery(grant, request);
  return { ...known, rule: grant.rule.name, lookups: grant.lookups, nowMs: grant.nowMs };
}

/**
 * Parses the part of a request that does not depend on rules.
 * @throws {TidewireError} `bad-filter`, `bad-request`
 */
export function parseRequest(request: QueryRequest, limits: RequestLimits): ParsedRequest {
  const { collection, fields, sort, limit = null, snapshot = true, documents = "full" } = request;
  const aggregate = request.aggregate === undefined ? null : parseAggregate(request.aggregate);
  if (aggregate !== null) checkAlone(request);
  if (limit !== null) checkLimit(limit, request, limits);
  return {
    collection,
    filter: parseFilter(request.filter ?? {}, {
      regex: "prefix",
      maxDepth: limits.filterDepth,
      maxPredicates: limits.filterPredicates,
      maxValues: limits.filterValues,
    }),
    fields: fields === undefined ? null : includeProjection(fields, limits.projectionNodes),
    sort: sort === undefined ? null : parseSort(sort, limits.sortPaths),
    limit,
    snapshot,
    documents,
    aggregate,
  };
}

/** Groups have neither an order nor fields to choose from, and each row is sent as a whole. */
function checkAlone({ sort, limit, fields, documents }: QueryRequest): void {
  const others = { sort, limit, fields, documents: documents === "delta" ? documents : undefined };
  for (const [path, value] of Object.entries(others))
    if (value !== undefined)
      throw new TidewireError("bad-request", `aggregate does not go with ${path}`, { path });
}

function checkLimit(limit: number, request: QueryRequest, { windowSize }: RequestLimits): void {
  const bad = (text: string) => new TidewireError("bad-request", text, { path: "limit" });
  if (request.sort === undefined) throw bad("limit needs a sort");
  if (request.snapshot === false) throw bad("limit needs the snapshot");
  if (!Number.isInteger(limit) || limit < 1 || limit > windowSize) {
    throw bad(`limit is a whole number from 1 to ${windowSize}`);
  }
}

/** The last query that each request was granted, and the grant. Requests are shared by the clients that ask alike. */
const lastQueries = new WeakMap<ParsedRequest, { readonly grant: Grant; readonly query: EffectiveQuery }>();

/** As `effectiveQuery`. Users with the same grant, to whom the same request is granted, share one object. */
function sharedQuery(grant: Grant, request: ParsedRequest): EffectiveQuery {
  const last = lastQueries.get(request);
  if (last?.grant === grant) return last.query;
  const query = effectiveQuery(grant, request);
  if (grant.isConstant) lastQueries.set(request, { grant, query });
  return query;
}

/** The documents and fields of a granted request. */
export type Shown = Pick<EffectiveQuery, "database" | "collectionName" | "filter" | "projection">;

/**
 * Combines a rule, with its claims filled in, and a request.
 * @throws {TidewireError} `forbidden` if the request asks for more than the rule grants.
 */
export function shownBy({ collection, rule, filter }: AppliedRule, request: ParsedRequest): Shown {
  checkAllowed(rule, request);
  const { database, collectionName } = collection;
  return {
    database,
    collectionName,
    // A filter without conditions is left out, so that equal queries get equal keys.
    filter: andFilters(...[filter, request.filter].filter(asksForSomething)),
    projection: shownFields(rule, request),
  };
}

/** @throws {TidewireError} As `shownBy`. */
function effectiveQuery(grant: Grant, request: ParsedRequest): EffectiveQuery {
  const { collection, rule, lookups, nowMs } = grant;
  const { database, collectionName, filter, projection: shown } = shownBy(grant, request);
  const { sort, limit, documents, aggregate } = request;
  const canonicalFields = canonicalProjection(shown);
  const projection = sharedProjection(shown, canonicalFields);
  const identity = [
    database,
    collectionName,
    filterText(filter),
    canonicalFields,
    sort,
    limit,
    documents,
    ...(rule.allow.requireIndex ? ["requireIndex"] : []),
    ...(aggregate === null ? [] : ["aggregate", canonicalAggregate(aggregate)]),
  ];
  return {
    collection: collection.name,
    database,
    collectionName,
    rule: rule.name,
    ruleIdentity: rule.identity,
    nowMs,
    filter,
    projection,
    sort,
    limit,
    documents,
    aggregate,
    snapshotAllowed: rule.allow.snapshot,
    requireIndex: rule.allow.requireIndex,
    lookups,
    grant: grant.key,
    key: createHash("sha256").update(JSON.stringify(identity)).digest("base64url"),
  };
}

/** A row has no fields but those that were asked for, and none of these is hidden: all of it is visible. */
function shownFields({ projection }: Rule, { fields, aggregate }: ParsedRequest): Projection {
  if (aggregate !== null) return EVERYTHING;
  return fields === null ? projection : intersectProjections(projection, fields);
}

function asksForSomething(filter: Filter): boolean {
  return filter.op !== "$and" || filter.filters.length > 0;
}

/**
 * Fills the claims of a user and the values of sets into the filter of a rule.
 */
import { createHash } from "node:crypto";
import { bindFilter } from "../match/bind-filter.ts";
import type { BsonValue } from "../match/bson-value.ts";
import type { Filter } from "../match/filter.ts";
import { ClaimRefused, type Claims, claimResolver } from "./claims.ts";
import type { CollectionRules, LookupTemplate, Rule } from "./compile-rules.ts";
import { filterText } from "./filter-text.ts";

/** A lookup with the claims filled in. Lookups with equal keys share one set. */
export interface BoundLookup {
  readonly key: string;
  readonly database: string;
  readonly collectionName: string;
  readonly filter: Filter;
  /** The path whose values form the set. */
  readonly value: string;
}

/** The current values of a set; `null` if the set was not read. */
export type LookupValues = (lookup: BoundLookup) => readonly BsonValue[] | null;

/** A request cannot be judged before these sets are read. */
export class LookupsNeeded extends Error {
  override readonly name = "LookupsNeeded";
  readonly lookups: readonly BoundLookup[];

  constructor(lookups: readonly BoundLookup[]) {
    super("a lookup has to be read first");
    this.lookups = lookups;
  }
}

/** The filter of a rule, with claims and sets filled in. */
export interface Bound {
  readonly filter: Filter;
  readonly lookups: readonly BoundLookup[];
  /** The values of each of the lookups, in the same order. A set gives one list until it changes. */
  readonly lists: readonly (readonly BsonValue[])[];
  /** Whether nothing had to be filled in. */
  readonly isConstant: boolean;
}

/**
 * Fills claims and sets into a rule's filter.
 * @throws {ClaimRefused} A claim is missing or has the wrong form.
 * @throws {LookupsNeeded} It names all sets that were not read.
 */
export function bindRule(
  collection: CollectionRules,
  rule: Rule,
  claims: Claims,
  nowMs: number,
  lookupValues: LookupValues,
): Bound {
  const lookups: BoundLookup[] = [];
  const lists: (readonly BsonValue[])[] = [];
  const needed: BoundLookup[] = [];
  const resolver = claimResolver(claims, nowMs, (name) => {
    const template = collection.lookups.get(name);
    if (template === undefined) throw new ClaimRefused(`there is no lookup ${name}`);
    const lookup = bindLookup(template, claims, nowMs);
    lookups.push(lookup);
    const values = lookupValues(lookup);
    if (values === null) needed.push(lookup);
    lists.push(values ?? []);
    return values ?? [];
  });
  let isConstant = true;
  const noteUse = <T>(value: T): T => {
    isConstant = false;
    return value;
  };
  const filter = bindFilter(rule.filter, {
    one: (placeholder) => noteUse(resolver.one(placeholder)),
    many: (placeholder) => noteUse(resolver.many(placeholder)),
  });
  if (needed.length > 0) throw new LookupsNeeded(needed);
  return { filter, lookups, lists, isConstant };
}

function bindLookup(template: LookupTemplate, claims: Claims, nowMs: number): BoundLookup {
  const { database, collectionName, value } = template;
  const filter = bindFilter(template.filter, claimResolver(claims, nowMs));
  const identity = JSON.stringify([database, collectionName, filterText(filter), value]);
  const key = createHash("sha256").update(identity).digest("base64url");
  return { key, database, collectionName, filter, value };
}

/** Identifies what a rule contributes to a query. */
export function grantKey(rule: Rule, filter: Filter): string {
  return createHash("sha256")
    .update(JSON.stringify([rule.identity, filterText(filter)]))
    .digest("base64url");
}

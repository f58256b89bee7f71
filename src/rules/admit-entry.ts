/**
 * Decides who may be in which room. It is the only code that does, for the first entry and whenever rights change. The
 * functions are pure; time, claims and lookup values are arguments.
 */
import { BSON } from "mongodb";
import { compileFilter } from "../match/compile-filter.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { BoundLookup, LookupValues } from "./bind-rule.ts";
import type { PresenceAllowance, RuleSet } from "./compile-rules.ts";
import { presenceRuleOf, type Subject } from "./grant.ts";

/** An entry as the rules see it. */
export interface EntryToAdmit {
  readonly room: string;
  readonly user: string;
  /** Absent where all tokens have one issuer. */
  readonly iss?: string;
  /** A JSON value. */
  readonly data: unknown;
}

/** The right to be in a room. */
export interface Admission {
  readonly allow: PresenceAllowance;
  /** The sets from which the right was derived. When one of them changes, the right may end. */
  readonly lookups: readonly BoundLookup[];
  /** Whether the right depends on `%%now`. */
  readonly usesNow: boolean;
}

/**
 * Decides whether a user may have an entry.
 * @throws {TidewireError} `forbidden`, also if a rule cannot be evaluated, or if there is no presence any more.
 * @throws {LookupsNeeded} Sets must be read first.
 */
export function admitEntry(
  rules: RuleSet,
  subject: Subject,
  { data, ...facts }: EntryToAdmit,
  nowMs: number,
  lookupValues: LookupValues,
): Admission {
  const { presence } = rules;
  if (presence === undefined) throw forbidden();
  const applied = presenceRuleOf(rules, presence, subject, nowMs, lookupValues);
  const allow = presence.allowances.get(applied.rule);
  if (allow === undefined) throw forbidden();
  const document = BSON.serialize({ ...facts, data: toBsonData(data) });
  if (!compileFilter(applied.filter)(document)) throw forbidden();
  return { allow, lookups: applied.lookups, usesNow: applied.nowMs !== null };
}

/** Converts objects to maps, in which no key (`_bsontype`) has a special meaning for the driver. */
export function toBsonData(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toBsonData);
  if (typeof value !== "object" || value === null) return value;
  return new Map(Object.entries(value).map(([key, item]) => [key, toBsonData(item)]));
}

const forbidden = () => new TidewireError("forbidden", "no rule allows this entry");

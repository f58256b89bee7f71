/**
 * The rule that applies to a user, with the claims of the user and the values of sets filled in. A request is judged against it
 * in `authorize.ts`.
 */
import type { Filter } from "../match/filter.ts";
import { remembered } from "../match/remembered.ts";
import { TidewireError } from "../protocol/errors.ts";
import {
  type Bound,
  type BoundLookup,
  bindRule,
  grantKey,
  LookupsNeeded,
  type LookupValues,
} from "./bind-rule.ts";
import { ClaimRefused, type Claims, roundNow } from "./claims.ts";
import type { CollectionRules, CompiledPresence, Rule, RuleSet } from "./compile-rules.ts";

/** The user of a request. */
export interface Subject {
  readonly claims: Claims;
}

/** A rule could not be evaluated, which is a bug. The user is refused as if no rule applied. */
export class RuleFailure extends Error {
  override readonly name = "RuleFailure";

  constructor(rule: string, cause: unknown) {
    super(`the rule ${JSON.stringify(rule)} could not be evaluated`, { cause });
  }
}

/** The rule that applies to a user in one collection, with claims and sets filled in, before any request is considered. */
export interface AppliedRule {
  readonly collection: CollectionRules;
  readonly rule: Rule;
  /** The filter of the rule, with claims and sets filled in. */
  readonly filter: Filter;
  readonly lookups: readonly BoundLookup[];
  /** The rounded time that replaces `%%now`, in epoch milliseconds; `null` if the rule does not use `%%now`. */
  readonly nowMs: number | null;
  /** Whether the rule holds no placeholder, so that all users to whom it applies have this very grant. */
  readonly isConstant: boolean;
}

/** The grant of the rules to a user in one collection. */
export interface Grant extends AppliedRule {
  /** Equal grants have equal keys. */
  readonly key: string;
}

/** The grant of each applied rule. A rule that was applied once may be asked for by hundreds of subscriptions. */
const grants = remembered(
  (applied: AppliedRule): Grant => ({
    ...applied,
    key: grantKey(applied.rule, applied.filter),
  }),
);

/**
 * Finds the rule that applies to a user, and fills in claims and sets.
 * @throws {TidewireError} `forbidden`, `unknown-collection`, also if a rule cannot be evaluated.
 * @throws {LookupsNeeded} Sets must be read first.
 */
export const grantOf = (
  rules: RuleSet,
  subject: Subject | null,
  name: string,
  nowMs: number,
  lookupValues: LookupValues,
): Grant =>
  applyRules(rules, subject, name, (collection, rule) =>
    grants(bindApplied(rules, subject, collection, rule, nowMs, lookupValues)),
  );

/**
 * Like `grantOf`, without the key. A replay of thousands of requests needs no digests.
 * @throws {TidewireError} As `grantOf`.
 * @throws {LookupsNeeded} As `grantOf`.
 */
export const appliedRuleOf = (
  rules: RuleSet,
  subject: Subject | null,
  name: string,
  nowMs: number,
  lookupValues: LookupValues,
): AppliedRule =>
  applyRules(rules, subject, name, (collection, rule) =>
    bindApplied(rules, subject, collection, rule, nowMs, lookupValues),
  );

/**
 * The rule of presence that applies to a user.
 * @throws {TidewireError} As `grantOf`.
 * @throws {LookupsNeeded} As `grantOf`.
 */
export const presenceRuleOf = (
  rules: RuleSet,
  { entries }: CompiledPresence,
  subject: Subject,
  nowMs: number,
  lookupValues: LookupValues,
): AppliedRule =>
  applyRule(entries, subject, (collection, rule) =>
    bindApplied(rules, subject, collection, rule, nowMs, lookupValues),
  );

/** Finds the rule that applies to a user. Refuses the user if there is none, or if it cannot be applied. */
function applyRules<T>(
  rules: RuleSet,
  subject: Subject | null,
  name: string,
  apply: (collection: CollectionRules, rule: Rule) => T,
): T {
  const collection = rules.collections.get(name);
  if (collection === undefined) throw unknownCollection(name);
  return applyRule(collection, subject, apply);
}

function applyRule<T>(
  collection: CollectionRules,
  subject: Subject | null,
  apply: (collection: CollectionRules, rule: Rule) => T,
): T {
  const { name } = collection;
  let asked = "";
  try {
    const rule = firstRule(collection, subject, (next) => {
      asked = next;
    });
    if (rule === undefined) throw refusal(name, subject);
    return apply(collection, rule);
    // Any other error is a bug in the evaluation. Rights fail closed: the user is refused, and the log names the rule.
  } catch (cause) {
    if (cause instanceof TidewireError || cause instanceof LookupsNeeded) throw cause;
    throw refusal(name, subject, cause instanceof ClaimRefused ? cause : new RuleFailure(asked, cause));
  }
}

/** Rules whose filters hold no placeholder, as they apply to every user. */
const constantRules = new WeakMap<Rule, AppliedRule>();

/** A rule as it was applied last, with everything on which the outcome depends. */
interface LastApplied {
  readonly collection: CollectionRules;
  readonly claims: Claims;
  readonly lists: Bound["lists"];
  readonly applied: AppliedRule;
}

/**
 * The last outcome of each rule. When a set, a token or the rules change, the subscriptions of a user are judged one after
 * the other, and the same rule is filled in for all of them.
 */
const lastApplied = new WeakMap<Rule, LastApplied>();

const NO_CLAIMS: Claims = {};

/** Whether filling in the rule would give the same. Claims are never altered, and a set gives a new list if it changes. */
function isSameAs(
  { collection, claims, lists, applied }: LastApplied,
  given: { collection: CollectionRules; claims: Claims; nowMs: number },
  lookupValues: LookupValues,
): boolean {
  if (given.collection !== collection || given.claims !== claims) return false;
  if (applied.nowMs !== null && applied.nowMs !== given.nowMs) return false;
  return applied.lookups.every((lookup, index) => lookupValues(lookup) === lists[index]);
}

function bindApplied(
  { nowStepMs }: RuleSet,
  subject: Subject | null,
  collection: CollectionRules,
  rule: Rule,
  nowMs: number,
  lookupValues: LookupValues,
): AppliedRule {
  const known = constantRules.get(rule);
  if (known?.collection === collection) return known;
  const roundedMs = roundNow(nowMs, nowStepMs);
  const claims = subject?.claims ?? NO_CLAIMS;
  const last = lastApplied.get(rule);
  if (last !== undefined && isSameAs(last, { collection, claims, nowMs: roundedMs }, lookupValues))
    return last.applied;
  const { lists, ...bound } = bindRule(collection, rule, claims, roundedMs, lookupValues);
  const applied = { collection, rule, ...bound, nowMs: rule.usesNow ? roundedMs : null };
  if (applied.isConstant) constantRules.set(rule, applied);
  else lastApplied.set(rule, { collection, claims, lists, applied });
  return applied;
}

/**
 * The first rule that serves the subject and whose `when` holds. No other rule applies.
 * @param onAsked Called with the name of each rule before it is evaluated.
 * @throws {Error} A `when` could not be evaluated. No later rule may apply then, because this one might have been the
 *   first.
 */
function firstRule(
  collection: CollectionRules,
  subject: Subject | null,
  onAsked: (name: string) => void,
): Rule | undefined {
  return collection.rules.find((rule) => {
    onAsked(rule.name);
    if (subject === null) return rule.anonymous && rule.holds({});
    return rule.holds(subject.claims);
  });
}

/** The rule that applies to a subject; none also if one could not be evaluated. Never throws. */
export function ruleFor(collection: CollectionRules, subject: Subject | null): Rule | undefined {
  try {
    return firstRule(collection, subject, () => {});
  } catch {
    return undefined; // `authorize` reports the error
  }
}

/**
 * Refuses a user. Anonymous clients receive the same answer for a collection that they may not see and for one that
 * does not exist.
 */
function refusal(collection: string, subject: Subject | null, cause?: unknown): TidewireError {
  if (subject === null) return unknownCollection(collection, cause);
  return new TidewireError("forbidden", "no rule allows this", { collection }, { cause });
}

function unknownCollection(collection: string, cause?: unknown): TidewireError {
  const name = collection.length > 80 ? `${collection.slice(0, 80)}…` : collection;
  return new TidewireError(
    "unknown-collection",
    `there is no collection ${JSON.stringify(name)}`,
    { collection: name },
    { cause },
  );
}

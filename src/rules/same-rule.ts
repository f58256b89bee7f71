import type { CollectionRules, Rule, RuleSet } from "./compile-rules.ts";

const byIdentity = new WeakMap<CollectionRules, ReadonlyMap<string, Rule>>();

/**
 * Finds the rule of another set that grants the same, by its identity. It then applies to the same users, because an identity
 * covers the conditions of the earlier rules. Most rules are the same before and after an edit, and need not be compared.
 * @param inForce The set of the rule.
 * @param collection The name that clients use.
 */
export function sameRule(
  rule: Rule,
  inForce: Pick<RuleSet, "nowStepMs">,
  other: RuleSet,
  collection: string,
): Rule | null {
  if (rule.usesNow && inForce.nowStepMs !== other.nowStepMs) return null;
  const rules = other.collections.get(collection);
  if (rules === undefined) return null;
  const known = byIdentity.get(rules) ?? new Map(rules.rules.map((each) => [each.identity, each]));
  byIdentity.set(rules, known);
  return known.get(rule.identity) ?? null;
}

import { stringify } from "yaml";
import type { RulesSource } from "../rules/compile-rules.ts";
import type { PresenceRules } from "../rules/presence-options.ts";

/**
 * Rules as a configuration file would have them, with the limits by which they are judged. Environment variables were
 * filled in before; a text that looks like one now is just a text.
 */
export function rulesFile({ mongodb, collections, limits, rules, presence }: RulesSource): object {
  const { filterDepth, filterPredicates, filterValues, projectionNodes, sortPaths, windowSize } = limits;
  const requestLimits = {
    filterDepth,
    filterPredicates,
    filterValues,
    projectionNodes,
    sortPaths,
    windowSize,
  };
  const steps = rules === undefined ? {} : { rules: { nowStep: `${rules.nowStepMs}ms` } };
  const entering = presence === undefined ? {} : { presence: presenceFile(presence) };
  const base = { mongodb: { database: mongodb.database }, collections, limits: requestLimits };
  const file = { ...base, ...steps, ...entering };
  const asText = (value: unknown) => (typeof value === "string" ? value.split("${").join("$${") : value);
  // Rules come from YAML or JSON, so that JSON can hold them.
  return JSON.parse(JSON.stringify(file, (_key, value: unknown) => asText(value)));
}

/** The part of the section `presence` that decides rights. */
const presenceFile = ({ rules, lookups }: PresenceRules) => ({
  rules: rules.map((rule) => ({ ...rule, allow: { ...rule.allow, dataBytes: `${rule.allow.dataBytes}B` } })),
  lookups,
});

/** The same as YAML. */
export const rulesText = (source: RulesSource): string => stringify(rulesFile(source), { lineWidth: 0 });

import { stringify } from "yaml";
import type { RulesSource } from "../rules/compile-rules.ts";

/**
 * Rules as a configuration file would have them, with the limits by which they are judged. Environment variables were
 * filled in before; a text that looks like one now is just a text.
 */
export function rulesFile({ mongodb, collections, limits, rules }: RulesSource): object {
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
  const file = { mongodb: { database: mongodb.database }, collections, limits: requestLimits, ...steps };
  const asText = (value: unknown) => (typeof value === "string" ? value.split("${").join("$${") : value);
  // Rules come from YAML or JSON, so that JSON can hold them.
  return JSON.parse(JSON.stringify(file, (_key, value: unknown) => asText(value)));
}

/** The same as YAML. */
export const rulesText = (source: RulesSource): string => stringify(rulesFile(source), { lineWidth: 0 });

import type { EditPlan, EditProblems } from "../admin/plan-edit.ts";
import type { RulesSource } from "../rules/compile-rules.ts";
import { type AdminNode, askNode, unexpected } from "./ask-node.ts";

/** Asks a running node. @throws {StartupError} It does not answer, or not this. */
export async function askForPlan(node: AdminNode, edited: RulesSource): Promise<EditPlan | EditProblems> {
  const answer = await askNode(node, "POST", "/plan", { text: fileOf(edited) });
  const { status, body } = answer;
  if (status === 200 && "live" in body) return body as unknown as EditPlan; // as the endpoint answers
  if (status === 422 && "problems" in body) return body as unknown as EditProblems;
  throw unexpected(node, answer);
}

/**
 * The rules as a file would have them. Environment variables are filled in here, the node has others; what looks
 * like one by now is just a text.
 */
function fileOf({ mongodb, collections, limits, rules }: RulesSource): string {
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
  const file = { mongodb, collections, limits: requestLimits, ...steps };
  const asText = (value: unknown) => (typeof value === "string" ? value.split("${").join("$${") : value);
  return JSON.stringify(file, (_key, value: unknown) => asText(value));
}

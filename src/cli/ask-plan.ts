import type { EditPlan, EditProblems } from "../admin/plan-edit.ts";
import { rulesFile } from "../config/rules-file.ts";
import type { RulesSource } from "../rules/compile-rules.ts";
import { type AdminNode, askNode, unexpected } from "./ask-node.ts";

/** Asks a running node. @throws {StartupError} It does not answer, or not this. */
export async function askForPlan(node: AdminNode, edited: RulesSource): Promise<EditPlan | EditProblems> {
  const answer = await askNode(node, "POST", "/plan", { text: JSON.stringify(rulesFile(edited)) });
  const { status, body } = answer;
  if (status === 200 && "live" in body) return body as unknown as EditPlan; // as the endpoint answers
  if (status === 422 && "problems" in body) return body as unknown as EditProblems;
  throw unexpected(node, answer);
}

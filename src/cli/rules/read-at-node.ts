/** `tidewire rules log|diff --admin URL`: a running node reads the sets, so that no access to MongoDB is needed. */
import { PAGE_MAX } from "../../admin/api/audit-endpoint.ts";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import type { Io } from "../../terminal/io.ts";
import { type AdminNode, askNode, type NodeAnswer, unexpected } from "../ask-node.ts";
import { printDiff } from "./diff-sets.ts";
import { type LoggedSet, printLog } from "./log-sets.ts";

/** As `logSets`. @returns The exit code. */
export async function logAtNode(node: AdminNode, most: number, asJson: boolean, io: Io): Promise<number> {
  const sets: LoggedSet[] = [];
  let before = "";
  while (sets.length < most) {
    const limit = Math.min(most - sets.length, PAGE_MAX);
    const page = await read<"ruleHistory">(node, `/rules/history?limit=${limit}${before}`);
    for (const set of page.sets) {
      const plan = asJson ? await planOf(node, set.number) : null;
      // The database ends its log at a set that is no longer kept.
      if (plan === undefined) return printLog(sets, asJson, io);
      sets.push({ ...set, plan });
    }
    if (page.next === null) break;
    before = `&before=${page.next}`;
  }
  return printLog(sets, asJson, io);
}

/** As `diffSets`. @returns The exit code. */
export async function diffAtNode(
  node: AdminNode,
  from: number,
  to: number | null,
  asJson: boolean,
  io: Io,
): Promise<number> {
  const answer = await askNode(node, "GET", `/rules/sets/${from}/diff${to === null ? "" : `?to=${to}`}`);
  if (isNoSet(answer)) {
    io.err(`${String(answer.body["error"])}. tidewire rules log lists the sets`);
    return 1;
  }
  return printDiff(answerOf<"ruleSetDiff">(node, answer), asJson, io);
}

/** The effect that was computed when a set was saved, which the list of sets lacks; `undefined` for no such set. */
async function planOf(node: AdminNode, number: number): Promise<unknown> {
  const answer = await askNode(node, "GET", `/rules/sets/${number}`);
  return isNoSet(answer) ? undefined : answerOf<"ruleSet">(node, answer).plan;
}

const isNoSet = ({ status, body }: NodeAnswer): boolean => status === 404 && body["code"] === "no-rule-set";

type ReadEndpoint = "ruleHistory" | "ruleSet" | "ruleSetDiff";

const read = async <E extends ReadEndpoint>(node: AdminNode, path: string): Promise<AnswerOf<E>> =>
  answerOf<E>(node, await askNode(node, "GET", path));

/** @throws {StartupError} The node refuses. */
function answerOf<E extends ReadEndpoint>(node: AdminNode, answer: NodeAnswer): AnswerOf<E> {
  if (answer.status !== 200) throw unexpected(node, answer);
  return answer.body as unknown as AnswerOf<E>; // as the endpoint answers
}

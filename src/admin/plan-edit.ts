/** The effect of an edit of the rules, computed by the node on which it would take effect. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Gateway } from "../gateway/gateway.ts";
import type { SubscriptionsPlan } from "../gateway/plan-rules.ts";
import { compileRulesInTurns, type RulesSource } from "../rules/compile-rules.ts";
import type { RulesDiff } from "../rules/diff-rules.ts";
import { answerJson } from "./answer-json.ts";

/** The answer to an edit that could take effect. */
export interface EditPlan {
  /** Of the rules in force, which the edit was compared with. */
  readonly generation: number;
  /** It does not show the rules in force: the reader of the plan is not always their author. */
  readonly diff: RulesDiff;
  readonly live: SubscriptionsPlan;
}

/** The answer to one that could not: everything that is wrong with it. */
export interface EditProblems {
  readonly problems: readonly {
    readonly line: number;
    readonly column: number;
    readonly path: string;
    readonly message: string;
  }[];
}

/** Nothing takes effect. @param diff Between the rules in force and the candidate. */
export async function planEdit(
  gateway: Gateway,
  generation: number,
  candidate: RulesSource,
  diff: RulesDiff,
): Promise<EditPlan> {
  const rules = await compileRulesInTurns(candidate);
  return { generation, diff: withoutRulesInForce(diff), live: await gateway.planRules(rules) };
}

function withoutRulesInForce(diff: RulesDiff): RulesDiff {
  const hide = <T extends { readonly from: string | null }>(parts: readonly T[]) =>
    parts.map((part) => ({ ...part, from: null }));
  const collections = diff.collections.map((collection) => {
    const rules = collection.rules.map((rule) => ({ ...rule, parts: hide(rule.parts) }));
    return { ...collection, parts: hide(collection.parts), rules };
  });
  return { limits: hide(diff.limits), collections };
}

/** Answers `POST /plan`, whose body is a configuration as it stands in a file. One at a time. */
export class PlanRoute {
  readonly #plan: (text: string) => Promise<EditPlan | EditProblems>;
  readonly #bytesMax: number;
  #isBusy = false;

  constructor(plan: (text: string) => Promise<EditPlan | EditProblems>, bytesMax: number) {
    this.#plan = plan;
    this.#bytesMax = bytesMax;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, error: string) => answerJson(response, status, { error });
    if (request.method !== "POST") {
      response.setHeader("allow", "POST");
      return refuse(405, "POST a configuration here, as it stands in a file");
    }
    if (this.#isBusy) return refuse(429, "another edit is being planned: try again in a moment");
    this.#isBusy = true;
    try {
      const text = await readBody(request, this.#bytesMax);
      if (text === null) {
        response.setHeader("connection", "close");
        return refuse(413, `larger than ${this.#bytesMax} bytes (server.admin.planBytes)`);
      }
      const plan = await this.#plan(text);
      answerJson(response, "problems" in plan ? 422 : 200, plan);
    } finally {
      this.#isBusy = false;
    }
  }
}

/** `null` where the body is too large; bytes after the limit are not kept. */
async function readBody(request: IncomingMessage, bytesMax: number): Promise<string | null> {
  const parts: Buffer[] = [];
  let size = 0;
  // Node types the chunks of a request as `any`; without an encoding they are always buffers.
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > bytesMax) return null;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

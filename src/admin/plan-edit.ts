/** The effect of an edit of the rules, computed by the node on which it would take effect. */
import { deferred } from "../feed/deferred.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { SubscriptionsPlan } from "../gateway/plan-rules.ts";
import { compileRulesInTurns, type RulesSource } from "../rules/compile-rules.ts";
import type { RulesDiff } from "../rules/diff-rules.ts";

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

/** Computes the effect of an edit, given as the text of a configuration. `gone` ends it: nobody waits for it any more. */
export type PlanText = (text: string, gone?: AbortSignal) => Promise<EditPlan | EditProblems>;

/** Nothing takes effect. @param diff Between the rules in force and the candidate. */
export async function planEdit(
  gateway: Gateway,
  generation: number,
  candidate: RulesSource,
  diff: RulesDiff,
  gone?: AbortSignal,
): Promise<EditPlan> {
  const rules = await compileRulesInTurns(candidate);
  gone?.throwIfAborted();
  return { generation, diff: withoutRulesInForce(diff), live: await gateway.planRules(rules, gone) };
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

/**
 * Plans one edit at a time, because each takes a thread and memory. The next one may wait: an editor asks about its text again
 * while the plan of its last text is still being computed.
 */
export class PlanTurns {
  readonly #plan: PlanText;
  #running: Promise<unknown> | null = null;
  #isAwaited = false;

  constructor(plan: PlanText) {
    this.#plan = plan;
  }

  /**
   * @param gone Aborted when the sender has left. The plan ends then, and the next one takes its turn.
   * @returns `null` while another edit is waiting already, or if the sender has left.
   */
  async plan(text: string, gone: AbortSignal): Promise<EditPlan | EditProblems | null> {
    while (this.#running !== null) if (!(await this.#turn(this.#running, gone))) return null;
    const planned = this.#plan(text, gone).finally(() => {
      this.#running = null;
    });
    this.#running = planned.catch(() => {}); // the sender of that edit has the error
    try {
      return await planned;
    } catch (error) {
      if (gone.aborted && error === gone.reason) return null;
      throw error;
    }
  }

  async #turn(running: Promise<unknown>, gone: AbortSignal): Promise<boolean> {
    if (this.#isAwaited) return false;
    this.#isAwaited = true;
    const left = deferred();
    const onLeft = () => left.resolve();
    gone.addEventListener("abort", onLeft);
    await Promise.race([running, left.promise]);
    gone.removeEventListener("abort", onLeft);
    this.#isAwaited = false;
    return !gone.aborted;
  }
}

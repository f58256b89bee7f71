import type { EditPlan, EditProblems } from "../admin/plan-edit.ts";
import { joinPlans } from "./join-plans.ts";

/** Two requests to a worker: to plan an edit, given as the text of a configuration, and to end that plan. */
export interface Planner {
  plan(text: string): Promise<EditPlan | EditProblems>;
  endPlan(): void;
}

/**
 * The effect of an edit on the subscriptions of all workers.
 * @param gone Ends the plan in all of them: nobody waits for it any more.
 * @throws The reason of `gone`, or the error of the first worker that gives no plan.
 */
export async function planInWorkers(
  workers: readonly Planner[],
  text: string,
  gone?: AbortSignal,
): Promise<EditPlan | EditProblems> {
  gone?.throwIfAborted();
  const end = () => {
    for (const worker of workers) worker.endPlan();
  };
  gone?.addEventListener("abort", end);
  try {
    const plans = await Promise.allSettled(workers.map((worker) => worker.plan(text)));
    gone?.throwIfAborted();
    return joinPlans(plans.map(planOf));
  } finally {
    gone?.removeEventListener("abort", end);
  }
}

function planOf<T>(result: PromiseSettledResult<T>): T {
  if (result.status === "fulfilled") return result.value;
  throw result.reason;
}

import { type PlanText, PlanTurns } from "../plan-edit.ts";
import type { DraftAudit } from "./draft-audit.ts";
import { ApiError } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";

/** The handler of plans of edits. */
export function planHandlers(plan: PlanText, audit: DraftAudit): Pick<Handlers, "plan"> {
  const turns = new PlanTurns(plan);
  return {
    plan: async (call, text) => {
      const { response } = call;
      const gone = new AbortController();
      response.once("close", () => gone.abort());
      await audit.note(call, "plan");
      const planned = await turns.plan(text, gone.signal);
      if (planned === null)
        throw new ApiError(429, "busy", "another edit is being planned: try again in a moment");
      if ("problems" in planned) response.statusCode = 422;
      return planned;
    },
  };
}

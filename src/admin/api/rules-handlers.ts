import type { AggregateRequest } from "../../protocol/messages.ts";
import type { QueryRequest } from "../../rules/authorize.ts";
import type { Processes } from "../questions.ts";
import type { Acts } from "./acts.ts";
import { ApiError } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { senderOf } from "./session-handlers.ts";

type RulesHandlers = Pick<Handlers, "rules" | "tryAs" | "testRules">;

/** The handlers of the rules in force, and of drafts. */
export const rulesHandlers = (processes: Processes, acts: Acts): RulesHandlers => ({
  rules: () => processes.one("rules", undefined),
  testRules: oneAtATime(async ({ response }, draft) => {
    const tested = await processes.one("testRules", draft);
    if ("problems" in tested) response.statusCode = 422;
    return tested;
  }),
  tryAs: (call, { claims, documentId, aggregate, filter, fields, sort, limit, collection }) => {
    const request: QueryRequest = {
      collection,
      ...(filter === undefined ? {} : { filter }),
      ...(fields === undefined ? {} : { fields }),
      ...(sort === undefined ? {} : { sort }),
      ...(limit === undefined ? {} : { limit }),
      // `authorize` checks its shape.
      ...(aggregate === undefined ? {} : { aggregate: aggregate as unknown as AggregateRequest }),
    };
    const sub = claims?.["sub"];
    const target = { collection, sub: typeof sub === "string" ? sub : null };
    const tried = {
      subject: claims === null ? null : { claims },
      request,
      documentId,
      mayReadDocuments: senderOf(call).admin.roles.has("documents"),
    };
    return acts.run(call, "try-as", target, () => processes.one("tryRequest", tried));
  },
});

/** Each test of a draft takes a thread and memory, so that a second one at the same time is refused. */
function oneAtATime(run: RulesHandlers["testRules"]): RulesHandlers["testRules"] {
  let isBusy = false;
  return async (call, request) => {
    if (isBusy) throw new ApiError(429, "busy", "another draft is being tested: try again in a moment");
    isBusy = true;
    try {
      return await run(call, request);
    } finally {
      isBusy = false;
    }
  };
}

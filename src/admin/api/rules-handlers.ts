import type { AggregateRequest } from "../../protocol/messages.ts";
import type { QueryRequest } from "../../rules/authorize.ts";
import type { Processes } from "../questions.ts";
import type { TestedDraft } from "../rule-set-questions.ts";
import type { Acts } from "./acts.ts";
import type { Handlers } from "./endpoints.ts";
import { oneAtATime } from "./one-at-a-time.ts";
import { senderOf } from "./session-handlers.ts";

type RulesHandlers = Pick<Handlers, "rules" | "tryAs" | "testRules">;

/** The handlers of the rules in force, and of drafts. */
export const rulesHandlers = (processes: Processes, acts: Acts): RulesHandlers => ({
  rules: () => processes.one("rules", undefined),
  testRules: oneAtATime("another draft is being tested", async ({ response }, draft: TestedDraft) => {
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

import type { AggregateRequest } from "../../protocol/messages.ts";
import type { QueryRequest } from "../../rules/authorize.ts";
import type { Processes } from "../questions.ts";
import type { TestedDraft } from "../rule-set-questions.ts";
import type { Acts } from "./acts.ts";
import { ApiError } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { oneAtATime } from "./one-at-a-time.ts";
import { Repeats } from "./repeats.ts";
import { senderOf } from "./session-handlers.ts";

type RulesHandlers = Pick<Handlers, "rules" | "tryAs" | "testRules">;

/** The handlers of the rules in force, and of drafts. */
export const rulesHandlers = (processes: Processes, acts: Acts, repeats = new Repeats()): RulesHandlers => ({
  rules: () => processes.one("rules", undefined),
  testRules: oneAtATime("another draft is being tested", async ({ response }, draft: TestedDraft) => {
    const tested = await processes.one("testRules", draft);
    if ("problems" in tested) response.statusCode = 422;
    return tested;
  }),
  tryAs: async (call, { claims, documentId, draft, ...request }) => {
    const sub = claims?.["sub"];
    const { collection } = request;
    const ofDraft = draft === null ? {} : { under: "a draft as well" };
    const target = { collection, sub: typeof sub === "string" ? sub : null, ...ofDraft };
    const { name, roles } = senderOf(call).admin;
    const tried = {
      subject: claims === null ? null : { claims },
      request: queryOf(request),
      documentId,
      mayReadDocuments: roles.has("documents"),
      draft,
    };
    const ask = () => processes.one("tryRequest", tried);
    const about = JSON.stringify([
      name,
      call.from,
      claims,
      request,
      documentId,
      draft !== null,
      tried.mayReadDocuments,
    ]);
    const isRepeated = repeats.has(about, call.nowMs);
    const answer = await (isRepeated ? ask() : acts.run(call, "try-as", target, ask));
    if (!isRepeated) repeats.note(about, call.nowMs);
    if (answer === "busy")
      throw new ApiError(429, "busy", "another draft is being tried: try again in a moment");
    return answer;
  },
});

type TriedQuery = Omit<Parameters<RulesHandlers["tryAs"]>[1], "claims" | "documentId" | "draft">;

const queryOf = ({ collection, filter, fields, sort, limit, aggregate }: TriedQuery): QueryRequest => ({
  collection,
  ...(filter === undefined ? {} : { filter }),
  ...(fields === undefined ? {} : { fields }),
  ...(sort === undefined ? {} : { sort }),
  ...(limit === undefined ? {} : { limit }),
  // `authorize` checks its shape.
  ...(aggregate === undefined ? {} : { aggregate: aggregate as unknown as AggregateRequest }),
});

import { createHash } from "node:crypto";
import type { AggregateRequest } from "../../protocol/messages.ts";
import type { QueryRequest } from "../../rules/authorize.ts";
import type { Processes } from "../questions.ts";
import type { TestedDraft } from "../rule-set-questions.ts";
import type { Acts } from "./acts.ts";
import { ApiError, type Call } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { fewAtATime, oneAtATime } from "./one-at-a-time.ts";
import { Repeats } from "./repeats.ts";
import { senderOf } from "./session-handlers.ts";

type RulesHandlers = Pick<Handlers, "rules" | "tryAs" | "testRules">;

type AskedTry = Parameters<Handlers["tryAs"]>[1];

/** Tries at the same time. Each explains all rules of a collection in the loop that serves all clients. */
const TRIES_MOST = 3;
/** A token with more claims does not fit into the headers of a request. */
const CLAIMS_LENGTH_MAX = 32_768;

/** The handlers of the rules in force, and of drafts. */
export const rulesHandlers = (processes: Processes, acts: Acts, repeats = new Repeats()): RulesHandlers => ({
  rules: () => processes.one("rules", undefined),
  testRules: oneAtATime("another draft is being tested", async ({ response }, draft: TestedDraft) => {
    const tested = await processes.one("testRules", draft);
    if ("problems" in tested) response.statusCode = 422;
    return tested;
  }),
  tryAs: fewAtATime(TRIES_MOST, "other requests are being tried", async (call: Call, asked: AskedTry) => {
    const { claims, documentId, draft, ...request } = asked;
    if (JSON.stringify(claims).length > CLAIMS_LENGTH_MAX)
      throw new ApiError(413, "too-large", `claims have more than ${CLAIMS_LENGTH_MAX} characters as JSON`);
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
      tried.draft === null ? null : digestOf(tried.draft),
      tried.mayReadDocuments,
    ]);
    const isRepeated = repeats.has(about, call.nowMs);
    const answer = await (isRepeated ? ask() : acts.run(call, "try-as", target, ask));
    if (!isRepeated) repeats.note(about, call.nowMs);
    if (answer === "busy")
      throw new ApiError(429, "busy", "another draft is being tried: try again in a moment");
    return answer;
  }),
});

/** A draft decides which collections are read, so that a try under another draft is another act. */
const digestOf = (draft: string): string => createHash("sha256").update(draft).digest("base64");

type TriedQuery = Omit<AskedTry, "claims" | "documentId" | "draft">;

const queryOf = ({ collection, filter, fields, sort, limit, aggregate }: TriedQuery): QueryRequest => ({
  collection,
  ...(filter === undefined ? {} : { filter }),
  ...(fields === undefined ? {} : { fields }),
  ...(sort === undefined ? {} : { sort }),
  ...(limit === undefined ? {} : { limit }),
  // `authorize` checks its shape.
  ...(aggregate === undefined ? {} : { aggregate: aggregate as unknown as AggregateRequest }),
});

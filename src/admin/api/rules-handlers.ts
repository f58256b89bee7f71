import { createHash } from "node:crypto";
import type { AdminOptions } from "../../gateway/admin-options.ts";
import type { AggregateRequest } from "../../protocol/messages.ts";
import type { QueryRequest } from "../../rules/authorize.ts";
import type { Processes, TriedRequest } from "../questions.ts";
import type { TestedDraft } from "../rule-set-questions.ts";
import type { TriedAs } from "../tried-user.ts";
import type { Acts } from "./acts.ts";
import { findConnection, notHere } from "./connection-handlers.ts";
import { ApiError, type Call } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { fewAtATime, oneAtATime } from "./one-at-a-time.ts";
import { Repeats } from "./repeats.ts";
import { senderOf } from "./session-handlers.ts";

type RulesHandlers = Pick<Handlers, "rules" | "tryAs" | "testRules">;

type AskedTry = Parameters<Handlers["tryAs"]>[1];

/** A token with more claims does not fit into the headers of a request. */
const CLAIMS_LENGTH_MAX = 32_768;

/** The handlers of the rules in force, and of drafts. */
export const rulesHandlers = (
  processes: Processes,
  acts: Acts,
  { tries }: Pick<AdminOptions, "tries">,
  repeats = new Repeats(),
): RulesHandlers => ({
  rules: () => processes.one("rules", undefined),
  testRules: oneAtATime("another draft is being tested", async ({ response }, draft: TestedDraft) => {
    const tested = await processes.one("testRules", draft);
    if ("problems" in tested) response.statusCode = 422;
    return tested;
  }),
  tryAs: fewAtATime(
    tries,
    "other requests are being tried (server.admin.tries)",
    async (call: Call, asked: AskedTry) => {
      const { claims, connection = null, documentId, draft, ...request } = asked;
      if (JSON.stringify(claims).length > CLAIMS_LENGTH_MAX)
        throw new ApiError(413, "too-large", `claims have more than ${CLAIMS_LENGTH_MAX} characters as JSON`);
      const { name, roles } = senderOf(call).admin;
      const mayReadDocuments = roles.has("documents");
      if (draft !== null && !roles.has("edit")) throw new ApiError(403, "role", DRAFT);
      if (connection !== null && draft !== null && !mayReadDocuments)
        throw new ApiError(403, "role", DRAFT_OF_CONNECTION);
      const as = connection === null ? subjectOf(claims) : await userOf(processes, connection);
      const tried = { as, request: queryOf(request), documentId, mayReadDocuments, draft };
      const ask = () =>
        connection === null ? processes.one("tryRequest", tried) : askHolder(processes, tried);
      const about = JSON.stringify([
        name,
        call.from,
        as,
        request,
        documentId,
        draft === null ? null : digestOf(draft),
        mayReadDocuments,
      ]);
      const isRepeated = repeats.has(about, call.nowMs);
      const act = { act: "try-as", target: targetOf(asked, as), ifUnconfirmed: null };
      const answer = await (isRepeated ? ask() : acts.run(call, act, ask));
      if (!isRepeated) repeats.note(about, call.nowMs);
      if (answer === "busy")
        throw new ApiError(429, "busy", "another draft is being tried: try again in a moment");
      if (answer === null) throw await notHere(processes, connection ?? "");
      return answer;
    },
  ),
});

const DRAFT = "to try a draft needs the role edit, which this admin does not have";

const DRAFT_OF_CONNECTION =
  "to try a connection under a draft needs the role documents, which this admin does not have: conditions of a draft could find out any claim";

const subjectOf = (claims: AskedTry["claims"]) => ({ subject: claims === null ? null : { claims } });

/**
 * The user of a connection. The claims stay in the process that holds it.
 * @throws {ApiError} There is no such connection, or it has no user yet.
 */
async function userOf(processes: Processes, id: string) {
  const { sub, connectedAtMs } = await findConnection(processes, id);
  if (connectedAtMs !== null) return { connection: id, sub };
  throw new ApiError(409, "no-user", "the client of the connection has not sent its token yet: try again");
}

/** Asks all processes, of which one holds the connection. `null` if it has ended meanwhile. */
async function askHolder(processes: Processes, tried: TriedRequest) {
  const answers = await processes.all("tryRequest", tried);
  return answers.find((answer) => answer !== null) ?? null;
}

/** The try in the audit. */
function targetOf({ collection, claims, draft }: AskedTry, as: TriedAs) {
  const sub = "connection" in as ? as.sub : claims?.["sub"];
  return {
    collection,
    sub: typeof sub === "string" ? sub : null,
    ...("connection" in as ? { connection: as.connection } : {}),
    ...(draft === null ? {} : { under: "a draft as well" }),
  };
}

/** A draft decides which collections are read, so that a try under another draft is another act. */
const digestOf = (draft: string): string => createHash("sha256").update(draft).digest("base64");

type TriedQuery = Omit<AskedTry, "claims" | "connection" | "documentId" | "draft">;

const queryOf = ({ collection, filter, fields, sort, limit, aggregate }: TriedQuery): QueryRequest => ({
  collection,
  ...(filter === undefined ? {} : { filter }),
  ...(fields === undefined ? {} : { fields }),
  ...(sort === undefined ? {} : { sort }),
  ...(limit === undefined ? {} : { limit }),
  // `authorize` checks its shape.
  ...(aggregate === undefined ? {} : { aggregate: aggregate as unknown as AggregateRequest }),
});

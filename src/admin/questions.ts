/**
 * The questions that the admin listener asks the processes that serve clients. It may run in another process, so that
 * every question and every answer is plain data.
 */
import type { QueryRequest } from "../rules/authorize.ts";
import type { AuditEntry, AuditPage, AuditRecord } from "../source/audit-store.ts";
import type { NodeStatus, ReportedStatus } from "../source/node-status-store.ts";
import type { PushPage } from "../source/push-store.ts";
import type { Revocation, RevocationPage } from "../source/revocation-store.ts";
import type { ClaimParts } from "./names/claim-names.ts";
import type { EditProblems } from "./plan-edit.ts";
import type { LoadSample } from "./rates.ts";
import type { RuleSetQuestions } from "./rule-set-questions.ts";
import type { SinkQuestions } from "./sink-questions.ts";
import type { TraceRead, TraceStart, TraceState, TraceToStart } from "./trace/traced.ts";
import type { TriedAs, TriedUser } from "./tried-user.ts";

/** A page of connections, in the order of their ids. */
export interface ConnectionSearch {
  readonly limit: number;
  /** Only connections after the one with this id. */
  readonly after?: string | undefined;
  readonly sub?: string | undefined;
  readonly address?: string | undefined;
  /** Only connections with a subscription to this collection, by the name that clients use. */
  readonly collection?: string | undefined;
}

/** One connection in a list. */
export interface ConnectionRow {
  /** The id of the node and the id of the connection in its log, with a dot between them. */
  readonly id: string;
  /** The name of the node. */
  readonly node: string;
  /** `null` for an anonymous client, or a token without `sub`. */
  readonly sub: string | null;
  readonly address: string;
  readonly transport: string;
  /** The name and version that the client reports about itself. */
  readonly client: string | null;
  /** `null` before `welcome`. */
  readonly connectedAtMs: number | null;
  readonly subscriptions: number;
  readonly outboxBytes: number;
  /** Whether changes are still to be sent, or rights are still to be decided. */
  readonly isBehind: boolean;
}

/** One subscription of a connection. */
export interface SubscriptionRow {
  readonly id: string;
  readonly collection: string;
  /** The rule that applies. */
  readonly rule: string;
  /** The id of its live query. */
  readonly liveQuery: string;
  /** The phase of the delivery, or `deciding` while the rights are undecided. */
  readonly state: string;
  /** Commits between the delivery and the head of the change stream; 0 while it is live. */
  readonly lagCommits: number;
}

/** One connection with its subscriptions. */
export interface ConnectionDetail extends ConnectionRow {
  readonly tokenExpiresAtMs: number | null;
  /** The first ones; `subscriptions` is the number of all. */
  readonly list: readonly SubscriptionRow[];
}

/** An act on one connection. */
export type ConnectionAct = "disconnect" | "reauthorize";

/** The effect of an act on one connection. */
export interface ActEffect {
  /** Subscriptions whose rights changed. */
  readonly changed: number;
  /** Subscriptions that ended. */
  readonly ended: number;
}

/** The order of live queries. */
export type LiveQuerySort = "cost" | "bytes" | "subscribers" | "id";

/** A page of live queries. */
export interface LiveQuerySearch {
  readonly limit: number;
  readonly sort: LiveQuerySort;
  /** Only live queries after the one with this key. */
  readonly after?: string | undefined;
  /** Only live queries of this collection, with or without its database. */
  readonly collection?: string | undefined;
  /** Whether filters show their values, which come from claims, documents and requests. */
  readonly mayReadDocuments: boolean;
}

/** The question for one live query. */
export type LiveQueryAsked = Pick<LiveQuerySearch, "mayReadDocuments"> & { readonly id: string };

/** One live query in a list; see `LiveQueryView`. */
export interface LiveQueryRow {
  readonly id: string;
  /** Its position in the order of the list. */
  readonly key: string;
  /** The name of the node. */
  readonly node: string;
  readonly namespace: string;
  readonly filter: string;
  readonly fields: string | null;
  readonly aggregate: string | null;
  readonly sort: string | null;
  readonly limit: number | null;
  readonly subscribers: number;
  readonly costMs: number;
  readonly heldBytes: number;
  readonly trackedDocuments: number;
  readonly resets: number;
  readonly isIndexed: boolean;
}

/** One live query, with the plan of its snapshot. */
export interface LiveQueryDetail extends LiveQueryRow {
  readonly snapshot: { readonly indexes: readonly string[]; readonly readsEverything: boolean } | null;
}

/** A request of a user that an admin tries. */
export interface TriedRequest {
  readonly as: TriedAs;
  readonly request: QueryRequest;
  /** The `_id` of one document, as Extended JSON; `undefined` for none. */
  readonly documentId: unknown;
  /** Whether the answer may hold contents of documents, and claims of a connection. */
  readonly mayReadDocuments: boolean;
  /**
   * The text of a configuration, under whose rules the request is tried as well; `null` for none. Only an admin who may
   * read documents tries a connection under a draft, because conditions of a draft could find out any claim.
   */
  readonly draft: string | null;
}

/** The decision about one document. */
export interface TriedDocument {
  readonly found: boolean;
  readonly visible: boolean;
  readonly because: string;
  /** The path of the condition that decides, and the values there, as text; `null` if no single condition decides. */
  readonly decided: { readonly path: string; readonly value: string } | null;
  readonly stored: unknown;
  readonly shown: unknown;
  readonly hiddenFields: readonly string[];
}

/** The outcome of a tried request under one set of rules. */
export interface TriedOutcome {
  readonly outcome: string;
  readonly reason: string | null;
  readonly rules: readonly { readonly name: string; readonly applies: boolean; readonly because: string }[];
  readonly query: {
    readonly rule: string;
    readonly namespace: string;
    readonly filter: string;
    readonly fields: string | null;
    readonly aggregate: string | null;
    readonly snapshotAllowed: boolean;
  } | null;
  readonly documents: { readonly shown: readonly unknown[]; readonly hasMore: boolean } | null;
  readonly document: TriedDocument | null;
  /** The part that the answer lacks, and its reason; `null` if nothing is missing. */
  readonly note: string | null;
  /** By collection, documents from which the lookups would read the same; `null` if they cannot be made up. */
  readonly given: Readonly<Record<string, readonly unknown[]>> | null;
}

/** The outcome under the rules in force, and under a draft. */
export interface TriedResult extends TriedOutcome {
  /** `null` if the request had claims. */
  readonly user: TriedUser | null;
  /** `null` without a draft. */
  readonly draft: TriedOutcome | EditProblems | null;
}

/** Names for the editor of rules. */
export interface RuleNames {
  /** By the names that clients use. */
  readonly collections: readonly string[];
  /** Those of the database. */
  readonly stored: readonly string[];
  /** The fields of one collection; `null` if none was named. */
  readonly fields: readonly { readonly path: string; readonly types: readonly string[] }[] | null;
}

/** Why tokens were not revoked, in words. */
export interface NotRevoked {
  readonly refused: string;
}

/** A push registration, without its filter, its data and the keys of the browser. */
export interface PushRow {
  readonly id: string;
  readonly sub: string;
  readonly collection: string;
  readonly on: readonly string[];
  /** The host of the endpoint. */
  readonly pushService: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  /** Why nothing is sent at the moment; `null` if the registration is active. */
  readonly suspended: string | null;
  /** How often the waiting push has failed; `null` if none is saved. */
  readonly attempts: number | null;
}

/** Every question, with its argument and its answer. */
export interface Questions extends RuleSetQuestions, SinkQuestions {
  connections: { with: ConnectionSearch; gives: readonly ConnectionRow[] };
  /** `null` if the process has no such connection. */
  connection: { with: string; gives: ConnectionDetail | null };
  act: { with: { readonly id: string; readonly act: ConnectionAct }; gives: ActEffect | null };
  overview: {
    with: undefined;
    gives: { readonly status: NodeStatus; readonly samples: readonly LoadSample[] };
  };
  /** All nodes that have reported to the state database. */
  fleet: { with: undefined; gives: readonly ReportedStatus[] };
  liveQueries: { with: LiveQuerySearch; gives: readonly LiveQueryRow[] };
  /** `null` if the process has no such live query. */
  liveQuery: { with: LiveQueryAsked; gives: LiveQueryDetail | null };
  /** `busy`: another draft is being compiled. `null`: the process has no such connection with such a user. */
  tryRequest: { with: TriedRequest; gives: TriedResult | "busy" | null };
  /** With the fields of a collection, if it is named. `null` if the rules in force have no such collection. */
  ruleNames: { with: string | null; gives: RuleNames | null };
  claimNames: { with: undefined; gives: readonly ClaimParts[] };
  startTrace: { with: TraceToStart; gives: TraceStart };
  /** `null` if the process has no such trace. */
  readTrace: { with: TraceRead; gives: TraceState | null };
  /** Whether the process had such a trace. */
  stopTrace: { with: string; gives: boolean };
  addAudit: { with: AuditEntry; gives: null };
  audit: { with: AuditPage; gives: readonly AuditRecord[] };
  revocations: { with: RevocationPage; gives: readonly Revocation[] };
  /** Whether a revocation would have an effect. */
  checkRevocation: { with: Revocation; gives: NotRevoked | null };
  revoke: { with: Revocation; gives: null };
  pushes: { with: PushPage; gives: readonly PushRow[] };
  /** Whether there was such a registration. */
  removePush: { with: string; gives: boolean };
  undoRevocation: { with: Pick<Revocation, "iss" | "sub" | "jti">; gives: boolean };
}

/** The name of a question. */
export type Question = keyof Questions;

/** Answers the questions in the process itself. */
export type Answers = {
  readonly [Q in Question]: (
    value: Questions[Q]["with"],
  ) => Questions[Q]["gives"] | Promise<Questions[Q]["gives"]>;
};

/** Asks one process. */
export type Ask = <Q extends Question>(
  question: Q,
  value: Questions[Q]["with"],
) => Promise<Questions[Q]["gives"]>;

/** The processes that serve the clients of this listener. */
export interface Processes {
  /** Asks all of them. @throws {Error} One of them does not answer. */
  readonly all: <Q extends Question>(
    question: Q,
    value: Questions[Q]["with"],
  ) => Promise<readonly Questions[Q]["gives"][]>;
  /** Asks any of them, for what they have in common. @throws {Error} None of them answers. */
  readonly one: Ask;
}

/** The process of the listener itself as the only one. */
export const onlyProcess = (ask: Ask): Processes => ({
  all: async (question, value) => [await ask(question, value)],
  one: ask,
});

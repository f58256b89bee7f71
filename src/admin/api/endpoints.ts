import type { z } from "zod";
import { AUDIT } from "./audit-endpoint.ts";
import { CONNECTION, CONNECTIONS, DISCONNECT, REAUTHORIZE } from "./connection-endpoints.ts";
import type { Call } from "./endpoint.ts";
import { LIVE_QUERIES, LIVE_QUERY, OVERVIEW } from "./overview-endpoints.ts";
import { PLAN } from "./plan-endpoint.ts";
import { PUSHES, REMOVE_PUSH } from "./push-endpoints.ts";
import { REVOCATIONS, REVOKE, UNDO_REVOCATION } from "./revocation-endpoints.ts";
import { RULE_NAMES } from "./rule-names-endpoint.ts";
import {
  APPLY_RULES,
  REPLAY,
  REVERT_RULES,
  RULE_HISTORY,
  RULE_NODES,
  RULE_SET,
  RULE_SET_DIFF,
} from "./rule-set-endpoints.ts";
import { RULES, TEST_RULES, TRY } from "./rules-endpoints.ts";
import { LOG_IN, LOG_OUT, WHO_AM_I } from "./session-endpoints.ts";
import { PARKED_MESSAGES, PAUSE_SINK, REPLAY_PARKED, RESUME_SINK, SINKS } from "./sink-endpoints.ts";
import { READ_TRACE, START_TRACE, STOP_TRACE } from "./trace-endpoints.ts";

/** Every endpoint of the API, by its operation. There is no other way into it. */
export const ENDPOINTS = {
  logIn: LOG_IN,
  whoAmI: WHO_AM_I,
  logOut: LOG_OUT,
  overview: OVERVIEW,
  connections: CONNECTIONS,
  connection: CONNECTION,
  disconnect: DISCONNECT,
  reauthorize: REAUTHORIZE,
  liveQueries: LIVE_QUERIES,
  liveQuery: LIVE_QUERY,
  revocations: REVOCATIONS,
  revoke: REVOKE,
  undoRevocation: UNDO_REVOCATION,
  pushes: PUSHES,
  removePush: REMOVE_PUSH,
  rules: RULES,
  ruleHistory: RULE_HISTORY,
  ruleSet: RULE_SET,
  ruleSetDiff: RULE_SET_DIFF,
  ruleNodes: RULE_NODES,
  ruleNames: RULE_NAMES,
  replay: REPLAY,
  applyRules: APPLY_RULES,
  revertRules: REVERT_RULES,
  tryAs: TRY,
  testRules: TEST_RULES,
  plan: PLAN,
  sinks: SINKS,
  pauseSink: PAUSE_SINK,
  resumeSink: RESUME_SINK,
  parkedMessages: PARKED_MESSAGES,
  replayParked: REPLAY_PARKED,
  startTrace: START_TRACE,
  readTrace: READ_TRACE,
  stopTrace: STOP_TRACE,
  audit: AUDIT,
} as const;

/** The name of an endpoint. */
export type Operation = keyof typeof ENDPOINTS;
type RequestOf<O extends Operation> = z.output<(typeof ENDPOINTS)[O]["request"]>;
/** The fields that a client of an endpoint sends. Fields with a default may be missing. */
export type SentTo<O extends Operation> = z.input<(typeof ENDPOINTS)[O]["request"]>;
/** The answer of an endpoint. */
export type AnswerOf<O extends Operation> = Frozen<z.input<(typeof ENDPOINTS)[O]["answer"]>>;

/** Handlers return data that is read-only elsewhere, too. The type of a schema is not. */
type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;

/** The code behind every endpoint. */
export type Handlers = {
  readonly [O in Operation]: (call: Call, request: RequestOf<O>) => AnswerOf<O> | Promise<AnswerOf<O>>;
};

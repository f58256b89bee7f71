import type { ENDPOINTS, Operation } from "../../admin/api/endpoints.ts";

/** The address of an endpoint, as its own declaration has it. */
type RouteOf<O extends Operation> = readonly [(typeof ENDPOINTS)[O]["method"], (typeof ENDPOINTS)[O]["path"]];

/** The endpoints that the console uses. The compiler compares each entry with the declaration of the endpoint. */
export const ROUTES = {
  logIn: ["POST", "/session"],
  whoAmI: ["GET", "/session"],
  logOut: ["DELETE", "/session"],
  overview: ["GET", "/overview"],
  connections: ["GET", "/connections"],
  connection: ["GET", "/connections/{id}"],
  disconnect: ["POST", "/connections/{id}/disconnect"],
  reauthorize: ["POST", "/connections/{id}/reauthorize"],
  liveQueries: ["GET", "/live-queries"],
  liveQuery: ["GET", "/live-queries/{id}"],
  revocations: ["GET", "/revocations"],
  revoke: ["POST", "/revocations"],
  undoRevocation: ["POST", "/revocations/undo"],
  pushes: ["GET", "/pushes"],
  removePush: ["DELETE", "/pushes/{id}"],
  plan: ["POST", "/plan"],
  rules: ["GET", "/rules"],
  ruleHistory: ["GET", "/rules/history"],
  ruleSet: ["GET", "/rules/sets/{number}"],
  ruleSetDiff: ["GET", "/rules/sets/{number}/diff"],
  ruleNodes: ["GET", "/rules/nodes"],
  ruleNames: ["GET", "/rules/names"],
  replay: ["POST", "/rules/replay"],
  applyRules: ["POST", "/rules/apply"],
  revertRules: ["POST", "/rules/revert"],
  testRules: ["POST", "/test-rules"],
  tryAs: ["POST", "/try"],
  sinks: ["GET", "/sinks"],
  pauseSink: ["POST", "/sinks/{name}/pause"],
  resumeSink: ["POST", "/sinks/{name}/resume"],
  parkedMessages: ["GET", "/sinks/{name}/parked"],
  replayParked: ["POST", "/sinks/{name}/replay"],
  startTrace: ["POST", "/traces"],
  readTrace: ["GET", "/traces/{id}"],
  stopTrace: ["DELETE", "/traces/{id}"],
  audit: ["GET", "/audit"],
} as const satisfies { readonly [O in Operation]?: RouteOf<O> };

/** An endpoint that the console uses. */
export type Used = keyof typeof ROUTES;

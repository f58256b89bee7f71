/** Connections, and acts on one of them. */
import { z } from "zod";
import { limit } from "./audit-endpoint.ts";
import type { EndpointSpec } from "./endpoint.ts";

const time = z.iso.datetime().nullable();

const row = {
  id: z.string().describe("The id of the node, a dot, and the id of the connection in the log."),
  node: z.string().describe("The name of the node."),
  sub: z.string().nullable(),
  address: z.string(),
  transport: z.string(),
  client: z.string().nullable().describe("The name and version that the client reports about itself."),
  connectedAt: time.describe("Null before welcome."),
  subscriptions: z.int(),
  outboxBytes: z.int().describe("Bytes that wait until the client reads."),
  isBehind: z.boolean().describe("Whether changes are still to be sent, or rights are still to be decided."),
};

const subscription = z.strictObject({
  id: z.string(),
  collection: z.string(),
  rule: z.string().describe("The rule that applies."),
  liveQuery: z.string().describe("The id of its live query."),
  state: z.string().describe("The phase of the delivery, or deciding while the rights are undecided."),
  lagCommits: z
    .int()
    .describe("Commits between the delivery and the head of the stream; 0 while it is live."),
});

/** The id of a connection. */
export const connectionId = z
  .string()
  .regex(/^[0-9a-f]{12}\.[0-9a-f-]{36}$/, { error: "the id of a connection, as in the list of connections" })
  .describe("The id of the connection.");
const id = connectionId;

/** `GET /connections`: a page of them. */
export const CONNECTIONS = {
  method: "GET",
  path: "/connections",
  role: "view",
  summary: "Connections of this node and its workers, by id.",
  request: z.strictObject({
    limit,
    after: id.optional().describe("Only connections after this one: the next of the page before."),
    sub: z.string().max(1_024).optional().describe("Only connections of this user."),
    address: z.string().max(64).optional().describe("Only connections from this address."),
    collection: z.string().max(255).optional().describe("Only connections that follow this collection."),
  }),
  answer: z.strictObject({
    connections: z.array(z.strictObject(row)),
    next: z.string().nullable().describe("For `after` of the next page; null if this is the last one."),
  }),
} as const satisfies EndpointSpec;

/** `GET /connections/{id}`: one of them. */
export const CONNECTION = {
  method: "GET",
  path: "/connections/{id}",
  role: "view",
  summary: "One connection with its subscriptions, at most 1,000 of them.",
  request: z.strictObject({ id }),
  answer: z.strictObject({ ...row, tokenExpiresAt: time, list: z.array(subscription) }),
} as const satisfies EndpointSpec;

const effect = z.strictObject({
  changed: z.int().describe("Subscriptions whose rights changed."),
  ended: z.int().describe("Subscriptions that ended."),
  lasts: z.boolean().describe("Whether the effect lasts over a restart of the node, and a new connection."),
  note: z.string().describe("The same in words, and the next step."),
});

/** `POST /connections/{id}/disconnect`. */
export const DISCONNECT = {
  method: "POST",
  path: "/connections/{id}/disconnect",
  role: "act",
  summary: "Close a connection (4003). Its client may connect again.",
  request: z.strictObject({ id }),
  answer: effect,
} as const satisfies EndpointSpec;

/** `POST /connections/{id}/reauthorize`. */
export const REAUTHORIZE = {
  method: "POST",
  path: "/connections/{id}/reauthorize",
  role: "act",
  summary: "Authorize the subscriptions of a connection again, under the rules in force.",
  request: z.strictObject({ id }),
  answer: effect,
} as const satisfies EndpointSpec;

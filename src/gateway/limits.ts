/**
 * Limits per connection, user and address. Each default is far above the needs of an ordinary page, and low enough that
 * one client cannot affect the others.
 */
import { z } from "zod";
import {
  EARLY_MESSAGES,
  MESSAGE_BYTES,
  REQUEST_BURST,
  REQUESTS_PER_SECOND,
} from "../protocol/request-limits.ts";

/** Four times the rate of a connection. */
const USER_REQUESTS_PER_SECOND = 4 * REQUESTS_PER_SECOND;
/** Clients use half of `requestBurst`, so this is enough for twenty connections of one user that come back together. */
const USER_REQUEST_BURST = 10 * REQUEST_BURST;

/** The part of the section `limits` that bounds connections and what each may ask and hold. */
export const GatewayLimits = z.strictObject({
  messageBytes: z
    .int()
    .min(1_024)
    .max(16 * 1_048_576)
    .default(MESSAGE_BYTES)
    .describe("Largest client message; a larger one closes the connection with 1009."),
  messageDepth: z
    .int()
    .min(16)
    .max(1_000)
    .default(128)
    .describe("How deeply a client message may nest; the message itself is level 1."),
  messageNodes: z
    .int()
    .min(1_000)
    .max(1_000_000)
    .default(10_000)
    .describe("Values in a client message; each scalar, array and object is one."),
  earlyMessages: z
    .int()
    .min(0)
    .max(1_000)
    .default(EARLY_MESSAGES)
    .describe(
      "Messages that may wait on one connection until its token is verified, besides hello. Together they take at most four times messageBytes. One more closes with 4400.",
    ),
  subscriptions: z.int().min(1).max(100_000).default(100).describe("Subscriptions per connection."),
  requestsPerSecond: z
    .number()
    .positive()
    .default(REQUESTS_PER_SECOND)
    .describe(
      "Requests per second and connection, sustained. A message counts as one, and as one more for each full KiB. Pings and pongs of a WebSocket, and packets of Socket.IO that are not events, have a separate limit of the same rate.",
    ),
  requestBurst: z
    .int()
    .min(1)
    .default(REQUEST_BURST)
    .describe("Requests that a connection may send at once after a pause."),
  userRequestsPerSecond: z
    .number()
    .positive()
    .default(USER_REQUESTS_PER_SECOND)
    .describe("Requests per second of one user over all connections to this node, sustained."),
  userRequestBurst: z
    .int()
    .min(1)
    .default(USER_REQUEST_BURST)
    .describe(
      "Requests that a user may send at once after a pause, over all connections to this node: with the default, twenty tabs may come back together.",
    ),
  outboxBytes: z
    .int()
    // Catch-up is written in pieces of this size. With less room it would never advance.
    .min(65_536)
    .default(1_048_576)
    .describe(
      "Outbox of a connection that does not drain. Above the limit, the connection continues from its cursor later.",
    ),
  userOutboxBytes: z
    .int()
    .min(65_536)
    .default(16 * 1_048_576)
    .describe(
      "Outboxes of all connections of one user that do not drain. Above the limit, each connection has room for 64 KiB at a time.",
    ),
  snapshotsPerConnection: z
    .int()
    .min(1)
    .default(4)
    .describe("Snapshots sent to one connection at a time; further subscriptions wait."),
  stallTimeoutMs: z
    .int()
    .min(1_000)
    .default(60_000)
    .describe("A connection that drains nothing for this long is closed (4001)."),
  pollBytes: z
    .int()
    .min(1_024)
    .default(1_048_576)
    .describe(
      "Size at which the answer to a poll ends with the current change; a snapshot is always complete.",
    ),
  connections: z
    .int()
    .min(1)
    .optional()
    .meta({ examples: [50_000] })
    .describe("Connections of this node. Unset: the process's limit of open files, less 10 %."),
  connectionsPerUser: z
    .int()
    .min(1)
    .default(50)
    .describe("Connections of one user (iss and sub of the token) on this node."),
  connectionsPerAddress: z
    .int()
    .min(1)
    .default(200)
    .describe("Connections from one address on this node; an IPv6 address counts by its /64."),
  sockets: z
    .int()
    .min(1)
    .optional()
    .meta({ examples: [60_000] })
    .describe(
      "Sockets of this node, with or without a request yet. Unset: the limit of open files, less 5 %.",
    ),
  socketsPerAddress: z
    .int()
    .min(1)
    .optional()
    .meta({ examples: [300] })
    .describe(
      "Sockets from one address on this node, from the moment they are accepted. Unset: one and a half times connectionsPerAddress.",
    ),
  requestsPerSocket: z
    .int()
    .min(1)
    .max(1_000)
    .default(16)
    .describe(
      "HTTP requests of one socket whose answers have not ended (pipelining); with one more the socket is closed.",
    ),
  callsPerSocket: z
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe(
      "Calls of gRPC in progress on one connection of HTTP/2. The client makes further ones wait; the connection of a client that does not is closed.",
    ),
  socketCallBytes: z
    .int()
    .min(1_024)
    .default(1_048_576)
    .describe(
      "Requests of gRPC on one connection of HTTP/2 that have not arrived completely, in bytes that arrived or were announced. With more the call is refused. A single request always has room for messageBytes.",
    ),
  refreshesPerMinute: z
    .number()
    .positive()
    .default(60)
    .describe(
      "Refreshes of one connection per minute, sustained. Each authorizes all its subscriptions again, and also counts as a request.",
    ),
  refreshBurst: z.int().min(1).default(20).describe("Refreshes of one connection at once."),
  userRefreshesPerMinute: z
    .number()
    .positive()
    .default(60)
    .describe(
      "Refreshes per minute that change the rights of a subscription, of one user over all connections to this node, sustained. A newer token that gives the same rights is not counted.",
    ),
  userRefreshBurst: z
    .int()
    .min(1)
    .default(200)
    .describe(
      "Refreshes that change rights, of one user at once: with the default, four on each of 50 connections.",
    ),
  connectRate: z.number().positive().default(500).describe("New connections per second on this node."),
  connectRatePerAddress: z
    .number()
    .positive()
    .default(20)
    .describe("New connections per second from one address (IPv6: one /64)."),
  connectBurstPerAddress: z.int().min(1).default(60).describe("New connections at once from one address."),
  fences: z
    .int()
    .min(1)
    .max(10_000)
    .default(16)
    .describe("Fences that may wait on one connection at a time."),
  fenceTimeoutMs: z
    .int()
    .min(100)
    .max(600_000)
    .default(30_000)
    .describe("How long a fence waits before the answer is unavailable."),
});
/** Limits of the gateway, with all defaults filled in. */
export type GatewayLimits = z.output<typeof GatewayLimits>;

/** [3.2] The limits in the form of `welcome`, under the names of the configuration; times in milliseconds. */
export function limitsForClients(limits: object): Readonly<Record<string, number>> {
  const known = clientLimits.get(limits);
  if (known !== undefined) return known;
  const shown: Record<string, number> = {};
  for (const [name, value] of Object.entries(limits)) {
    if (typeof value === "number") shown[name.replace(/Ms$/, "")] = value;
  }
  clientLimits.set(limits, shown);
  return shown;
}

/** Every client receives the same limits, so they are computed once. */
const clientLimits = new WeakMap<object, Readonly<Record<string, number>>>();

/** The fleet at a glance, and the live queries. */
import { z } from "zod";
import { limit } from "./audit-endpoint.ts";
import type { EndpointSpec } from "./endpoint.ts";

const count = z.int().min(0);

const node = z.strictObject({
  node: z.string().describe("The name of the node. A worker is a node of its own."),
  id: z
    .string()
    .describe("The id under which clients see the node, and with which the ids of its connections begin."),
  version: z.string(),
  startedAt: z.iso.datetime(),
  reportedAgoMs: z.number().describe("How long ago the node reported; 0 for a node of this listener."),
  isSilent: z
    .boolean()
    .describe("Whether the node has missed two reports. It has probably ended, and the totals leave it out."),
  ready: z.boolean(),
  status: z.string().describe("As in /readyz."),
  headAgeMs: z.number().describe("Age of the head of the change stream."),
  rulesGeneration: z.int(),
  lastReload: z.string().describe("The outcome of the last edit of the configuration."),
  connections: count,
  subscriptions: count,
  liveQueries: count,
});

const trouble = z.strictObject({
  severity: z.enum(["error", "warning"]),
  nodes: z.array(z.string()),
  text: z.string(),
  remedy: z.string(),
  link: z.string().describe("The section of the pages that says more."),
});

const sample = z.strictObject({
  at: z.iso.datetime(),
  connections: count,
  subscriptions: count,
  liveQueries: count,
  deliveriesPerSecond: z.number(),
  errorsPerSecond: z.number(),
});

/** `GET /overview`: every node of the fleet, the load, and the conditions that need an admin. */
export const OVERVIEW = {
  method: "GET",
  path: "/overview",
  role: "view",
  summary: "Every node of the fleet, the load of the last 15 minutes, and the conditions that need an admin.",
  request: z.strictObject({}),
  answer: z.strictObject({
    nodes: z.array(node),
    isComplete: z
      .boolean()
      .describe("False if MongoDB does not answer: only the nodes of this listener are listed."),
    totals: z
      .strictObject({ nodes: count, connections: count, subscriptions: count, liveQueries: count })
      .describe("Of the nodes that are not silent."),
    troubles: z.array(trouble).describe("The gravest first."),
    samples: z.array(sample).describe("The load of the nodes of this listener, the oldest first, every 5 s."),
  }),
} as const satisfies EndpointSpec;

const row = {
  id: z.string().describe("The id of the node, a dot, and a number."),
  node: z.string(),
  namespace: z.string(),
  filter: z
    .string()
    .describe(
      "The effective filter, with the rule and the claims in it. A list shows its beginning. Values that lookups have read need the role documents; without it the name of the lookup is in their place.",
    ),
  fields: z.string().nullable().describe("The visible fields; null for an aggregate."),
  aggregate: z.string().nullable(),
  sort: z.string().nullable(),
  limit: z.int().nullable(),
  subscribers: count.describe("Connections that follow it. Without any it lingers for a moment."),
  costMs: z.number().describe("Mean time for one commit that concerns it; 0 if it was always cheap."),
  heldBytes: count.describe("Memory of its result; 0 for an unsorted result."),
  trackedDocuments: count.describe("Documents or groups that its result tracks in memory."),
  resets: count.describe("Resets of its present subscribers."),
  isIndexed: z
    .boolean()
    .describe("Whether commits find it by a value. Otherwise it is matched with every commit."),
};

const id = z
  .string()
  .regex(/^[0-9a-f]{12}\.\d{1,15}$/, { error: "the id of a live query, as in the list of live queries" })
  .describe("The id of the live query.");

/** `GET /live-queries`: a page of them. */
export const LIVE_QUERIES = {
  method: "GET",
  path: "/live-queries",
  role: "view",
  summary: "Live queries of this node and its workers.",
  request: z.strictObject({
    limit,
    sort: z
      .enum(["cost", "bytes", "subscribers", "id"])
      .default("cost")
      .describe("The largest come first. Only the order by id is stable from page to page."),
    after: z.string().max(64).optional().describe("The next of the page before, under the same sort."),
    collection: z.string().max(255).optional().describe("Only live queries of this collection."),
  }),
  answer: z.strictObject({
    liveQueries: z.array(z.strictObject(row)),
    next: z.string().nullable().describe("For `after` of the next page; null if this is the last one."),
  }),
} as const satisfies EndpointSpec;

/** `GET /live-queries/{id}`: one of them. */
export const LIVE_QUERY = {
  method: "GET",
  path: "/live-queries/{id}",
  role: "view",
  summary: "One live query, with the index that serves its snapshot.",
  request: z.strictObject({ id }),
  answer: z.strictObject({
    ...row,
    snapshot: z
      .strictObject({
        indexes: z.array(z.string()),
        readsEverything: z.boolean().describe("Whether every snapshot reads the whole collection."),
      })
      .nullable()
      .describe("How MongoDB would read the documents; null if it does not say."),
  }),
} as const satisfies EndpointSpec;

/** Traces: the way of changes to one user, through one live query, or of one document. */
import { z } from "zod";
import type { EndpointSpec } from "./endpoint.ts";

/** The longest trace, in seconds. */
const SECONDS_MAX = 600;

const subject = z.union([
  z.strictObject({ kind: z.literal("sub"), sub: z.string() }),
  z.strictObject({ kind: z.literal("live-query"), liveQuery: z.string() }),
  z.strictObject({
    kind: z.literal("document"),
    collection: z.string(),
    documentId: z.unknown().describe("Extended JSON."),
  }),
]);

/** `POST /traces`: begin one. */
export const START_TRACE = {
  method: "POST",
  path: "/traces",
  role: "act",
  summary: "Begin to follow a user, a live query or a document, on this node and its workers.",
  request: z.strictObject({
    sub: z.string().min(1).max(1_024).optional().describe("The user to follow."),
    liveQuery: z
      .string()
      .regex(/^[0-9a-f]{12}\.\d{1,15}$/, { error: "the id of a live query, as in the list of live queries" })
      .optional()
      .describe("The id of the live query to follow."),
    collection: z
      .string()
      .min(1)
      .max(255)
      .optional()
      .describe("With documentId: the collection of the document, by the name that clients use."),
    documentId: z.unknown().optional().describe("The _id of the document to follow, as Extended JSON."),
    seconds: z.int().min(1).max(SECONDS_MAX).default(120).describe("How long the trace runs."),
  }),
  answer: z.strictObject({ id: z.string(), endsAt: z.iso.datetime() }),
} as const satisfies EndpointSpec;

const id = z.uuid({ error: "the id of a trace, as POST /traces answers" }).describe("The id of the trace.");
const ms = z.number().nullable();

const send = z.strictObject({
  connection: z.string(),
  sub: z.string().nullable(),
  subscriptions: z.array(z.string()).describe("The client's ids, at most 5."),
  state: z
    .string()
    .describe("sent, or the phase of the delivery when the event came; deciding: rights are undecided."),
  messages: z
    .array(z.string())
    .describe("The types of the messages; merged: a later message contains the change."),
  bytes: z.int().describe("Bytes that were written together."),
  afterMs: ms.describe("From the match, or from the read if no match is known, to the outbox."),
});

const decision = z.strictObject({
  liveQuery: z.string().describe("The id of the live query."),
  rules: z.array(z.string()).describe("The rules by which the followed subscribers have it."),
  effect: z
    .enum(["added", "changed", "removed", "none", "unknown"])
    .describe("On the result without a limit; unknown: the event does not show it, so the result is read."),
  because: z.string().describe("The clause that decides. Values are redacted without the role documents."),
  matchedAfterMs: ms.describe("From the read to the match; null if the result did not change, or later."),
  sends: z.array(send),
  otherSends: z.int().describe("Further subscribers, which are not listed."),
});

const entry = {
  key: z.string().describe("Unique in the trace. An entry that has changed comes again under its key."),
  node: z.string().describe("The name of the node."),
  at: z.iso.datetime(),
};

const change = z.strictObject({
  kind: z.literal("change"),
  ...entry,
  clusterTime: z.string(),
  namespace: z.string(),
  operation: z.string(),
  documentId: z.string().nullable().describe("Extended JSON; null if redacted."),
  before: z
    .string()
    .nullable()
    .describe("Extended JSON, cut after 2,000 characters; null if redacted or none."),
  after: z.string().nullable().describe("As before."),
  readAfterMs: ms.describe("From the server's date of the write to the read."),
  decisions: z.array(decision).describe("At most 10."),
  otherLiveQueries: z.int().describe("Further live queries of the collection, which are not listed."),
});

const rights = z.strictObject({
  kind: z.literal("rights"),
  ...entry,
  connection: z.string(),
  sub: z.string().nullable(),
  subscription: z.string(),
  collection: z.string(),
  outcome: z
    .string()
    .describe(
      "follows: at the beginning of the trace; or how the subscription started, was refused, or ended.",
    ),
  rule: z.string().nullable().describe("The rule that applies."),
  liveQuery: z.string().nullable(),
  rules: z
    .array(z.strictObject({ name: z.string(), applies: z.boolean(), because: z.string() }))
    .describe("The rules of the collection, at most 20."),
});

/** `GET /traces/{id}`: what it has recorded. */
export const READ_TRACE = {
  method: "GET",
  path: "/traces/{id}",
  role: "act",
  summary: "The entries of a trace that are new or have changed. Contents only with the role documents.",
  request: z.strictObject({
    id,
    after: z
      .string()
      .regex(/^[0-9a-f]{12}\.\d{1,15}(?:,[0-9a-f]{12}\.\d{1,15})*$/, {
        error: "the next of the answer before",
      })
      .max(8_192)
      .optional()
      .describe("The next of the answer before."),
  }),
  answer: z.strictObject({
    subject,
    endsAt: z.iso.datetime(),
    ended: z
      .enum(["time", "stopped", "gone", "fault"])
      .nullable()
      .describe("Null while it runs; gone: the live query exists no more; fault: see the log."),
    redacted: z.boolean().describe("Whether values are left out: of this reader, or of the whole trace."),
    entries: z.array(z.union([change, rights])).describe("At most 100 of each process."),
    hasMore: z.boolean().describe("Whether there are more entries already."),
    next: z.string().describe("For `after` of the next request."),
    dropped: z.int().describe("Entries that newer ones have replaced."),
    skipped: z.int().describe("Events that were not examined, so that no client waits for the trace."),
    lostWorkers: z
      .int()
      .describe(
        "Workers that ended during the trace, as far as this answer or `after` shows. Their entries are lost. A worker that replaces one takes the trace up, unless it follows a live query.",
      ),
  }),
} as const satisfies EndpointSpec;

/** `DELETE /traces/{id}`: end it. */
export const STOP_TRACE = {
  method: "DELETE",
  path: "/traces/{id}",
  role: "act",
  summary: "End a trace. Its entries stay readable until another trace needs the room.",
  request: z.strictObject({ id }),
  answer: z.strictObject({}),
} as const satisfies EndpointSpec;

/** Sinks, as `tidewire sinks` shows them and acts on them. */
import { z } from "zod";
import { limit } from "./audit-endpoint.ts";
import type { EndpointSpec } from "./endpoint.ts";

const time = z.iso.datetime();
const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, { error: "the name of a sink, as in the configuration" })
  .describe("The name of the sink.");
const messageId = z.string().min(1).max(512);

const sink = z.strictObject({
  name: z.string(),
  collection: z.string(),
  target: z.string().describe("The kind of the target, such as webhook."),
  state: z
    .enum(["starting", "running", "trouble", "paused", "disabled"])
    .describe(
      "disabled: the target wants no more messages. trouble: nothing is sent at the moment, and the sink tries again.",
    ),
  node: z.string().nullable().describe("The node that runs it, or ran it last."),
  trouble: z.string().nullable().describe("Why nothing is sent at the moment."),
  delivered: z.int(),
  failed: z.int().describe("Attempts that the target has refused."),
  spooledMessages: z.int().describe("Messages that wait in the state database."),
  spooledBytes: z.int(),
  parked: z.int().describe("Messages that were given up after the last attempt."),
  resets: z.int().describe("How often the sink began again because changes were missing."),
  lastReset: z.strictObject({ at: time, reason: z.string() }).nullable(),
  oldestAt: time.nullable().describe("When the oldest message arrived that was not delivered."),
});

/** `GET /sinks`: all of the configuration. */
export const SINKS = {
  method: "GET",
  path: "/sinks",
  role: "view",
  summary: "The sinks of the configuration, with their state.",
  request: z.strictObject({}),
  answer: z.strictObject({ sinks: z.array(sink) }),
} as const satisfies EndpointSpec;

const done = z.strictObject({ lasts: z.boolean(), note: z.string() });

/** `POST /sinks/{name}/pause`. */
export const PAUSE_SINK = {
  method: "POST",
  path: "/sinks/{name}/pause",
  role: "act",
  summary: "Send nothing to the target of a sink. Changes wait in the state database.",
  request: z.strictObject({ name }),
  answer: done,
} as const satisfies EndpointSpec;

/** `POST /sinks/{name}/resume`. */
export const RESUME_SINK = {
  method: "POST",
  path: "/sinks/{name}/resume",
  role: "act",
  summary: "Let a paused or disabled sink go on.",
  request: z.strictObject({ name }),
  answer: done,
} as const satisfies EndpointSpec;

/** `GET /sinks/{name}/parked`: a page of parked messages. */
export const PARKED_MESSAGES = {
  method: "GET",
  path: "/sinks/{name}/parked",
  role: "view",
  summary: "Messages that the target has refused until the last attempt, by id.",
  request: z.strictObject({
    name,
    limit,
    after: messageId.optional().describe("Only messages after this one: the next of the page before."),
  }),
  answer: z.strictObject({
    messages: z.array(
      z.strictObject({
        id: z.string(),
        reason: z.string().describe("The last answer of the target; its text only with the role documents."),
        attempts: z.int(),
        at: time.describe("When the message arrived at the sink."),
        parkedAt: time,
        event: z.unknown().describe("The CloudEvent; null without the role documents."),
      }),
    ),
    next: z.string().nullable().describe("For `after` of the next page; null if this is the last one."),
  }),
} as const satisfies EndpointSpec;

/** `POST /sinks/{name}/replay`. */
export const REPLAY_PARKED = {
  method: "POST",
  path: "/sinks/{name}/replay",
  role: "act",
  summary: "Send parked messages again, after everything that waits.",
  request: z.strictObject({
    name,
    ids: z
      .array(messageId)
      .min(1)
      .max(1_000)
      .nullable()
      .default(null)
      .describe("Only the messages with these ids; null: all."),
  }),
  answer: z.strictObject({ messages: z.int().describe("How many there are."), note: z.string() }),
} as const satisfies EndpointSpec;

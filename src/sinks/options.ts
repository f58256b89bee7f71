/** The section `sinks` of the configuration. */
import { z } from "zod";
import { FieldsOptions } from "../rules/options.ts";
import { targetSchema } from "./targets/options.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const RetryOptions = z.strictObject({
  attempts: z
    .int()
    .min(1)
    .max(100)
    .default(10)
    .describe("Attempts for one message that the target refuses. After the last one it is parked."),
  firstMs: z.int().min(10).max(HOUR_MS).default(5_000).describe("Delay after the first attempt."),
  factor: z.number().min(1).max(100).default(5).describe("By this each delay is longer than the one before."),
  maxMs: z
    .int()
    .min(10)
    .max(7 * DAY_MS)
    .default(DAY_MS)
    .describe("The longest delay. With the defaults, the last attempt comes about 75 hours after the first."),
});

const SpoolOptions = z.strictObject({
  bytes: z
    .int()
    .min(65_536)
    .max(1_099_511_627_776)
    .default(1_073_741_824)
    .describe("Largest size of the messages that wait in the state database. Beyond it the sink is reset."),
  ageMs: z
    .int()
    .min(1_000)
    .max(90 * DAY_MS)
    .default(7 * DAY_MS)
    .describe("Longest time for which a message waits. Beyond it the sink is reset."),
});

/** One sink, in the form of the file. */
export const SinkOptions = z.strictObject({
  collection: z
    .string()
    .min(1)
    .meta({ examples: ["orders"] })
    .describe("The collection, by the name that clients use."),
  filter: z
    .record(z.string(), z.unknown())
    .default({})
    .meta({ examples: [{ status: "late" }] })
    .describe("A filter as in a client's `subscribe`. Unset: every document."),
  fields: FieldsOptions.optional()
    .meta({ examples: [{ exclude: ["margin"] }] })
    .describe("The fields that are sent: include or exclude paths. Unset: all."),
  aggregate: z
    .record(z.string(), z.unknown())
    .optional()
    .meta({ examples: [{ by: "status" }] })
    .describe("Counts and groups in place of documents, as in a client's `subscribe`."),
  as: z
    .record(z.string(), z.unknown())
    .optional()
    .meta({ examples: [{ sub: "partner-7" }] })
    .describe("Claims under which the rules of the collection judge the sink. Unset: no rule applies."),
  values: z
    .enum(["json", "ejson"])
    .default("json")
    .describe("The form of values: plain JSON, or canonical Extended JSON."),
  snapshot: z
    .boolean()
    .default(false)
    .describe("true: the sink begins with the present result, at its first start and after each reset."),
  concurrency: z
    .int()
    .min(1)
    .max(1_000)
    .default(16)
    .describe("Requests to the target at the same time. Messages of one `_id` are sent one after another."),
  to: targetSchema.describe("The receiver."),
  retry: RetryOptions.prefault({}).describe("The schedule for messages that the target refuses."),
  spool: SpoolOptions.prefault({}).describe("Bounds for messages that wait for the target."),
  parked: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe("Parked messages that are kept. One more removes the oldest."),
});
/** One sink, with sizes in bytes and durations in milliseconds. */
export type SinkOptions = z.output<typeof SinkOptions>;

/** The names of sinks are parts of CloudEvents' `source` and of paths, so they need no escape there. */
const SINK_NAME = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, {
  error: "a name of letters, digits, - and _, at most 64",
});

/** All sinks, by their names. */
export const SinksOptions = z.record(SINK_NAME, SinkOptions);

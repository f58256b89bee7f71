import { z } from "zod";
import { AuthOptions } from "../auth/options.ts";
import { FeedLimits, HistoryOptions } from "../feed/options.ts";
import { GatewayLimits } from "../gateway/limits.ts";
import { ServerOptions, TicketOptions } from "../gateway/options.ts";
import { PresenceOptions } from "../presence/options.ts";
import { PushLimits, PushOptions } from "../push/options.ts";
import { CollectionOptions, FilterLimits, RulesOptions } from "../rules/options.ts";
import { SinksOptions } from "../sinks/options.ts";
import { MongodbOptions } from "../source/options.ts";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

/** Every limit of the service, in one section of the file although three folders own them. */
export const Limits = z.strictObject({
  ...GatewayLimits.shape,
  ...FeedLimits.shape,
  ...PushLimits.shape,
  ...FilterLimits.shape,
});
/** The section `limits`, with sizes in bytes and durations in milliseconds. */
export type Limits = z.output<typeof Limits>;

const AnyCollections = z.record(z.string(), CollectionOptions);

/** At least one, by the names that clients use. */
export const Collections = AnyCollections.refine((collections) => Object.keys(collections).length > 0, {
  error: "at least one collection. Add one, with a list of rules",
});

/**
 * The whole configuration in the form that code uses. Its durations are milliseconds in keys that end in `Ms`. In the
 * file the same keys have no `Ms`, and durations and sizes are written with a unit (`heartbeat: 25s`, `bytes: 64MiB`).
 */
export const ConfigSchema = z.strictObject({
  mongodb: MongodbOptions.describe("The MongoDB deployment and the service's state."),
  server: ServerOptions.prefault({}).describe("Listeners and connections."),
  auth: AuthOptions.describe("Authentication."),
  rules: RulesOptions.prefault({}).describe("How rules are evaluated."),
  collections: Collections.describe(
    "The collections and their rules, under the names that clients use. Not with `rules.from: database`.",
  ),
  presence: PresenceOptions.optional().describe(
    "Presence: the rooms in which users are (docs/protocol.md, section 3.5). With this section, the collection `presence` is that of the entries. Unset: no client may enter.",
  ),
  limits: Limits.prefault({}).describe("Limits. Every limit has a default."),
  history: HistoryOptions.prefault({}).describe("Commits kept in memory for fast resumption."),
  sinks: SinksOptions.default({}).describe(
    "Changes of results for receivers that keep no connection, such as webhooks, by names of your own (docs/sinks.md).",
  ),
  tickets: TicketOptions.prefault({}).describe("How long clients may resume, and across which tokens."),
  push: PushOptions.prefault({}).describe(
    "Push registrations: notifications for users who are not connected.",
  ),
  log: z
    .strictObject({
      level: z.enum(LOG_LEVELS).default("info").describe("Lowest level that is written."),
    })
    .prefault({})
    .describe("The log, JSON lines on standard output."),
  tracing: z
    .strictObject({
      sampleRatio: z
        .number()
        .min(0)
        .max(1)
        .default(0)
        .describe(
          "Share of the batches of changes that have OpenTelemetry spans, from 0 (none) to 1 (all). Needs the package `@opentelemetry/api`, and an SDK that the process loads (docs/operations.md).",
        ),
    })
    .prefault({})
    .describe("Spans of changes for OpenTelemetry."),
});

/** The file of a node whose rules are in the database: without collections, which the rule set in force supplies. */
export const DatabaseConfigSchema = ConfigSchema.extend({ collections: AnyCollections });

/** The part of a configuration that a rule set in the database contains. */
export const RuleSetSchema = z.strictObject({ collections: Collections });

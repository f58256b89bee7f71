import { z } from "zod";
import { AuthOptions } from "../auth/options.ts";
import { FeedLimits, HistoryOptions } from "../feed/options.ts";
import { GatewayLimits, ServerOptions, TicketOptions } from "../gateway/options.ts";
import { CollectionOptions, FilterLimits, RulesOptions } from "../rules/options.ts";
import { MongodbOptions } from "../source/options.ts";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

/** Every limit of the service, in one section of the file although three folders own them. */
export const Limits = z.strictObject({
  ...GatewayLimits.shape,
  ...FeedLimits.shape,
  ...FilterLimits.shape,
});
export type Limits = z.output<typeof Limits>;

/** At least one, by the names that clients use. */
export const Collections = z
  .record(z.string(), CollectionOptions)
  .refine((collections) => Object.keys(collections).length > 0, {
    error: "at least one collection. Add one, with a list of rules",
  });

/**
 * The whole configuration in the form that code uses. Its durations end in `Ms`; in the file the same keys
 * go without `Ms` and say their unit (`heartbeat: 25s`), and sizes say theirs (`bytes: 64MiB`).
 */
export const ConfigSchema = z.strictObject({
  mongodb: MongodbOptions.describe("Where the documents are."),
  server: ServerOptions.prefault({}).describe("The listeners and how connections are kept."),
  auth: AuthOptions.describe("Who may connect."),
  rules: RulesOptions.prefault({}).describe("How rules are evaluated."),
  collections: Collections.describe("What clients may see, under the names that clients use."),
  limits: Limits.prefault({}).describe("Bounds; every one has a default."),
  history: HistoryOptions.prefault({}).describe("Change events kept in memory for quick resumption."),
  tickets: TicketOptions.prefault({}).describe("How long clients may resume, and over which tokens."),
  log: z
    .strictObject({
      level: z.enum(LOG_LEVELS).default("info").describe("The least grave level that is written."),
    })
    .prefault({})
    .describe("The log, JSON lines on standard output."),
});

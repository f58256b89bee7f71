/**
 * The section `mongodb` of the configuration. Timeouts here decide how fast the service notices an outage and how
 * patiently it starts; each description says what a larger value costs.
 */
import { z } from "zod";

/** How the service obtains the document before and after a write (docs/rules.md, section 3). */
export const IMAGE_MODES = ["auto", "required", "off"] as const;
/** See `IMAGE_MODES`. */
export type ImageMode = (typeof IMAGE_MODES)[number];

/** The value of `mongodb.uri` that starts a private mongod instead of connecting to one. */
export const EMBEDDED_URI = "embedded";

/**
 * The default data folder. It is relative to the working directory; paths in a configuration file are relative to that
 * file.
 */
export const DEFAULT_DATA_DIR = ".tidewire/mongodb";

const uri = z
  .string()
  .regex(/^(embedded$|mongodb:\/\/.|mongodb\+srv:\/\/.)/, {
    error: 'a connection string (mongodb://… or mongodb+srv://…) or "embedded"',
  })
  .default(EMBEDDED_URI)
  .describe(
    'Connection string of a replica set or sharded cluster, or "embedded": a private mongod, its data kept in dataDir.',
  );

const databaseName = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[^/\\. "$*<>:|?\0]+$/, {
    error: 'a database name, without any of / \\ . " $ * < > : | ? and spaces',
  })
  .refine((name) => !["admin", "local", "config"].includes(name), {
    error: "a database of your own: change streams do not open on admin, local and config",
  });

/** The section `mongodb`: where the documents are, and where the service keeps its own state. */
export const MongodbOptions = z.strictObject({
  uri,
  database: databaseName
    .meta({ examples: ["shop"] })
    .describe("Default database of the collections that name none of their own."),
  images: z
    .enum(IMAGE_MODES)
    .default("auto")
    .describe(
      "Pre- and post-images: auto enables them if possible, required refuses to start without them, off uses none.",
    ),
  stateDatabase: databaseName
    .default("tidewire")
    .describe(
      "Database of the service's own state: checkpoints, keys, revocations. If it also contains collections of the rules, the names of the service's own collections begin with tidewire.",
    ),
  dataDir: z
    .string()
    .min(1)
    .default(DEFAULT_DATA_DIR)
    .describe("Folder for the data of the embedded mongod. The default is in the working directory."),
  binary: z
    .string()
    .min(1)
    .optional()
    .meta({ examples: ["/usr/bin/mongod"] })
    .describe("The mongod to run when embedded, 5.0 or newer. Unset: an installed one, or else a download."),
  connectTimeoutMs: z
    .int()
    .min(500)
    .max(60_000)
    .default(3_000)
    .describe(
      "How long MongoDB may take to accept a connection or to answer a heartbeat before the node considers it down. The service recovers within about twice this after an outage; raise it if the network or the server is slower.",
    ),
  startTimeoutMs: z
    .int()
    .min(0)
    .max(3_600_000)
    .default(30_000)
    .describe(
      "How long a starting node waits for a MongoDB that does not answer before it exits with an error.",
    ),
  checkpointIntervalMs: z
    .int()
    .min(100)
    .max(60_000)
    .default(1_000)
    .describe(
      "How often a checkpoint of the change stream is saved. A longer interval means more to read again after a crash.",
    ),
  awaitTimeMs: z
    .int()
    .min(100)
    .max(10_000)
    .default(1_000)
    .describe(
      "How long the server may hold an idle read of the change stream, and how often an idle position advances.",
    ),
  progressTimeoutMs: z
    .int()
    .min(1_000)
    .max(120_000)
    .default(5_000)
    .describe(
      "A change stream that does not answer for this long beyond awaitTime is closed and opened again. The time doubles with each attempt until it answers.",
    ),
});
/** The section `mongodb`, with durations in milliseconds. */
export type MongodbOptions = z.output<typeof MongodbOptions>;

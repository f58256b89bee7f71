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

/** The default database of the service's own state. */
export const DEFAULT_STATE_DATABASE = "tidewire";

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

/** The members of a replica set that may serve the change stream, as MongoDB names them. */
const READ_PREFERENCES = [
  "primary",
  "primaryPreferred",
  "secondary",
  "secondaryPreferred",
  "nearest",
] as const;

const StreamOptions = z
  .strictObject({
    readPreference: z
      .enum(READ_PREFERENCES)
      .default("primary")
      .describe(
        "The members that may serve the change stream. secondaryPreferred takes this load off the primary, and delays changes by the replication lag. Snapshots and the service's own state stay on the primary.",
      ),
    tags: z
      .array(z.record(z.string(), z.string()))
      .max(20)
      .default([])
      .meta({ examples: [[{ region: "east" }]] })
      .describe(
        "Tag sets, the most preferred first: only members that have all tags of a set are chosen. Needs a readPreference other than primary.",
      ),
    unfollowedAfterMs: z
      .int()
      .min(0)
      .max(7 * 86_400_000)
      .default(0)
      .describe(
        "How long a collection keeps being read after its last subscription and lookup on this node, such as 1h; at least history.window. The next one waits some milliseconds until the node reads the collection again. 0ms: all configured collections are read at any time.",
      ),
  })
  .refine(({ readPreference, tags }) => readPreference !== "primary" || tags.length === 0, {
    error: "no tags with readPreference primary: MongoDB has one primary only",
    path: ["tags"],
  });
/** Which members serve the change stream. */
export type StreamOptions = z.output<typeof StreamOptions>;

/** Whether the package for Redis can use a URL: its path is the number of a database, and its credentials can be decoded. */
function isRedisUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { pathname, username, password } = new URL(text);
  try {
    decodeURIComponent(username);
    decodeURIComponent(password);
  } catch {
    return false;
  }
  return /^\/?\d*$/.test(pathname);
}

/** The URL of a Redis or Valkey. */
export const redisUrl = z
  .string()
  .regex(/^rediss?:\/\/./, { error: "a URL of Redis (redis://… or rediss://…)" })
  .refine(isRedisUrl, {
    error:
      "a URL of Redis (redis://user:password@host:6379/0), its user and password percent-encoded: %40 for @, %3A for :, %2F for /, %25 for %",
  })
  .meta({ examples: ["redis://127.0.0.1:6379"] });

const RedisOptions = z.strictObject({
  url: redisUrl.describe(
    "URL of a Redis 6.2 or Valkey, with user and password; rediss:// for TLS. It holds documents in clear text for a while.",
  ),
  key: z
    .string()
    .min(1)
    .max(200)
    .default("tidewire-tail")
    .describe(
      "The names of the keys in Redis begin with this. One for each deployment of MongoDB. Nodes with different keys have a tail and a leader each.",
    ),
  bytes: z
    .int()
    .min(16_777_216)
    .max(17_179_869_184)
    .default(268_435_456)
    .describe(
      "The most bytes of change events that the tail keeps in Redis. A node that is further behind reads MongoDB. Redis needs about a tenth more, for each set of collections that nodes follow.",
    ),
});

const TailOptions = z.strictObject({
  redis: RedisOptions.describe("The Redis that holds the shared change stream."),
});
/** Where nodes share one change stream. */
export type TailOptions = z.output<typeof TailOptions>;

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
    .default(DEFAULT_STATE_DATABASE)
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
      "How often a checkpoint of the change stream is saved. A longer interval means more to read again after a crash. Of several nodes, one saves, and the others check that it does.",
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
  stream: StreamOptions.prefault({}).describe("The members of a replica set that serve the change stream."),
  tail: TailOptions.optional().describe(
    "One change stream for all nodes: one node reads MongoDB, and all nodes read its events from Redis. Worth it from about four nodes or workers on.",
  ),
});
/** The section `mongodb`, with durations in milliseconds. */
export type MongodbOptions = z.output<typeof MongodbOptions>;

import { namespacesOf } from "../config/namespaces.ts";
import { followStateOf, revocationModeOf } from "../follow-revocations.ts";
import { type EmbeddedMongod, startEmbeddedMongod } from "../source/embedded-mongod.ts";
import type { MongoAccess } from "../source/mongo.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { type PreflightReport, preflight } from "../source/preflight.ts";
import { clientOptions, ReplaceableClient } from "../source/replaceable-client.ts";
import { redisProblem } from "../source/tail/redis-check.ts";
import { loadRedis, type RedisPackage } from "../source/tail/redis-connection.ts";
import type { Basics } from "./basics.ts";

/** The client of a node, with the URI of its MongoDB. */
export interface OpenedClient {
  readonly client: ReplaceableClient;
  /** For the embedded MongoDB, which chooses its port itself. */
  readonly uri: string;
}

/** Makes the client for the configured MongoDB, and starts the embedded one where that is configured. */
export async function openClient(basics: Basics): Promise<OpenedClient> {
  const { config, log, onStop } = basics;
  const { dataDir, binary, connectTimeoutMs } = config.mongodb;
  let { uri } = config.mongodb;
  if (uri === EMBEDDED_URI) {
    const mongod: EmbeddedMongod = await startEmbeddedMongod({ dataDir, logger: log, binary });
    onStop(() => mongod.stop());
    uri = mongod.uri;
  }
  const options = { appName: "tidewire", ...clientOptions(connectTimeoutMs) };
  const client = new ReplaceableClient(uri, options, basics, (reason) =>
    log.warn({ reason }, "the MongoDB client was replaced"),
  );
  onStop(() => client.close());
  return { client, uri };
}

/**
 * Checks that the deployment can be followed, and logs what was found.
 * @throws {StartupError} Everything that has to be changed first.
 */
export async function checkDeployment(
  { config, log }: Basics,
  client: MongoAccess,
): Promise<PreflightReport> {
  const report = await preflight(client, {
    collections: namespacesOf(config),
    followState: followStateOf(config),
    stateDatabase: config.mongodb.stateDatabase,
    images: config.mongodb.images,
  });
  for (const warning of report.warnings) log.warn(warning);
  const { version, topology, collections, scope, followsState } = report;
  const revocation = followsState && revocationModeOf(config) !== "off" ? "on" : "off";
  log.info({ version, topology, collections, changeStream: scope, revocation }, "MongoDB checks passed");
  return report;
}

/**
 * Loads the package for the shared tail if one is configured, and looks at its Redis.
 * @throws {StartupError} The package is not installed.
 */
export async function redisOf({ config: { mongodb }, log }: Basics): Promise<RedisPackage | null> {
  if (mongodb.tail === undefined) return null;
  const redis = await loadRedis("mongodb.tail");
  const problem = await redisProblem(redis, mongodb.tail.redis.url);
  if (problem !== null) log.warn(problem);
  return redis;
}

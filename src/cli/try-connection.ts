import { MongoClient, MongoNetworkTimeoutError } from "mongodb";
import type { Config } from "../config/config.ts";
import { namespacesOf } from "../config/namespaces.ts";
import { followStateOf } from "../follow-revocations.ts";
import { answerOf, isMongoFailure } from "../source/mongo.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { inspectDeployment } from "../source/preflight.ts";
import { clientOptions } from "../source/replaceable-client.ts";
import { unreachable } from "../source/start-patience.ts";

/** The whole attempt: several times what a slow server needs. In milliseconds. */
const TRY_TIMEOUT_MS = 45_000;

/** A description of a connection that works. */
interface TriedConnection {
  readonly text: string;
  readonly warnings: readonly string[];
}

/**
 * Connects to the configured MongoDB and inspects it as a node does at its start. Changes nothing.
 * @throws {StartupError} Why a node could not start.
 */
export async function tryConnection(config: Config): Promise<TriedConnection> {
  const { uri, connectTimeoutMs, stateDatabase, images } = config.mongodb;
  if (uri === EMBEDDED_URI)
    return { text: "mongodb.uri is embedded: the service starts its own MongoDB", warnings: [] };
  const client = new MongoClient(uri, { appName: "tidewire-cli", ...clientOptions(connectTimeoutMs) });
  const inspect = async () => {
    await client.connect();
    const collections = namespacesOf(config);
    return inspectDeployment(client, {
      collections,
      followState: followStateOf(config),
      stateDatabase,
      images,
    });
  };
  const onTimeout = () => new MongoNetworkTimeoutError(`no answer within ${TRY_TIMEOUT_MS} ms`);
  try {
    const { server, warnings } = await answerOf(client, inspect, { timeoutMs: TRY_TIMEOUT_MS, onTimeout });
    return { text: `ok: MongoDB ${server.version}, a ${server.topology}, can be used`, warnings };
  } catch (error) {
    throw isMongoFailure(error) ? await unreachable(error, client) : error;
  } finally {
    // Not awaited, because closing waits for a server that does not answer.
    client.close().catch(() => {}); // nobody uses this client again
  }
}

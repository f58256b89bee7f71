import { MongoClient } from "mongodb";
import { pino } from "pino";
import type { Config } from "../config/config.ts";
import { statePrefixOf } from "../config/namespaces.ts";
import { startEmbeddedMongod } from "../source/embedded-mongod.ts";
import { answerOf, isMongoFailure } from "../source/mongo.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { clientOptions } from "../source/replaceable-client.ts";
import { unreachable } from "../source/start-patience.ts";
import type { StateDatabase } from "../source/state-database.ts";
import { checkStateNames, prefixed } from "../source/state-names.ts";

/** An operator's command is a few reads and writes; one without an answer is not to hang for ever. In milliseconds. */
export const WORK_TIMEOUT_MS = 30_000;

/**
 * Works on the service's own database. An embedded mongod is started for it, as there is no other way to what
 * it holds while the service is not running.
 * @param timeoutMs Default: enough for a few reads and writes.
 * @throws {StartupError} MongoDB cannot be reached, or the embedded one's data is in use.
 */
export async function withStateDatabase<T>(
  config: Config,
  work: (client: MongoClient, database: StateDatabase) => Promise<T>,
  timeoutMs = WORK_TIMEOUT_MS,
): Promise<T> {
  const { mongodb } = config;
  const prefix = statePrefixOf(config);
  const { dataDir, binary, stateDatabase } = mongodb;
  const embedded =
    mongodb.uri === EMBEDDED_URI
      ? await startEmbeddedMongod({ dataDir, binary, logger: pino({ level: "silent" }) })
      : undefined;
  const client = new MongoClient(embedded?.uri ?? mongodb.uri, {
    appName: "tidewire-cli",
    ...clientOptions(mongodb.connectTimeoutMs),
  });
  try {
    await client.connect();
    const ask = async () => {
      await checkStateNames(client, stateDatabase, prefix);
      return work(client, prefixed(client.db(stateDatabase), prefix));
    };
    return await answerOf(client, ask, { timeoutMs });
  } catch (error) {
    // Also where it has stopped answering since, or refuses a command.
    throw isMongoFailure(error) ? await unreachable(error, client) : error;
  } finally {
    await client.close();
    await embedded?.stop();
  }
}

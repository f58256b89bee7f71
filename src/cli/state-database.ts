import { MongoClient } from "mongodb";
import { pino } from "pino";
import type { Config } from "../config/config.ts";
import { statePrefixOf } from "../config/namespaces.ts";
import { startEmbeddedMongod } from "../source/embedded-mongod.ts";
import { mayStillHappen } from "../source/majority.ts";
import { answerOf, isMongoFailure } from "../source/mongo.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { clientOptions } from "../source/replaceable-client.ts";
import { unreachable } from "../source/start-patience.ts";
import { StartupError } from "../source/startup-error.ts";
import type { StateDatabase } from "../source/state-database.ts";
import { checkStateNames, prefixed } from "../source/state-names.ts";

/** An operator's command is a few reads and writes; one without an answer is not to hang for ever. In milliseconds. */
export const WORK_TIMEOUT_MS = 30_000;

/**
 * Notes that a write begins whose effect would be unknown without an answer.
 * @param ifUnconfirmed What the error of an outage says from now on; `null`: nothing more than its cause.
 */
export type NoteAct = (ifUnconfirmed: string | null) => void;

/**
 * Works on the service's own database. An embedded mongod is started for it, as there is no other way to what
 * it holds while the service is not running.
 * @param timeoutMs Default: enough for a few reads and writes.
 * @throws {StartupError} MongoDB cannot be reached, or the embedded one's data is in use.
 */
export async function withStateDatabase<T>(
  config: Config,
  work: (client: MongoClient, database: StateDatabase, acting: NoteAct) => Promise<T>,
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
  let ifUnconfirmed: string | null = null;
  const acting: NoteAct = (text) => {
    ifUnconfirmed = text;
  };
  try {
    await client.connect();
    const ask = async () => {
      await checkStateNames(client, stateDatabase, prefix);
      return work(client, prefixed(client.db(stateDatabase), prefix), acting);
    };
    return await answerOf(client, ask, { timeoutMs });
  } catch (error) {
    // Also where it has stopped answering since, or refuses a command.
    if (!isMongoFailure(error)) throw error;
    const notes = ifUnconfirmed !== null && mayStillHappen(error) ? [ifUnconfirmed] : [];
    const { message, cause } = await unreachable(error, client);
    throw new StartupError(message, notes, { cause });
  } finally {
    await client.close();
    await embedded?.stop();
  }
}

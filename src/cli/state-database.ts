import { type Db, MongoClient } from "mongodb";
import { pino } from "pino";
import type { Config } from "../config/config.ts";
import { startEmbeddedMongod } from "../source/embedded-mongod.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { StartupError } from "../source/startup-error.ts";

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Works on the service's own database. An embedded mongod is started for it, as there is no other way to what
 * it holds while the service is not running.
 * @throws {StartupError} MongoDB cannot be reached, or the embedded one's data is in use.
 */
export async function withStateDatabase<T>(
  { mongodb }: Config,
  work: (client: MongoClient, database: Db) => Promise<T>,
): Promise<T> {
  const { dataDir, binary, stateDatabase } = mongodb;
  const embedded =
    mongodb.uri === EMBEDDED_URI
      ? await startEmbeddedMongod({ dataDir, binary, logger: pino({ level: "silent" }) })
      : undefined;
  const client = new MongoClient(embedded?.uri ?? mongodb.uri, {
    appName: "tidewire-cli",
    serverSelectionTimeoutMS: CONNECT_TIMEOUT_MS,
  });
  try {
    await client.connect().catch((cause: unknown) => {
      throw new StartupError(
        "MongoDB cannot be reached: check mongodb.uri, and that a server runs there",
        [],
        {
          cause,
        },
      );
    });
    return await work(client, client.db(stateDatabase));
  } finally {
    await client.close();
    await embedded?.stop();
  }
}

/**
 * Makes one mongod the only member, and so the primary, of a replica set that may exist from an earlier run. Change
 * streams need a replica set, and a restart usually gets another port than the one in the saved configuration.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type Db, type Document, MongoClient, MongoServerError } from "mongodb";
import { clientOptions } from "./replaceable-client.ts";
import { StartupError } from "./startup-error.ts";

const PRIMARY_WITHIN_MS = 60_000;
const POLL_MS = 20;
/** A mongod that recovers a large journal may need this long before it accepts connections, in milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Error codes of the server, as `src/mongo/base/error_codes.yml` names them. */
const ALREADY_INITIALIZED = 23;
const NOT_YET_INITIALIZED = 94;

/**
 * Initiates the set if there is none, moves it to `host` if it was saved with another port, and waits until it accepts
 * writes.
 * @param host Address of the mongod, `127.0.0.1:27017`.
 * @throws {StartupError} It did not become primary in time.
 */
export async function becomePrimary(replicaSet: string, host: string): Promise<void> {
  const client = new MongoClient(`mongodb://${host}/`, {
    ...clientOptions(CONNECT_TIMEOUT_MS),
    directConnection: true,
    serverSelectionTimeoutMS: PRIMARY_WITHIN_MS,
  });
  try {
    const admin = client.db("admin");
    const giveUpAtMs = Date.now() + PRIMARY_WITHIN_MS;
    await ensureConfig(admin, replicaSet, host);
    for (;;) {
      const hello = await admin.command({ hello: 1 });
      if (hello["isWritablePrimary"] === true && hello["me"] === host) return;
      if (Date.now() > giveUpAtMs) {
        throw new StartupError(`the embedded mongod did not become primary within ${PRIMARY_WITHIN_MS} ms`);
      }
      await delay(POLL_MS);
    }
  } finally {
    await client.close();
  }
}

async function ensureConfig(admin: Db, replicaSet: string, host: string): Promise<void> {
  for (;;) {
    const config = await readConfig(admin);
    if (config !== undefined) {
      if (config["members"]?.[0]?.host !== host) await moveTo(admin, config, host);
      return;
    }
    try {
      await admin.command({ replSetInitiate: { _id: replicaSet, members: [{ _id: 0, host }] } });
      return;
    } catch (error) {
      // While mongod still loads its configuration from disk, it answers replSetGetConfig with "not yet initialized"
      // and this command with "already initialized".
      if (!(error instanceof MongoServerError && error.code === ALREADY_INITIALIZED)) throw error;
      await delay(POLL_MS);
    }
  }
}

async function readConfig(admin: Db): Promise<Document | undefined> {
  try {
    return (await admin.command({ replSetGetConfig: 1 }))["config"];
  } catch (error) {
    if (error instanceof MongoServerError && error.code === NOT_YET_INITIALIZED) return undefined;
    throw error;
  }
}

/** A mongod whose own address is not in the configuration cannot vote, so the change must be forced. */
async function moveTo(admin: Db, config: Document, host: string): Promise<void> {
  const members = [{ _id: 0, host }];
  const moved = { ...config, version: config["version"] + 1, members };
  await admin.command({ replSetReconfig: moved, force: true });
}

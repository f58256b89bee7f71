import type { MongoAccess } from "./mongo.ts";
import { STATE_PREFIX } from "./mongo.ts";
import { StartupError } from "./startup-error.ts";
import type { StateDatabase } from "./state-database.ts";

/** The service's own collections, by their names in a database of their own. */
export const STATE_COLLECTIONS = [
  "audit",
  "checkpoints",
  "epochs",
  "keys",
  "leases",
  "lostRights",
  "nodes",
  "presence",
  "pushes",
  "pushUsers",
  "requests",
  "revocations",
  "ruleSets",
  "rules",
  "sinkParked",
  "sinkRows",
  "sinkSpool",
  "sinks",
  "urlKeys",
] as const;

/**
 * Refuses to start with empty state if the state exists under the other names. Keys would change, and revoked tokens
 * would be accepted again. The names change when the first collection of a rule is in the state database, or when the
 * last one leaves it.
 * @throws {StartupError} It names the collections to rename.
 */
export async function checkStateNames(client: MongoAccess, database: string, prefix: string): Promise<void> {
  const otherPrefix = prefix === "" ? STATE_PREFIX : "";
  const db = client.db(database);
  const hasKeys = async (of: string) =>
    (await db.collection<{ _id: string }>(`${of}keys`).countDocuments({ _id: "tickets" }, { limit: 1 })) > 0;
  if ((await hasKeys(prefix)) || !(await hasKeys(otherPrefix))) return;
  const rename = (name: string) =>
    `db.getSiblingDB(${JSON.stringify(database)}).getCollection("${otherPrefix}${name}").renameCollection("${prefix}${name}")`;
  throw new StartupError(
    `the service's state in database ${database} has names ${prefix === "" ? "with" : "without"} the prefix ` +
      `${STATE_PREFIX}, and this configuration needs the opposite, because ${prefix === "" ? "no" : "a"} collection of the rules ` +
      "lies in that database. Stop every node and rename each of these collections that exists, in mongosh",
    STATE_COLLECTIONS.map(rename),
  );
}

/** Access to the service's collections under names with a prefix. */
export function prefixed(database: StateDatabase, prefix: string): StateDatabase {
  if (prefix === "") return database;
  return {
    collection: ((name: string, options) =>
      database.collection(prefix + name, options)) as StateDatabase["collection"], // generic in the type of document, which a wrapper cannot express
    command: (command, options) => database.command(command, options),
  };
}

import { answerOf, type MongoAccess, STATE_PREFIX } from "./mongo.ts";

/** How long the server may take, in milliseconds. */
const LIST_MS = 5_000;

/** Collections of the server, and of the service itself. */
const isInternal = (name: string): boolean => name.startsWith("system.") || name.startsWith(STATE_PREFIX);

/**
 * The names of the collections of a database that the service's user may use, sorted.
 * @param most How many are read.
 * @throws The server's error.
 */
export function collectionNames(access: MongoAccess, database: string, most: number): Promise<string[]> {
  const list = async (client: MongoAccess) => {
    const found = client.db(database).listCollections({}, { nameOnly: true, authorizedCollections: true });
    const names: string[] = [];
    for await (const { name } of found) {
      if (!isInternal(name)) names.push(name);
      if (names.length >= most) break;
    }
    return names.sort();
  };
  return answerOf(access, list, { timeoutMs: LIST_MS });
}

/** What the service asks of MongoDB's driver, so that the client behind it can be replaced while it runs. */
import { type Db, type MongoClient, MongoNetworkTimeoutError } from "mongodb";
import type { ReplaceableClient } from "./replaceable-client.ts";

/** Keep this, never a `Db` or `Collection` of it: those belong to one client, which may have been abandoned. */
export type MongoAccess = MongoClient | ReplaceableClient;

/** One client, for what lives and ends with it: a session and its cursors. */
export const clientOf = (access: MongoAccess): MongoClient => ("current" in access ? access.current : access);

/** What the names of the service's own collections begin with where other collections lie in the same database. */
export const STATE_PREFIX = "tidewire.";

/** The database of the service's own state. A collection is obtained for each operation, for the same reason. */
export type StateDatabase = Pick<Db, "collection" | "command">;

/** For reads and writes of the service's own few documents, which take milliseconds where MongoDB is well. */
export const STATE_TIMEOUT_MS = 5_000;

/**
 * Rejects when MongoDB has not answered within `timeoutMs`. The driver (7.9) has no such limit of its own: `timeoutMS`
 * has no effect, and a connection whose route was lost answers never. The operation itself may still take effect.
 */
export async function answerWithin<T>(operation: Promise<T>, timeoutMs = STATE_TIMEOUT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const fail = () => reject(new MongoNetworkTimeoutError(`no answer within ${timeoutMs} ms`));
    timer = setTimeout(fail, timeoutMs);
  });
  try {
    return await Promise.race([operation, late]);
  } finally {
    clearTimeout(timer);
    operation.catch(() => {}); // The caller already knows that it failed.
  }
}

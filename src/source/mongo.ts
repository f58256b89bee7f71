/** Access to MongoDB's driver that allows the client behind it to be replaced at run time. */
import {
  type MongoClient,
  MongoError,
  MongoNetworkTimeoutError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
} from "mongodb";
import type { ReplaceableClient } from "./replaceable-client.ts";

/** Keep this, never a `Db` or `Collection` of it: those belong to one client, which may have been abandoned. */
export type MongoAccess = MongoClient | ReplaceableClient;

/** The prefix of the service's own collections where other collections are in the same database. */
export const STATE_PREFIX = "tidewire.";

/** One client, for what lives and ends with it: a session and its cursors. */
export const clientOf = (access: MongoAccess): MongoClient => ("current" in access ? access.current : access);

/**
 * Whether an operation failed because of MongoDB or the way to it, and may succeed later. Not all such errors are the
 * driver's: one of a socket whose buffer was full (7.9, `Connection.writeCommand`) is passed on as Node gave it.
 */
export function isMongoFailure(error: unknown): error is Error {
  if (error instanceof MongoError) return true;
  if (!(error instanceof Error) || !("code" in error)) return false;
  return "syscall" in error || /^ERR_(SSL|STREAM|SOCKET)_|^EPIPE$/.test(String(error.code));
}

/**
 * Whether the driver has waited for a server in vain, or the client was abandoned because another operation had: there is
 * nothing to gain by asking again at once.
 */
export const foundNoServer = (error: unknown): boolean =>
  error instanceof MongoServerSelectionError || error instanceof MongoTopologyClosedError;

/** For reads and writes of the service's own few documents, which take milliseconds where MongoDB is healthy. */
export const STATE_TIMEOUT_MS = 10_000;

/** An operation that the driver has not failed this long after it gave up all connections to a server never fails. In ms. */
const GRACE_MS = 1_000;

/** How long to wait for an answer, in milliseconds, and the error after that. */
export interface AnswerLimit {
  /** Default: none. */
  readonly timeoutMs?: number;
  readonly onTimeout?: (timeoutMs: number) => Error;
  /** The client that a session binds the operation to. Default: the one at hand. */
  readonly pinned?: MongoClient;
}

/**
 * Waits for an answer of MongoDB, in place of the driver (7.9), which leaves an operation pending for ever in two cases:
 * - It was written to a connection just as that was being destroyed: the driver then waits for a `drain` that never
 *   comes. All such operations fail here, `GRACE_MS` after the driver has cleared the pool of their server.
 * - The route was lost, and nothing but this one connection shows it. `timeoutMs` is for these; the driver's own
 *   `timeoutMS` has no effect.
 *
 * The operation itself may still take effect. A client that finds no server to use is replaced: its monitor may hang, too.
 */
export async function answerOf<T>(
  access: MongoAccess,
  ask: (client: MongoClient) => Promise<T>,
  { timeoutMs, onTimeout = noAnswer, pinned }: AnswerLimit = {},
): Promise<T> {
  const client = pinned ?? clientOf(access);
  const operation = ask(client);
  let stopWaiting = () => {};
  const abandoned = new Promise<never>((_resolve, reject) => {
    const forget = pendingOf(client).add(reject);
    const fail = () => reject(onTimeout(timeoutMs ?? 0));
    // After the event loop was busy the answer may be here already: it is read before the second turn.
    const failUnlessRead = () => setImmediate(() => setImmediate(fail));
    const timer = timeoutMs === undefined ? undefined : setTimeout(failUnlessRead, timeoutMs);
    stopWaiting = () => {
      forget();
      clearTimeout(timer);
    };
  });
  try {
    return await Promise.race([operation, abandoned]);
  } catch (error) {
    if (error instanceof MongoServerSelectionError && "current" in access && access.current === client)
      access.replace("it found no server to use");
    throw error;
  } finally {
    stopWaiting();
    operation.catch(() => {}); // The caller already knows that it failed.
  }
}

const noAnswer = (timeoutMs: number) => new MongoNetworkTimeoutError(`no answer within ${timeoutMs} ms`);

/** The operations that wait for the answer of one client. */
class Pending {
  readonly #fails = new Set<(error: Error) => void>();

  constructor(client: MongoClient) {
    const failAll = () => this.#failAll();
    client.on("connectionPoolCleared", failAll).on("topologyClosed", failAll);
  }

  /** @returns Forgets it again. */
  add(fail: (error: Error) => void): () => void {
    this.#fails.add(fail);
    return () => void this.#fails.delete(fail);
  }

  /** Those that wait now; later ones go by connections that were made since. */
  #failAll(): void {
    const fails = [...this.#fails];
    if (fails.length === 0) return;
    const text =
      "the connections to the server were given up, and the driver has left this operation pending";
    const failThese = () => {
      for (const fail of fails) fail(new MongoNetworkTimeoutError(text));
    };
    setTimeout(failThese, GRACE_MS).unref();
  }
}

const pendingByClient = new WeakMap<MongoClient, Pending>();

function pendingOf(client: MongoClient): Pending {
  const known = pendingByClient.get(client);
  if (known !== undefined) return known;
  const pending = new Pending(client);
  pendingByClient.set(client, pending);
  return pending;
}

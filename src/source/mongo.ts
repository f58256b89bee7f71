/**
 * Access to MongoDB's driver. The driver (7.9) can leave operations pending for ever and clients in states from which
 * they never recover, so every operation of the service goes through `answerOf`, and clients can be replaced at run
 * time.
 */
import {
  type MongoClient,
  MongoError,
  MongoNetworkTimeoutError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
} from "mongodb";
import type { ReplaceableClient } from "./replaceable-client.ts";

/** Keep this and never a `Db` or `Collection` of it: those belong to one client, which may be replaced at any time. */
export type MongoAccess = MongoClient | ReplaceableClient;

/** The prefix of the service's own collections where their database also contains other collections. */
export const STATE_PREFIX = "tidewire.";

/** The client at this moment, for objects that live and end with it, such as a session and its cursors. */
export const clientOf = (access: MongoAccess): MongoClient => ("current" in access ? access.current : access);

/**
 * Whether an operation failed because of MongoDB or the network, and may succeed later. Not all such errors are classes
 * of the driver: an error of a socket whose buffer was full (7.9, `Connection.writeCommand`) is passed on as Node
 * raised it.
 */
export function isMongoFailure(error: unknown): error is Error {
  if (error instanceof MongoError) return true;
  if (!(error instanceof Error) || !("code" in error)) return false;
  return "syscall" in error || /^ERR_(SSL|STREAM|SOCKET)_|^EPIPE$/.test(String(error.code));
}

/**
 * Whether the driver found no server, or the client was abandoned because another operation had found none. Trying
 * again at once would be useless.
 */
export const foundNoServer = (error: unknown): boolean =>
  error instanceof MongoServerSelectionError || error instanceof MongoTopologyClosedError;

/**
 * Timeout of reads and writes of the service's own few documents, in milliseconds. They take milliseconds where MongoDB
 * is healthy.
 */
export const STATE_TIMEOUT_MS = 10_000;

/**
 * How long after the driver has cleared the pool of a server its operations may still fail by themselves, in
 * milliseconds. Operations that are pending after that never settle.
 */
const GRACE_MS = 1_000;

/** How long to wait for an answer, in milliseconds, and the error to throw after that. */
export interface AnswerLimit {
  /** Default: none. */
  readonly timeoutMs?: number;
  readonly onTimeout?: (timeoutMs: number) => Error;
  /** The client that a session binds the operation to. Default: the current one. */
  readonly pinned?: MongoClient;
}

/**
 * Waits for an answer of MongoDB. The driver (7.9) leaves an operation pending for ever in two cases:
 * - The operation was written to a connection that was just being destroyed. The driver then waits for a `drain` that
 * never follows. All such operations fail here, `GRACE_MS` after the driver has cleared the pool of their server.
 * - The route was lost, and only this one connection is affected. `timeoutMs` covers these. The driver's own
 * `timeoutMS` has no effect on them.
 *
 * The operation itself may still take effect. A client that finds no server is replaced, because its monitor may hang
 * as well.
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
    // If the event loop was busy, the answer may have arrived already. It is read before the second turn, so the
    // operation fails only after that.
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
    operation.catch(() => {}); // The caller has received an error already; this only marks a late one as handled.
  }
}

const noAnswer = (timeoutMs: number) => new MongoNetworkTimeoutError(`no answer within ${timeoutMs} ms`);

/** The pending operations of one client. */
class Pending {
  readonly #fails = new Set<(error: Error) => void>();

  constructor(client: MongoClient) {
    const failAll = () => this.#failAll();
    client.on("connectionPoolCleared", failAll).on("topologyClosed", failAll);
  }

  /** @returns A function that removes the operation from the list. */
  add(fail: (error: Error) => void): () => void {
    this.#fails.add(fail);
    return () => void this.#fails.delete(fail);
  }

  /**
   * Fails the operations that are pending now. Later ones use connections that were made after the pool was cleared.
   */
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

/** Options with which the service reads and writes its own state, so that the state survives a failover. */
import { MongoError, MongoServerError, MongoWriteConcernError } from "mongodb";
import { isMongoFailure } from "./mongo.ts";

/**
 * The server gives up after this long, in milliseconds. Without a limit it would wait as long as the majority is
 * missing, and each waiting operation would keep a connection of the pool. It is shorter than `STATE_TIMEOUT_MS`, so
 * that the server's own answer arrives and names the cause.
 */
export const MAJORITY_TIMEOUT_MS = 5_000;

/** Options of a write that a majority must confirm. */
export const MAJORITY_WRITE = {
  writeConcern: { w: "majority", wtimeoutMS: MAJORITY_TIMEOUT_MS },
} as const;

/** Options of a read that returns only what a majority has confirmed. */
export const MAJORITY_READ = { readConcern: "majority", maxTimeMS: MAJORITY_TIMEOUT_MS } as const;

/** A document exists on the primary, and no majority has confirmed it. */
export class NoMajorityError extends MongoError {
  override get name(): string {
    return "NoMajorityError";
  }
}

/** Error codes of the server (src/mongo/base/error_codes.yml). */
const WRITE_CONCERN_FAILED = 64;
const MAX_TIME_EXPIRED = 50;

/**
 * Whether an operation failed because no majority confirmed it in time. A read that exceeds its time for another reason
 * looks the same, but reads of the service's few small documents have no other reason.
 */
export function lacksMajority(error: unknown): boolean {
  if (error instanceof NoMajorityError) return true;
  return (
    error instanceof MongoServerError &&
    (error.code === WRITE_CONCERN_FAILED || error.code === MAX_TIME_EXPIRED)
  );
}

/**
 * Errors with which a server refuses a write before it does anything: Unauthorized, DocumentValidationFailure and
 * BSONObjectTooLarge.
 */
const REFUSED = new Set([13, 121, 10_334]);

/**
 * Whether a write that failed may take effect all the same. It may have reached the server without an answer, or wait for
 * a majority. Every error that is not known to refuse the write counts, because a wrong "nothing happened" does harm.
 */
export function mayStillHappen(error: unknown): error is Error {
  if (!isMongoFailure(error)) return false;
  const isAnswer = error instanceof MongoServerError && !(error instanceof MongoWriteConcernError);
  return !(isAnswer && REFUSED.has(Number(error.code)));
}

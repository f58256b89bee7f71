/**
 * Classifies errors of the change stream. The important question is whether the saved position still works: retrying a
 * lost one would fail for ever, and giving up a valid one would reset every client for nothing.
 */
import {
  MongoError,
  MongoNetworkError,
  MongoNetworkTimeoutError,
  MongoServerError,
  MongoServerSelectionError,
} from "mongodb";
import { lacksMajority } from "./majority.ts";
import { foundNoServer, isMongoFailure } from "./mongo.ts";

/**
 * No answer in time. The connection may hang for ever, so the client must be abandoned and not closed in the ordinary
 * way.
 */
export class StreamStalledError extends Error {
  override readonly name = "StreamStalledError";
}

/** The member that serves the change stream is behind the primary, and does not advance. */
export class StaleMemberError extends Error {
  override readonly name = "StaleMemberError";
}

/**
 * Errors after which this position can never be read again: the oplog no longer reaches back (ChangeStreamHistoryLost
 * 286; CappedPositionLost 136, which has no label), or the token does not belong to this deployment or pipeline (280,
 * 260, and 9, 15, 40647, 50811 for a token that is not understood). An event that cannot be read at all
 * (BSONObjectTooLarge 10334) can also only be skipped. Retrying with the same token would fail for ever.
 */
const POSITION_LOST = new Set([286, 136, 280, 260, 9, 15, 40_647, 50_811, 10_334]);

/** Whether the stream can be resumed, or its position is lost. The label of a metric. */
export type StreamFailure = "position-lost" | "resumable";

/**
 * Whether the stream can be resumed after an error. The drivers' change-stream specification lists the resumable
 * errors. This function is more patient: every error that is not known to have lost the position is retried with
 * back-off, because giving up would turn an outage of the database into an outage of the service.
 */
export function classifyStreamError(error: unknown): StreamFailure {
  if (!(error instanceof MongoError)) return "resumable";
  if (error instanceof MongoServerError && POSITION_LOST.has(Number(error.code))) return "position-lost";
  return error.hasErrorLabel("NonResumableChangeStreamError") ? "position-lost" : "resumable";
}

/** Why the change stream is down: values of a label, and of `/readyz`. */
export const DOWN_REASONS = [
  "starting",
  "unreachable",
  "no-answer",
  "no-primary",
  "no-majority",
  "stale-member",
  "refused",
  "position-lost",
  "other",
] as const;
/** See `DOWN_REASONS`. */
export type DownReason = (typeof DOWN_REASONS)[number];

/** Error codes of a server that is no primary, or is about to shut down (src/mongo/base/error_codes.yml). */
const NO_PRIMARY = new Set([10_107, 13_435, 13_436, 11_600, 11_602, 189, 91]);

/** The reason that an admin sees for an error of the stream. */
export function downReasonOf(error: unknown): DownReason {
  if (error instanceof StaleMemberError) return "stale-member";
  if (error instanceof StreamStalledError || error instanceof MongoNetworkTimeoutError) return "no-answer";
  if (error instanceof MongoServerSelectionError) return reasonOfSelection(error);
  if (foundNoServer(error)) return "unreachable";
  if (lacksMajority(error)) return "no-majority";
  if (error instanceof MongoServerError) {
    if (classifyStreamError(error) === "position-lost") return "position-lost";
    return NO_PRIMARY.has(Number(error.code)) ? "no-primary" : "refused";
  }
  if (!(error instanceof MongoNetworkError))
    return isMongoFailure(error) && !(error instanceof MongoError) ? "unreachable" : "other";
  // The driver interrupts operations after a heartbeat without an answer. It does not export the class of that error.
  const isInterrupted = error.name === "PoolClearedOnNetworkError" || isTimeout(error.cause);
  return isInterrupted ? "no-answer" : "unreachable";
}

/** The driver found no usable server. Its knowledge of each server gives the reason. */
function reasonOfSelection({ reason }: MongoServerSelectionError): DownReason {
  const servers = [...(reason?.servers.values() ?? [])];
  if (servers.some(({ type }) => type !== "Unknown")) return "no-primary";
  return servers.some(({ error }) => isTimeout(error)) ? "no-answer" : "unreachable";
}

const isTimeout = (error: unknown) => error instanceof MongoNetworkTimeoutError;

/**
 * Whether no server is the primary and at least one is an initiated member of the set, so that a primary may return.
 */
export function waitsForPrimary(error: unknown): boolean {
  if (!(error instanceof MongoServerSelectionError)) return false;
  const servers = [...(error.reason?.servers.values() ?? [])];
  return servers.some(({ type }) => type === "RSSecondary" || type === "RSOther" || type === "RSArbiter");
}

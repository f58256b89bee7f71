import { MongoError, MongoServerError } from "mongodb";

/**
 * Errors after which this position can never be read again: the oplog no longer reaches back
 * (ChangeStreamHistoryLost 286, CappedPositionLost 136, which bears no label), or the token is not of this
 * deployment or pipeline (280, 260, and 9, 15, 40647, 50811 for one that is not understood). An event that
 * cannot be read at all (BSONObjectTooLarge 10334) can only be passed over, too. To go on with the same token
 * would fail for ever.
 */
const PLACE_LOST = new Set([286, 136, 280, 260, 9, 15, 40_647, 50_811, 10_334]);

export type StreamFailure = "place-lost" | "resumable";

/**
 * What to do after an error of the stream. The drivers' change-stream specification lists what is resumable;
 * everything that is not known to have lost the place is tried again here, with back-off: giving up would
 * only turn an outage of the database into one of the service.
 */
export function classifyStreamError(error: unknown): StreamFailure {
  if (!(error instanceof MongoError)) return "resumable";
  if (error instanceof MongoServerError && PLACE_LOST.has(Number(error.code))) return "place-lost";
  return error.hasErrorLabel("NonResumableChangeStreamError") ? "place-lost" : "resumable";
}

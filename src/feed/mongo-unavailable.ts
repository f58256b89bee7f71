import { TidewireError } from "../protocol/errors.ts";
import { isMongoFailure } from "../source/mongo.ts";

/** The error that a client receives when MongoDB did not answer. The server's own words are for the log only. */
export const mongoUnavailable = (cause: unknown): TidewireError =>
  new TidewireError("unavailable", "MongoDB cannot be reached just now: try again later", {}, { cause });

/** Replaces a failure of MongoDB by the error for clients. Any other error is a bug of ours and stays as it is. */
export const toClientError = (cause: unknown): unknown =>
  isMongoFailure(cause) ? mongoUnavailable(cause) : cause;

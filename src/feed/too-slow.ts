import { TidewireError } from "../protocol/errors.ts";

/**
 * When the client may ask again, in milliseconds. It is long, because the server has just worked on the read for long
 * and in vain.
 */
const RETRY_MS = 10_000;

/** Whether a read was given up because it took longer than `limits.snapshotTime`. */
export const isTooSlow = (error: unknown): boolean =>
  error instanceof TidewireError && error.details["limit"] === "snapshotTime";

/** Makes the error for a read that MongoDB gave up because it took longer than `limits.snapshotTime`. */
export function tooSlow(what: string, limitMs: number, cause: unknown): TidewireError {
  const text = `${what} takes longer than ${limitMs} ms to read: filter by indexed fields, or try again later`;
  return new TidewireError(
    "unavailable",
    text,
    { limit: "snapshotTime", value: limitMs },
    { cause, retryAfterMs: RETRY_MS },
  );
}

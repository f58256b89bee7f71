import { type ErrorCode, TidewireError } from "../protocol/errors.ts";
import type { ErrorMessage } from "../protocol/messages.ts";

/** Converts an error of the service for the application. */
export function toError({ code, message, details, retry, retryAfterMs }: ErrorMessage): TidewireError {
  return new TidewireError(code, message, details, {
    retry,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** The application has closed the client, so that requests cannot be answered. */
export const clientClosed = () =>
  new TidewireError("unavailable", "the client was closed; call connect() to use it again", {
    reason: "closed",
  });

/** The error for a connection that ended without a message of the service. */
export function endError(code: number, reason: string, cause: unknown): TidewireError {
  const message = reason === "" ? `the connection ended (${code})` : reason;
  return new TidewireError(codeOf(code), message, { code }, { cause });
}

function codeOf(closeCode: number): ErrorCode {
  // The code hides the documents, even if the message before it was lost.
  if (closeCode === 4403) return "forbidden";
  const isAuth = (closeCode >= 4100 && closeCode < 4200) || closeCode === 4401;
  return isAuth ? "unauthenticated" : "unavailable";
}

import { TidewireError } from "../protocol/errors.ts";
import type { ErrorMessage } from "../protocol/messages.ts";
import { actionFor } from "./reconnect.ts";

/** Converts an error of the service for the application. */
export function toError({ code, message, details, retry, retryAfterMs }: ErrorMessage): TidewireError {
  return new TidewireError(code, message, details, { retry, retryAfterMs });
}

/** The application has closed the client, so that requests cannot be answered. */
export const clientClosed = () =>
  new TidewireError("unavailable", "the client was closed; call connect() to use it again", {
    reason: "closed",
  });

/** The error for a connection that ended without a message of the service. */
export function endError(closeCode: number, reason: string, cause: unknown): TidewireError {
  const isAuth = actionFor(closeCode) === "token" || closeCode === 4401;
  // The code hides the documents, even if the message before it was lost.
  const code = closeCode === 4403 ? "forbidden" : isAuth ? "unauthenticated" : "unavailable";
  const message = reason || `the connection ended (${closeCode})`;
  return new TidewireError(code, message, { code: closeCode }, { cause });
}

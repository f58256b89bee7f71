/**
 * Converts errors into messages for clients. Only errors that were written for clients pass unchanged; the text of any
 * other error might contain data or internals, so it stays in the log.
 */
import type { Logger } from "pino";
import { newReference } from "../../metrics/guard.ts";
import type { CloseCode } from "../../protocol/close-codes.ts";
import { type ErrorCode, type ErrorExtras, TidewireError } from "../../protocol/errors.ts";
import type { ErrorMessage } from "../../protocol/messages.ts";

/** An error after which the connection is closed, with the close code that decides how the client reacts. */
export class ClientError extends TidewireError {
  readonly closeCode: CloseCode | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    closeCode?: CloseCode,
    { details = {}, ...extras }: ErrorExtras & { readonly details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(code, message, details, extras);
    this.closeCode = closeCode;
  }
}

/**
 * The error as a client receives it. An error that is not meant for clients is logged under a reference, and sent as
 * `internal`.
 */
export function toErrorMessage(error: unknown, log: Logger): ErrorMessage {
  if (error instanceof TidewireError) {
    const { id, ...details } = error.details;
    if (error.cause !== undefined) log.debug({ err: error.cause, code: error.code }, "a request failed");
    return {
      type: "error",
      code: error.code,
      message: error.message,
      retry: error.retry,
      ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
      ...(typeof id === "string" ? { id } : {}),
      ...(Object.keys(details).length === 0 ? {} : { details }),
    };
  }
  const ref = newReference();
  log.error({ err: error, ref }, "a request failed unexpectedly; please report it");
  return toErrorMessage(internalError(ref), log);
}

/**
 * Makes the error for a fault of the service itself. The client receives the reference under which the log has the
 * details.
 */
export function internalError(ref: string): TidewireError {
  const text = "something went wrong in the service; it has been logged under this reference";
  return new TidewireError("internal", text, { ref });
}

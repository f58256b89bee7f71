import { CLOSE_CODES, type CloseCode } from "../../protocol/close-codes.ts";
import type { TidewireError } from "../../protocol/errors.ts";
import { ClientError } from "./client-error.ts";

/** Reasons that clients receive in `details`. The older reasons follow from the close code alone. */
const TOLD_REASONS: ReadonlySet<unknown> = new Set(["key-unknown", "revoked"]);

/** [5] 4100 to 4199 mean that another token may help, 4401 that it will not. */
const CLOSE_CODE_BY_REASON: Readonly<Record<string, CloseCode>> = {
  expired: CLOSE_CODES.tokenExpired,
  "not-yet-valid": CLOSE_CODES.tokenExpired,
  "key-unknown": CLOSE_CODES.keyUnknown,
  revoked: CLOSE_CODES.tokenRevoked,
};

/** Why a token was refused, for the label of a metric. */
export const reasonOf = ({ details }: TidewireError): string => String(details["reason"]);

/**
 * Makes the error that ends the connection after a token was refused. Its close code says whether another token helps.
 */
export function closingRefusal(error: TidewireError): ClientError {
  const reason = reasonOf(error);
  const closeCode = CLOSE_CODE_BY_REASON[reason] ?? CLOSE_CODES.notAuthenticated;
  return new ClientError("unauthenticated", error.message, closeCode, {
    retry: closeCode === CLOSE_CODES.notAuthenticated ? "never" : "token",
    ...(TOLD_REASONS.has(reason) ? { details: { reason } } : {}),
    cause: error,
  });
}

import { CLOSE_CODES } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { Connection } from "./connection.ts";
import { closingRefusal, reasonOf } from "./token-refusal.ts";

/** Closes the connection if its token is no longer trusted. Nothing is pushed after that. */
export function closeIfUntrusted(connection: Connection): void {
  if (!connection.isOpen || connection.identity === null) return;
  const refusal = connection.context.trust.endOf(connection.identity);
  if (refusal === null) return;
  if (refusal.code !== "unauthenticated") {
    connection.close(CLOSE_CODES.overloaded, refusal.code, refusal);
    return;
  }
  const error = closingRefusal(refusal);
  connection.close(error.closeCode ?? CLOSE_CODES.notAuthenticated, reasonOf(refusal), error);
}

/** Closes the connection if its token has expired. Nothing is pushed after that. */
export function closeIfExpired(connection: Connection): void {
  if (!connection.isOpen || connection.login.deadlineMs > Date.now()) return;
  const error = new TidewireError("unauthenticated", "the token has expired: get a new one", {
    reason: "expired",
  });
  connection.close(CLOSE_CODES.tokenExpired, "token expired", error);
}

/**
 * Replaces the token of a connection without a reconnect. Tokens live for minutes and connections for days, so this is
 * the normal way in which rights change.
 */
import { maySucceed } from "../../../auth/subject.ts";
import type { Identity } from "../../../auth/verify-token.ts";
import { TidewireError } from "../../../protocol/errors.ts";
import type { RefreshMessage } from "../../../protocol/messages.ts";
import { isAnyAffected } from "../affected.ts";
import { applyIdentity, type IdentityHost, noteUnused } from "../apply-identity.ts";
import type { Login } from "../login.ts";
import { reasonOf } from "../token-refusal.ts";

/** The parts of a connection that replacing its token needs. */
export interface RefreshHost extends IdentityHost {
  readonly address: string;
  readonly isClosed: boolean;
  readonly login: IdentityHost["login"] & Pick<Login, "startRefresh" | "isOvertaken" | "finishRefresh">;
}

/**
 * [3.1] Takes a new token of the same user. A bad token changes nothing.
 * @param chargeChange Charges the user for a change of rights. Throws if there were too many.
 */
export async function handleRefresh(
  connection: RefreshHost,
  { token }: RefreshMessage,
  chargeChange: () => void,
): Promise<void> {
  const { login } = connection;
  const number = login.startRefresh();
  const identity = await verify(connection, token);
  // In the middle of a batch it is unknown which documents the client has, so no difference could be sent.
  const { feed } = connection.context;
  while (!feed.timeline.isSettled) await feed.timeline.settles;
  if (connection.isClosed) return;
  if (connection.identity === null || !maySucceed(connection.identity, identity)) {
    throw new TidewireError("forbidden", "the token is another user's: open another connection for it");
  }
  // A token that took longer to verify must not replace a newer one.
  if (login.isOvertaken(number)) {
    noteUnused(connection, identity);
    connection.send({ type: "refreshed", expires: login.expiresAtMs });
    return;
  }
  // Verification took a while, and the token's key may have been retired meanwhile.
  const refusal = connection.context.trust.refusalOf(identity);
  if (refusal !== null) throw refusal;
  if (isAnyAffected(connection, identity)) {
    try {
      chargeChange();
    } catch (error) {
      noteUnused(connection, identity);
      throw error;
    }
  }
  login.finishRefresh(number);
  await applyIdentity(connection, identity);
}

/**
 * Verifies a token.
 * @throws {TidewireError} `unauthenticated`, which is logged as well; `unavailable`.
 */
async function verify({ context, address }: RefreshHost, token: string): Promise<Identity> {
  try {
    return await context.trust.verify(token);
  } catch (error) {
    if (error instanceof TidewireError && error.code === "unauthenticated") {
      context.refusals.log(`token-${reasonOf(error)}`, { address });
    }
    throw error;
  }
}

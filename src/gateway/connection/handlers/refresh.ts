import { maySucceed } from "../../../auth/subject.ts";
import type { Identity } from "../../../auth/verify-token.ts";
import { TidewireError } from "../../../protocol/errors.ts";
import type { RefreshMessage } from "../../../protocol/messages.ts";
import { applyIdentity, noteOvertaken } from "../apply-identity.ts";
import type { Connection } from "../connection.ts";
import { reasonOf } from "../token-refusal.ts";

/** [3.1] A new token for the same user; a bad one changes nothing. */
export async function handleRefresh(connection: Connection, { token }: RefreshMessage): Promise<void> {
  const { login } = connection;
  const number = login.startRefresh();
  const identity = await verify(connection, token);
  // In the middle of a commit it is unknown which documents the client holds, so no difference can be sent.
  const { feed } = connection.context;
  while (!feed.timeline.isSettled) await feed.timeline.settles;
  if (connection.isClosed) return;
  if (connection.identity === null || !maySucceed(connection.identity, identity)) {
    throw new TidewireError("forbidden", "the token is another user's: open another connection for it");
  }
  // A token that took longer to verify must not undo a newer one.
  if (login.isOvertaken(number)) {
    noteOvertaken(connection, identity);
    connection.send({ type: "refreshed", expires: login.expiresAtMs });
    return;
  }
  // Verifying took a while: the token's key may have been retired meanwhile.
  const refusal = connection.context.trust.refusalOf(identity);
  if (refusal !== null) throw refusal;
  login.finishRefresh(number);
  await applyIdentity(connection, identity);
}

/** @throws {TidewireError} `unauthenticated`, which is logged as well; `unavailable`. */
async function verify({ context, address }: Connection, token: string): Promise<Identity> {
  try {
    return await context.trust.verify(token);
  } catch (error) {
    if (error instanceof TidewireError && error.code === "unauthenticated") {
      context.refusals.log(`token-${reasonOf(error)}`, { address });
    }
    throw error;
  }
}

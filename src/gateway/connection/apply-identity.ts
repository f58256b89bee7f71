/**
 * Puts a newer token of a client in force. Verifying and applying a token are separate, because applying must be one
 * indivisible step: rights that the new token lacks must end before another commit is delivered.
 */
import { holderOf } from "../../auth/subject.ts";
import type { Identity } from "../../auth/verify-token.ts";
import { noteFault } from "../../metrics/guard.ts";
import { collectionDigest } from "../rights/collection-digest.ts";
import { type Affected, findAffected, Grants, suspend } from "./affected.ts";
import { sendTickets } from "./answers.ts";
import { endFor } from "./end-subscription.ts";
import type { Login } from "./login.ts";
import { reauthorize } from "./reauthorization.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionHost } from "./subscription-host.ts";
import { type WorkTurns, workTurns } from "./work-turns.ts";

/** The parts of a connection that a newer token changes. */
export interface IdentityHost extends SubscriptionHost {
  readonly isClosed: boolean;
  readonly login: SubscriptionHost["login"] & Pick<Login, "replace" | "expiresAtMs">;
}

/**
 * Puts a newer token in force. Its claims and its expiry take effect in one turn, together with the silence of every
 * subscription whose grant may have changed: rights are withdrawn before anything else happens. After that each of
 * these subscriptions is decided, in turns, so that a client with many large filters delays no other client.
 */
export async function applyIdentity(
  connection: IdentityHost,
  identity: Identity,
  turns: WorkTurns = workTurns,
): Promise<void> {
  try {
    connection.login.replace(identity);
    connection.context.presence?.identityChanged(connection);
    const affected = silence(connection);
    connection.send({ type: "refreshed", expires: connection.login.expiresAtMs });
    for (const { subscription, error } of affected) {
      // A still newer token decides about the remaining subscriptions. The same is true for the end of the connection.
      if (connection.identity !== identity) return;
      if (!connection.subscriptions.holds(subscription)) continue;
      if (error !== null) endFor(connection, subscription, error);
      else await turns.run(() => decide(connection, identity, subscription));
    }
    // The tickets of the older token end with that token, so the client needs new ones.
    if (connection.identity === identity) sendTickets(connection);
  } catch (fault) {
    // Nothing is sent for the undecided subscriptions, and nothing would ever decide them, so the connection ends.
    connection.fail(noteFault(connection.context, "rights.refresh", fault));
  }
}

/**
 * Silences every subscription whose grant may have changed. With a token that is merely newer, every grant is the same.
 * @returns These subscriptions.
 */
function silence(connection: SubscriptionHost): readonly Affected[] {
  const affected = findAffected(connection);
  for (const { subscription, error } of affected) {
    noteLost(connection, subscription);
    // Without rights nothing of the subscription continues.
    if (error === null) suspend(subscription);
    else connection.subscriptions.release(subscription);
  }
  return affected;
}

/**
 * Records the rights that a token would have withdrawn, if it does not take effect because of a newer one or of a rate. The
 * user held this token, so a ticket must not resume across this moment, although the token in force grants the right.
 */
export function noteUnused(connection: SubscriptionHost, identity: Identity): void {
  const grants = new Grants(connection.context, identity);
  for (const subscription of connection.subscriptions)
    if (grants.outcomeFor(subscription) !== "same") noteLost(connection, subscription);
}

/**
 * Records a lost right. Earlier tickets must not resume across this moment, even under a token that grants the same
 * right again.
 */
function noteLost({ context, identity }: SubscriptionHost, { attachment }: Subscription): void {
  const collection = collectionDigest(attachment.query);
  context.lostRights.note(holderOf(identity), collection, context.feed.timeline.headTime, Date.now());
}

function decide(connection: SubscriptionHost, identity: Identity, subscription: Subscription): void {
  if (connection.identity !== identity || !connection.subscriptions.holds(subscription)) return;
  reauthorize(connection, subscription);
}

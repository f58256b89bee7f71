/**
 * Puts a newer token of a client in force. Verifying and applying a token are separate, because applying must be one
 * indivisible step: rights that the new token lacks must end before another commit is delivered.
 */
import { holderOf } from "../../auth/subject.ts";
import type { Identity } from "../../auth/verify-token.ts";
import { noteFault } from "../../metrics/guard.ts";
import { LookupsNeeded } from "../../rules/bind-rule.ts";
import { type Grant, grantOf } from "../../rules/grant.ts";
import type { GatewayContext } from "../context.ts";
import { collectionDigest } from "../rights/collection-digest.ts";
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

/** The effect of a newer token on one subscription, judged by the grant alone. */
interface Affected {
  readonly subscription: Subscription;
  /** Why it has no rights any more; `null` if the grant differs, and the request must be judged under it. */
  readonly error: unknown;
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
 * Silences every subscription whose grant may have changed.
 * @returns These subscriptions.
 */
function silence(connection: SubscriptionHost): Affected[] {
  const grants = new Grants(connection.context, connection.identity);
  const affected: Affected[] = [];
  for (const subscription of connection.subscriptions) {
    const { attachment, id } = subscription;
    // An older token is still undecided for this subscription. The time under it is a gap, even if this token grants
    // the same as the one before.
    if (attachment.isUndecided(id)) connection.subscriptions.release(subscription);
    // Mostly this is all the work: with a token that is merely newer, every grant is the same.
    const outcome = grants.outcomeFor(subscription);
    if (outcome === "same") continue;
    noteLost(connection, subscription);
    const error = outcome === "differs" ? null : outcome.error;
    // Without rights nothing of the subscription continues. With different rights its state may become part of the new
    // one.
    if (error === null) {
      attachment.delivery.sendHeld();
      attachment.suspend(id);
    } else connection.subscriptions.release(subscription);
    affected.push({ subscription, error });
  }
  return affected;
}

/**
 * Records the rights that a token would have withdrawn if a newer one had not taken effect before it was verified. The
 * user held this token, so a ticket must not resume across this moment, although the newer token grants the right.
 */
export function noteOvertaken(connection: SubscriptionHost, identity: Identity): void {
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

/** The grants of a connection's subscriptions under one token. The grant of each collection is computed once. */
class Grants {
  readonly #context: GatewayContext;
  readonly #identity: Identity | null;
  readonly #byCollection = new Map<string, Grant | { readonly error: unknown }>();

  constructor(context: GatewayContext, identity: Identity | null) {
    this.#context = context;
    this.#identity = identity;
  }

  /** Judges a subscription. Never throws: any fault is a reason to end the subscription. */
  outcomeFor(subscription: Subscription): "same" | "differs" | { error: unknown } {
    const { request, lookups, attachment, id, query } = subscription;
    const known =
      this.#byCollection.get(request.collection) ?? this.#find(request.collection, lookups.values);
    if ("error" in known) return known.error instanceof LookupsNeeded ? "differs" : known;
    return known.key === query.grant && attachment.serves(id) ? "same" : "differs";
  }

  #find(collection: string, lookupValues: Subscription["lookups"]["values"]): Grant | { error: unknown } {
    const { rules, clock } = this.#context;
    try {
      const grant = grantOf(rules, this.#identity, collection, clock.nowMs, lookupValues);
      // A grant with lookups is not kept, because subscriptions differ in the sets that they have.
      if (grant.lookups.length === 0) this.#byCollection.set(collection, grant);
      return grant;
    } catch (error) {
      if (!(error instanceof LookupsNeeded)) this.#byCollection.set(collection, { error });
      return { error };
    }
  }
}

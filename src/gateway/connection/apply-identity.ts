import { holderOf } from "../../auth/subject.ts";
import type { Identity } from "../../auth/verify-token.ts";
import { noteFault } from "../../metrics/guard.ts";
import { type Grant, grantOf, LookupsNeeded } from "../../rules/authorize.ts";
import { sendTickets } from "./answers.ts";
import type { Connection } from "./connection.ts";
import { endFor } from "./end-subscription.ts";
import { reauthorize } from "./reauthorization.ts";
import type { Subscription } from "./subscription.ts";
import { type WorkTurns, workTurns } from "./work-turns.ts";

/** The effect of a newer token on one subscription, as far as the grant alone shows. */
interface Affected {
  readonly subscription: Subscription;
  /** Why it has no rights any more; `null` where the grant differs, and the request has to be judged under it. */
  readonly error: unknown;
}

/**
 * Puts a newer token in force. Its claims and its expiry take effect in one turn, together with the silence of every
 * subscription whose grant is not certainly the same: rights are withdrawn before anything else is done. Then each of
 * them is decided, in turns, so that a client with many large filters delays nobody else.
 */
export async function applyIdentity(
  connection: Connection,
  identity: Identity,
  turns: WorkTurns = workTurns,
): Promise<void> {
  try {
    connection.login.replace(identity);
    const affected = silence(connection);
    connection.send({ type: "refreshed", expires: connection.login.expiresAtMs });
    for (const { subscription, error } of affected) {
      // A still newer token decides about all that is left, and so does the end.
      if (connection.identity !== identity) return;
      if (!connection.subscriptions.holds(subscription)) continue;
      if (error !== null) endFor(connection, subscription, error);
      else await turns.run(() => decide(connection, identity, subscription));
    }
    // Tickets of the older token end with it.
    if (connection.identity === identity) sendTickets(connection);
  } catch (fault) {
    // Nothing is sent for what is still undecided, and nothing would ever decide it.
    connection.fail(noteFault(connection.context, "rights.refresh", fault));
  }
}

/** Nothing is sent from here on for a subscription whose grant is not the same as before. Gives those. */
function silence(connection: Connection): Affected[] {
  const grants = new Grants(connection, connection.identity);
  const affected: Affected[] = [];
  for (const subscription of connection.subscriptions) {
    const { attachment, id } = subscription;
    // An older token was never decided about. The time under it is a gap, also where this one gives the same as before.
    if (attachment.isUndecided(id)) connection.subscriptions.release(subscription);
    // Most often this is all the work there is: of a token that is only newer, every grant is the same.
    const outcome = grants.outcomeFor(subscription);
    if (outcome === "same") continue;
    noteLost(connection, subscription);
    const error = outcome === "differs" ? null : outcome.error;
    // Without rights nothing of what it has goes on; with others it may become a part of what the client holds then.
    if (error === null) attachment.suspend(id);
    else connection.subscriptions.release(subscription);
    affected.push({ subscription, error });
  }
  return affected;
}

/**
 * Remembers the rights that a token would have withdrawn if a newer one had not taken effect before it was verified. The
 * user held this token, so a ticket must not resume over the time from here on, although the newer token gives the right.
 */
export function noteOvertaken(connection: Connection, identity: Identity): void {
  const grants = new Grants(connection, identity);
  for (const subscription of connection.subscriptions)
    if (grants.outcomeFor(subscription) !== "same") noteLost(connection, subscription);
}

/** Tickets of before must not resume over the time from here on, not even under a token that gives the same again. */
function noteLost({ context, identity }: Connection, { request: { collection } }: Subscription): void {
  context.lostRights.note(holderOf(identity), collection, context.feed.timeline.headTime, Date.now());
}

function decide(connection: Connection, identity: Identity, subscription: Subscription): void {
  if (connection.identity !== identity || !connection.subscriptions.holds(subscription)) return;
  reauthorize(connection, subscription);
}

/** The grants of a connection's subscriptions under one token. Each collection has one grant, computed once. */
class Grants {
  readonly #connection: Connection;
  readonly #identity: Identity | null;
  readonly #byCollection = new Map<string, Grant | { readonly error: unknown }>();

  constructor(connection: Connection, identity: Identity | null) {
    this.#connection = connection;
    this.#identity = identity;
  }

  /** Never throws: whatever goes wrong is a reason to end the subscription. */
  outcomeFor({ request, lookups, attachment, id }: Subscription): "same" | "differs" | { error: unknown } {
    const known =
      this.#byCollection.get(request.collection) ?? this.#find(request.collection, lookups.values);
    if ("error" in known) return known.error instanceof LookupsNeeded ? "differs" : known;
    return known.key === attachment.query.grant && attachment.serves(id) ? "same" : "differs";
  }

  #find(collection: string, lookupValues: Subscription["lookups"]["values"]): Grant | { error: unknown } {
    const { context } = this.#connection;
    try {
      const grant = grantOf(context.rules, this.#identity, collection, context.clock.nowMs, lookupValues);
      // Which sets are at hand differs from subscription to subscription.
      if (grant.lookups.length === 0) this.#byCollection.set(collection, grant);
      return grant;
    } catch (error) {
      if (!(error instanceof LookupsNeeded)) this.#byCollection.set(collection, { error });
      return { error };
    }
  }
}

/**
 * Finds the subscriptions whose rights a change may concern, by their grants alone. That is little work, so it is done
 * for a whole connection in one turn, and the subscriptions that it finds can be silenced before any is decided about.
 */
import type { Identity } from "../../auth/verify-token.ts";
import { LookupsNeeded } from "../../rules/bind-rule.ts";
import { type Grant, grantOf } from "../../rules/grant.ts";
import type { GatewayContext } from "../context.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionHost } from "./subscription-host.ts";

/** The effect of a change of rights on one subscription, judged by the grant alone. */
export interface Affected {
  readonly subscription: Subscription;
  /** Why it has no rights any more; `null` if the grant differs, and the request must be judged under it. */
  readonly error: unknown;
}

/**
 * Finds the subscriptions whose grant may have changed. Those about which an earlier change was still undecided are
 * released: the time under that change is a gap, even if the grant is now the same as before it.
 * @param concerns Which subscriptions the change concerns. Default: all.
 */
export function findAffected(
  connection: SubscriptionHost,
  concerns: (subscription: Subscription) => boolean = () => true,
): Affected[] {
  const grants = new Grants(connection.context, connection.identity);
  const affected: Affected[] = [];
  for (const subscription of connection.subscriptions) {
    if (!concerns(subscription)) continue;
    if (subscription.attachment.isUndecided(subscription.id)) connection.subscriptions.release(subscription);
    const outcome = grants.outcomeFor(subscription);
    if (outcome === "same") continue;
    affected.push({ subscription, error: outcome === "differs" ? null : outcome.error });
  }
  return affected;
}

/** Whether `findAffected` would find a subscription under this token. Changes nothing. */
export function isAnyAffected(connection: SubscriptionHost, identity: Identity): boolean {
  const grants = new Grants(connection.context, identity);
  for (const subscription of connection.subscriptions) {
    if (subscription.attachment.isUndecided(subscription.id)) return true;
    if (grants.outcomeFor(subscription) !== "same") return true;
  }
  return false;
}

/** Writes nothing more for a subscription until it is decided about. Its state may become part of the new one. */
export function suspend({ attachment, id }: Subscription): void {
  attachment.delivery.sendHeld();
  attachment.suspend(id);
}

/** The grants of a connection's subscriptions under one token. The grant of each collection is computed once. */
export class Grants {
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

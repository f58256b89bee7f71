/**
 * Ends subscriptions. Whatever the cause, silence comes first and the message second, so that no data follows the end.
 */
import type { Logger } from "pino";
import type { Identity } from "../../auth/verify-token.ts";
import { type Fault, noteFault } from "../../metrics/guard.ts";
import { type ErrorCode, TidewireError } from "../../protocol/errors.ts";
import type { ServerMessage, UnsubscribedReason } from "../../protocol/messages.ts";
import { RuleFailure } from "../../rules/grant.ts";
import type { GatewayContext } from "../context.ts";
import type { Subscription } from "./subscription.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** The parts of a connection that ending a subscription needs. */
export interface SubscriptionOwner {
  readonly id: string;
  readonly context: GatewayContext;
  readonly identity: Identity | null;
  readonly subscriptions: Subscriptions;
  readonly log: Logger;
  send(message: ServerMessage): void;
  sendError(error: unknown, id?: string): void;
  fail(fault: Fault): void;
}

/** Errors that an active subscription reports only by the reason in `unsubscribed`. */
const SAID_BY_REASON: ReadonlySet<string> = new Set<ErrorCode>(["forbidden", "unknown-collection"]);

/** Ends a subscription. Its live query ends with the last one. */
export function endSubscription(
  owner: SubscriptionOwner,
  subscription: Subscription,
  reason: UnsubscribedReason,
): void {
  owner.subscriptions.remove(subscription);
  owner.context.trace?.ended(owner, subscription, reason);
  owner.send({ type: "unsubscribed", id: subscription.id, reason });
}

/**
 * Ends a subscription because of an error, silence first. Never throws.
 * @param reason Sent unless the error itself means that rights are missing.
 */
export function endFor(
  owner: SubscriptionOwner,
  subscription: Subscription,
  error: unknown,
  reason: UnsubscribedReason = "forbidden",
): void {
  try {
    owner.subscriptions.remove(subscription);
    owner.context.trace?.ended(owner, subscription, error instanceof TidewireError ? error.code : "internal");
    const isSaidByReason = error instanceof TidewireError && SAID_BY_REASON.has(error.code);
    if (isSaidByReason) noteRuleFailure(owner, error);
    else owner.sendError(error, subscription.id);
    if (isEndItself(error)) return;
    const said = isSaidByReason ? reasonOf(error, owner) : reason;
    owner.send({ type: "unsubscribed", id: subscription.id, reason: said });
  } catch (fault) {
    // It is unknown which messages the client has received. Only the end of its connection is certain to be silent.
    owner.fail(noteFault(owner.context, "rights.end", fault));
  }
}

/** Whether the error is the last message of the subscription: an aggregate has grown beyond its limit. */
const isEndItself = (error: unknown): boolean =>
  error instanceof TidewireError &&
  error.code === "snapshot-too-large" &&
  error.details["limit"] === "aggregateGroups";

/** Reports a rule that could not be evaluated. The client learns only that it was refused. */
export function noteRuleFailure(
  { context, log }: Pick<SubscriptionOwner, "context" | "log">,
  error: unknown,
): void {
  if (!(error instanceof TidewireError) || !(error.cause instanceof RuleFailure)) return;
  context.metrics.ruleFailures.inc();
  log.error({ err: error.cause }, "a rule could not be evaluated; the user was refused");
}

/**
 * The reason that the client receives. Anonymous clients must not learn whether a collection was removed or is merely
 * not visible to them.
 */
function reasonOf(
  { code }: TidewireError,
  { identity }: Pick<SubscriptionOwner, "identity">,
): UnsubscribedReason {
  return code === "unknown-collection" && identity !== null ? "config" : "forbidden";
}

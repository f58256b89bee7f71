/**
 * Rights of subscriptions that are active change: a rule was edited, a newer token came, or a looked-up set differs.
 *
 * The invariant: **a decision and its effect happen in one turn of the event loop.** No commit can be handed out
 * between them, so a client receives nothing of a later commit under rights that it has lost. While a decision is
 * still to be made, because a set has to be read or the client reads nothing, the subscription is silent. Any error
 * in a decision or in its effect ends that one subscription: rights fail closed, and the others are not affected.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Rights } from "../../feed/rights.ts";
import { TidewireError } from "../../protocol/errors.ts";
import {
  authorizeParsed,
  type BoundLookup,
  type EffectiveQuery,
  LookupsNeeded,
} from "../../rules/authorize.ts";
import { sendSubscribed } from "./answers.ts";
import { Attachment } from "./attachment.ts";
import { endFor } from "./end-subscription.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionHost } from "./subscription-host.ts";
import type { ChangePoint } from "./subscriptions.ts";

/** `changed` also where the decision has to wait. */
type Outcome = "unchanged" | "changed" | "ended";

const RETRY_MS = 1_000;

/**
 * Authorizes every subscription of a connection again, in one turn.
 * @returns How many subscriptions changed, and how many ended.
 */
export function reauthorizeAll(connection: SubscriptionHost): { changed: number; ended: number } {
  const counts = { unchanged: 0, changed: 0, ended: 0 };
  for (const subscription of connection.subscriptions)
    if (connection.subscriptions.holds(subscription)) counts[reauthorize(connection, subscription)]++;
  return { changed: counts.changed, ended: counts.ended };
}

/**
 * `%%now` has taken a step: authorizes the subscriptions whose rules use it again, in one turn.
 * @returns How many subscriptions changed or ended.
 */
export function reauthorizeForStep(connection: SubscriptionHost): number {
  const { subscriptions } = connection;
  /** Whether all ids of an attachment ask for one live query: then they move on together. */
  const together = new Map<Attachment, boolean>();
  let moved = 0;
  for (const subscription of subscriptions) {
    const { attachment, id } = subscription;
    if (attachment.query.nowMs === null || !subscriptions.holds(subscription) || !attachment.serves(id))
      continue;
    if (!together.has(attachment)) together.set(attachment, moveAlike(connection, attachment));
    const outcome = reauthorize(connection, subscription, null, together.get(attachment));
    if (outcome !== "unchanged") moved++;
  }
  return moved;
}

function moveAlike(connection: SubscriptionHost, attachment: Attachment): boolean {
  const served = connection.subscriptions.servedBy(attachment);
  if (served.length < 2) return true;
  try {
    const keys = served.map((subscription) => judge(connection, subscription).key);
    return new Set(keys).size === 1;
  } catch {
    return false; // each of them finds out for itself what is wrong
  }
}

/**
 * Authorizes one subscription again. Never throws.
 * @param at The commit that changed its rights; `null` for the head of the stream.
 * @param together All ids of its attachment ask for the same live query at this point.
 */
export function reauthorize(
  connection: SubscriptionHost,
  subscription: Subscription,
  at: ChangePoint = null,
  together = false,
): Outcome {
  try {
    return decide(connection, subscription, at, together);
  } catch (error) {
    endFor(connection, subscription, error);
    return "ended";
  }
}

/** A subscription whose start failed for reasons of another one: it is judged again in a moment. */
export function reauthorizeSoon(connection: SubscriptionHost, subscription: Subscription): void {
  connection.subscriptions.release(subscription);
  void sleep(RETRY_MS * (0.5 + Math.random())).then(() => reauthorizeIfActive(connection, subscription));
}

/** @throws {TidewireError} The subscription has no rights any more. */
function decide(
  connection: SubscriptionHost,
  subscription: Subscription,
  at: ChangePoint,
  together: boolean,
): Outcome {
  const { lookups, attachment, id } = subscription;
  let query: EffectiveQuery;
  try {
    query = judgeAtOnce(connection, subscription);
  } catch (error) {
    if (!(error instanceof LookupsNeeded)) throw error;
    // Until the sets are read nobody knows what may be seen, so nothing is sent.
    connection.subscriptions.release(subscription);
    void reauthorizeWithLookups(connection, subscription, error.lookups);
    return "changed";
  }
  lookups.keepOnly(query.lookups);
  if (query.key === attachment.query.key && attachment.serves(id)) {
    attachment.decide(id);
    return "unchanged";
  }
  if (connection.outbox.isFull) postpone(connection, subscription);
  else reattach(connection, subscription, query, { at, together });
  return "changed";
}

/** @throws {LookupsNeeded} Also where the sets have been read for somebody else. */
function judge(connection: SubscriptionHost, { request, lookups, attachment }: Subscription): EffectiveQuery {
  const { rules, clock } = connection.context;
  const known = attachment.query;
  return authorizeParsed(rules, connection.identity, request, clock.nowMs, lookups.values, known);
}

/** As `judge`; sets that have been read already are taken, so that nobody has to be silent for them. */
function judgeAtOnce(connection: SubscriptionHost, subscription: Subscription): EffectiveQuery {
  try {
    return judge(connection, subscription);
  } catch (error) {
    if (!(error instanceof LookupsNeeded) || !subscription.lookups.acquireAtOnce(error.lookups)) throw error;
    return judge(connection, subscription);
  }
}

function reauthorizeIfActive(connection: SubscriptionHost, subscription: Subscription): void {
  if (connection.subscriptions.holds(subscription)) reauthorize(connection, subscription);
}

/**
 * Nothing more of the subscription is sent until the client has read what waits; then it is judged again. Changes
 * that the client did not ask for would otherwise pile up.
 */
function postpone(connection: SubscriptionHost, subscription: Subscription): void {
  connection.subscriptions.release(subscription);
  if (!subscription.postpone()) return;
  connection.outbox
    .room(1)
    .then(() => {
      subscription.endPostponement();
      reauthorizeIfActive(connection, subscription);
    })
    .catch((error: unknown) => endFor(connection, subscription, error));
}

/** Reads the sets that a decision needs, however often it takes, and decides. */
async function reauthorizeWithLookups(
  connection: SubscriptionHost,
  subscription: Subscription,
  needed: readonly BoundLookup[],
): Promise<void> {
  const isActive = () => connection.subscriptions.holds(subscription);
  while (isActive()) {
    try {
      await subscription.lookups.acquire(needed);
      reauthorizeIfActive(connection, subscription);
      return;
    } catch (error) {
      if (!isActive()) return;
      if (!(error instanceof TidewireError) || error.code !== "unavailable") {
        endFor(connection, subscription, error);
        return;
      }
      await sleep(RETRY_MS * (0.5 + Math.random()));
    }
  }
}

/** Lets a subscription follow another live query. The old one is silent before anything else can happen. */
function reattach(
  connection: SubscriptionHost,
  subscription: Subscription,
  query: EffectiveQuery,
  { at, together }: { at: ChangePoint; together: boolean },
): void {
  const { subscriptions, context } = connection;
  const { feed } = context;
  const { request, id, attachment: previous } = subscription;
  const wantsSnapshot = request.snapshot;
  // Only a state that this client alone holds, up to this very point, can become the state of another live query.
  const isAtPoint = at !== null || feed.timeline.isSettled;
  const isItsOwn = together || previous.ids.size === 1;
  const isKnown = isAtPoint && previous.delivery.isLive && isItsOwn && previous.serves(id);
  subscriptions.release(subscription);
  const present = subscriptions.attachmentOf(query.key);
  if (present !== undefined && (present.wantsSnapshot || !wantsSnapshot)) {
    subscriptions.serve(subscription, present);
    join(connection, subscription, at);
    return;
  }
  const point = feed.cursors.grantPoint(at);
  const attachment = Attachment.attach(
    connection,
    query,
    wantsSnapshot,
    new Rights(point.clusterTime, subscription.lookups.sets),
  );
  subscriptions.serve(subscription, attachment);
  subscriptions.follow(attachment);
  const { delivery } = attachment;
  const from = previous.delivery.liveQuery;
  // A client that asked for no documents holds none, and does not receive those that come into sight.
  const moves = isKnown && wantsSnapshot && present === undefined && delivery.canMoveFrom(from);
  const started = moves ? delivery.openMoved(from, point) : delivery.openAnew("rights-changed");
  // The ticket begins where the new rights do; after a move the cursor sent with it is of before that.
  attachment.start.decide(started);
  const rest = moves ? { from: previous.number } : {};
  sendSubscribed(connection, subscription, started.start, started.reason, rest);
  delivery.run();
}

/** Tells a subscription that now shares an attachment so, once that one has started. */
function join(connection: SubscriptionHost, subscription: Subscription, at: ChangePoint): void {
  const { attachment } = subscription;
  if (attachment.start.cursor === "") {
    void joinOnceOpen(connection, subscription);
    return;
  }
  // At a commit: the changes of that one are still to be sent.
  const rest = at === null ? {} : { cursor: at.cursorBefore };
  sendSubscribed(connection, subscription, "shared", undefined, rest);
}

async function joinOnceOpen(connection: SubscriptionHost, subscription: Subscription): Promise<void> {
  const { attachment, id } = subscription;
  await attachment.opened.catch(() => {}); // handled where the attachment was opened
  const isServed = subscription.attachment === attachment && attachment.serves(id);
  if (!connection.subscriptions.holds(subscription) || !isServed) return;
  try {
    sendSubscribed(connection, subscription, "shared");
  } catch (error) {
    endFor(connection, subscription, error);
  }
}

/**
 * Changes the rights of active subscriptions: a rule was edited, a newer token arrived, or a lookup set differs.
 *
 * The invariant: **a decision and its effect happen in one turn of the event loop.** No commit can be delivered between
 * them, so a client receives nothing of a later commit under rights that it has lost. While a decision is still
 * pending, because a set must be read or the client does not read, the subscription is silent. Any error in a decision
 * or in its effect ends that one subscription: rights fail closed, and the others are not affected.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { HistoryEntry } from "../../feed/history.ts";
import { Rights } from "../../feed/rights.ts";
import { TidewireError } from "../../protocol/errors.ts";
import { authorizeParsed, type EffectiveQuery } from "../../rules/authorize.ts";
import { type BoundLookup, LookupsNeeded } from "../../rules/bind-rule.ts";
import { findAffected, suspend } from "./affected.ts";
import { sendSubscribed } from "./answers.ts";
import { Attachment } from "./attachment.ts";
import { commitShare } from "./commit-share.ts";
import { decisionPace } from "./decision-pace.ts";
import { endFor } from "./end-subscription.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionHost } from "./subscription-host.ts";
import type { ChangePoint } from "./subscriptions.ts";
import { workTurns } from "./work-turns.ts";

/** `changed` also if the decision must wait. */
type Outcome = "unchanged" | "changed" | "ended";

/** Average pause before another attempt, in milliseconds. */
const RETRY_MS = 1_000;

/** The effect of a change of rights on the subscriptions of one or more connections. */
export interface ChangeCounts {
  changed: number;
  ended: number;
}

/**
 * Authorizes every subscription of a connection again, each in one turn. All that may be concerned are silent from the
 * first turn on. Each `yield` offers a pause, during which no commit may be delivered.
 * @param counts Is increased by the subscriptions that changed, and by those that ended.
 * @param at The commit that changed the rules; `null` for the head of the stream.
 */
export function* reauthorizeAll(
  connection: SubscriptionHost,
  counts: ChangeCounts,
  at: ChangePoint = null,
): Generator<void, void> {
  for (const { subscription } of findAffected(connection)) suspend(subscription);
  for (const subscription of connection.subscriptions) {
    if (!connection.subscriptions.holds(subscription)) continue;
    const outcome = reauthorize(connection, subscription, at);
    if (outcome !== "unchanged") counts[outcome]++;
    yield;
  }
}

/**
 * `%%now` has taken a step: authorizes the subscriptions whose rules use it again, those of one live query in one turn. All
 * that may be concerned are silent from the first turn on. Each `yield` offers a pause, during which no commit may be
 * delivered.
 * @param onMoved Called with the number of subscriptions that changed or ended in each turn.
 */
export function* reauthorizeForStep(
  connection: SubscriptionHost,
  onMoved: (moved: number) => void,
): Generator<void, void> {
  for (const { subscription } of findAffected(connection, usesNow)) suspend(subscription);
  const judged = new Set<Subscription>();
  for (const subscription of connection.subscriptions) {
    if (judged.has(subscription) || !usesNow(subscription)) continue;
    const together = connection.subscriptions.servedBy(subscription.attachment).filter(usesNow);
    for (const one of together) judged.add(one);
    onMoved(reauthorizeTogether(connection, subscription.attachment, together));
    yield;
  }
}

const usesNow = ({ query }: Subscription) => query.nowMs !== null;

/** Authorizes subscriptions of one live query again, in one turn, so that they can move together. */
function reauthorizeTogether(
  connection: SubscriptionHost,
  attachment: Attachment,
  subscriptions: readonly Subscription[],
): number {
  const together = moveAlike(connection, attachment);
  let moved = 0;
  for (const subscription of subscriptions) {
    if (!connection.subscriptions.holds(subscription) || !attachment.serves(subscription.id)) continue;
    if (reauthorize(connection, subscription, null, together) !== "unchanged") moved++;
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
    return false; // the error is handled for each of them below
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
  return timedDecision(connection, subscription, at, together).outcome;
}

/**
 * A set has changed with a commit: authorizes one subscription again. If the subscriptions of its user have taken too much
 * of this commit, or of the time before it, the subscription is silent from the commit on, and is decided about later,
 * once for all changes until then. Never throws.
 */
export function reauthorizeAtCommit(
  connection: SubscriptionHost,
  subscription: Subscription,
  at: HistoryEntry,
): void {
  const { account } = connection.login;
  const pauseMs = decisionPace.pauseMs(account, Date.now());
  if (pauseMs > 0) {
    decideLater(connection, subscription, (job) => sleep(pauseMs).then(() => workTurns.run(job)));
    return;
  }
  if (commitShare.isSpent(at, account)) {
    decideLater(connection, subscription, (job) => workTurns.run(job));
    return;
  }
  const { ms } = timedDecision(connection, subscription, at, false);
  commitShare.spend(at, account, ms);
}

/** Decides, and charges the time that it takes to the user. An error ends the subscription. */
function timedDecision(
  connection: SubscriptionHost,
  subscription: Subscription,
  at: ChangePoint,
  together: boolean,
): { outcome: Outcome; ms: number } {
  const fromMs = performance.now();
  let outcome: Outcome;
  try {
    outcome = decide(connection, subscription, at, together);
  } catch (error) {
    endFor(connection, subscription, error);
    outcome = "ended";
  }
  const ms = performance.now() - fromMs;
  const { account } = connection.login;
  connection.context.feed.noteRights(account, ms);
  decisionPace.spend(account, ms, Date.now());
  return { outcome, ms };
}

/** Authorizes a subscription again after a moment, because its start failed for reasons of another subscription. */
export function reauthorizeSoon(connection: SubscriptionHost, subscription: Subscription): void {
  connection.subscriptions.release(subscription);
  void sleep(RETRY_MS * (0.5 + Math.random())).then(() => reauthorizeIfActive(connection, subscription));
}

/**
 * Decides about one subscription.
 * @throws {TidewireError} The subscription has no rights any more.
 */
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
    // Until the sets are read, its rights are unknown, so nothing is sent.
    connection.subscriptions.release(subscription);
    void reauthorizeWithLookups(connection, subscription, error.lookups);
    return "changed";
  }
  lookups.keepOnly(query.lookups);
  subscription.noteDecided(query);
  if (query.key === attachment.query.key && attachment.serves(id)) {
    attachment.decide(id);
    return "unchanged";
  }
  if (connection.outbox.isFull) postpone(connection, subscription);
  else reattach(connection, subscription, query, { at, together });
  return "changed";
}

/**
 * Authorizes the request under the current rules.
 * @throws {LookupsNeeded} Also if the sets were read for other subscriptions.
 */
function judge(connection: SubscriptionHost, { request, lookups, query }: Subscription): EffectiveQuery {
  const { rules, clock } = connection.context;
  return authorizeParsed(rules, connection.identity, request, clock.nowMs, lookups.values, query);
}

/**
 * Like `judge`, but takes sets that were read already, so that the subscription need not be silent while they are read.
 */
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
 * Silences the subscription until the client has read the waiting data, and then authorizes it again. Otherwise changes
 * that the client did not ask for would accumulate.
 */
function postpone(connection: SubscriptionHost, subscription: Subscription): void {
  decideLater(connection, subscription, (job) => connection.outbox.room(1).then(job));
}

/** Silences the subscription, and authorizes it again once. Never throws. */
function decideLater(
  connection: SubscriptionHost,
  subscription: Subscription,
  run: (job: () => void) => Promise<void>,
): void {
  try {
    connection.subscriptions.release(subscription);
    if (!subscription.postpone()) return;
    const decideNow = () => {
      subscription.endPostponement();
      reauthorizeIfActive(connection, subscription);
    };
    run(decideNow).catch((error: unknown) => endFor(connection, subscription, error));
  } catch (error) {
    endFor(connection, subscription, error);
  }
}

/** Reads the sets that a decision needs, with retries, and decides. */
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

/** Moves a subscription to another live query. The old one is silent before anything else can happen. */
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
  // Only a state that belongs to this subscription alone, and that is complete up to this point, can become the state
  // of another live query.
  const isAtPoint = at !== null || feed.timeline.isSettled;
  if (at === null && previous.deciding === null) previous.delivery.sendHeld();
  // A failure to send them has ended the subscription.
  if (!subscriptions.holds(subscription)) return;
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
  // After a lost position the rules may be younger than the point: their set came into force in a commit that was missed.
  const ruleSince = context.ruleTimes.sinceOf(query.ruleIdentity);
  const isRuleYounger = ruleSince > point.clusterTime;
  const grantedAt = isRuleYounger ? ruleSince : point.clusterTime;
  const rights = new Rights(grantedAt, subscription.lookups.sets);
  const attachment = Attachment.attach(connection, query, wantsSnapshot, rights);
  subscriptions.serve(subscription, attachment);
  subscriptions.follow(attachment);
  const { delivery } = attachment;
  const from = previous.delivery.liveQuery;
  // A client that asked for no documents has none, and does not receive those that become visible.
  const canMove = isKnown && wantsSnapshot && present === undefined && !isRuleYounger;
  const moves = canMove && delivery.canMoveFrom(from);
  const started = moves ? delivery.openMoved(from, point) : delivery.reopen("rights-changed");
  // The ticket begins with the new rights. After a move, the cursor sent with it is from before them.
  attachment.start.decide(started);
  const rest = moves ? { from: previous.number } : {};
  sendSubscribed(connection, subscription, started.start, started.reason, rest);
  delivery.run();
}

/** Answers a subscription that now shares an attachment, once that attachment has started. */
function join(connection: SubscriptionHost, subscription: Subscription, at: ChangePoint): void {
  const { attachment } = subscription;
  if (attachment.start.cursor === "") {
    void joinOnceOpen(connection, subscription);
    return;
  }
  // At a commit, the changes of that commit are still to be sent, so the cursor is from before it.
  const rest = at === null ? {} : { cursor: at.cursorBefore };
  sendSubscribed(connection, subscription, "shared", undefined, rest);
}

async function joinOnceOpen(connection: SubscriptionHost, subscription: Subscription): Promise<void> {
  const { attachment, id } = subscription;
  await attachment.opened.catch(() => {}); // the code that opened the attachment handles the error
  const isServed = subscription.attachment === attachment && attachment.serves(id);
  if (!connection.subscriptions.holds(subscription) || !isServed) return;
  try {
    sendSubscribed(connection, subscription, "shared");
  } catch (error) {
    endFor(connection, subscription, error);
  }
}

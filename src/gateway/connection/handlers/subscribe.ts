/**
 * Handles `subscribe`. Between the authorization and the first byte several things can change (rules, lookups, the
 * token, the client's mind), so the function checks after each wait whether its answer is still wanted and still right.
 */

import { holderOf } from "../../../auth/subject.ts";
import type { HistoryEntry } from "../../../feed/history.ts";
import { Rights } from "../../../feed/rights.ts";
import { noteFault } from "../../../metrics/guard.ts";
import { amount } from "../../../protocol/amount.ts";
import { TidewireError } from "../../../protocol/errors.ts";
import type { SubscribeMessage } from "../../../protocol/messages.ts";
import { authorizeParsed, type EffectiveQuery, type QueryRequest } from "../../../rules/authorize.ts";
import { LookupsNeeded } from "../../../rules/bind-rule.ts";
import { collectionDigest } from "../../rights/collection-digest.ts";
import { sendSubscribed } from "../answers.ts";
import { Attachment } from "../attachment.ts";
import { HeldLookups, type RightsOwner } from "../held-lookups.ts";
import { reauthorize, reauthorizeAtCommit, reauthorizeSoon } from "../reauthorization.ts";
import { noteRefused, toStartRequest } from "../resume-check.ts";
import { type Asked, Subscription } from "../subscription.ts";
import type { SubscriptionHost } from "../subscription-host.ts";

/** [3.3] Makes a subscription: authorizes it, decides how it starts, answers, and begins the delivery. */
export async function handleSubscribe(
  connection: SubscriptionHost,
  message: SubscribeMessage,
): Promise<void> {
  const { id } = message;
  checkId(connection, id);
  const asksFor = toRequest(message);
  const text = JSON.stringify(asksFor);
  const { requests, rules } = connection.context;
  const request = requests.parse(asksFor, rules.limits, text);
  const { account } = connection.login;
  const lookups = new HeldLookups(connection.context.feed, new SubscribedRights(connection, id), account);
  const charge = account.subscribe(sizeOf(text));
  const asked = { id, request, lookups, charge, isOver: false };
  try {
    let query = grant(connection, asked);
    while (query instanceof LookupsNeeded) {
      connection.subscriptions.pending.add(asked);
      await lookups.acquire(query.lookups);
      if (asked.isOver) return;
      query = grant(connection, asked);
    }
    connection.subscriptions.pending.remove(asked);
    // In the same turn as the authorization, so that an edit of the rules finds the subscription either unjudged or
    // complete.
    await subscribe(connection, asked, query, message);
    const { recorder } = connection.context;
    recorder?.note(connection.context.rules, connection.identity, asksFor, Date.now());
  } catch (error) {
    await noteRefused(connection, message, error);
    connection.context.trace?.refused(connection, asked, error);
    if (!asked.isOver) throw error; // a client that has unsubscribed meanwhile was answered by that
  } finally {
    connection.subscriptions.pending.remove(asked);
    if (connection.subscriptions.get(id)?.lookups !== lookups) {
      lookups.release();
      charge.giveBack();
    }
  }
}

/** Changes the rights of a subscription when its sets change. */
class SubscribedRights implements RightsOwner {
  readonly #connection: SubscriptionHost;
  readonly #id: string;

  constructor(connection: SubscriptionHost, id: string) {
    this.#connection = connection;
    this.#id = id;
  }

  /** From the moment the subscription exists, a change of its sets changes its rights, at that very commit. */
  rightsChanged(lookups: HeldLookups, at: HistoryEntry | null): void {
    const subscription = this.#connection.subscriptions.get(this.#id);
    // Another subscription may use the id by now.
    if (subscription?.lookups !== lookups) return;
    if (at === null) reauthorize(this.#connection, subscription);
    else reauthorizeAtCommit(this.#connection, subscription, at);
  }

  rightsFailed(error: unknown): void {
    this.#connection.fail(noteFault(this.#connection.context, "rights.lookup", error));
  }
}

/** The live query that the request asks for, or the sets that must be read first. */
function grant(
  { context, identity }: SubscriptionHost,
  { request, lookups }: Asked,
): EffectiveQuery | LookupsNeeded {
  try {
    return authorizeParsed(context.rules, identity, request, context.clock.nowMs, lookups.values);
  } catch (error) {
    if (error instanceof LookupsNeeded) return error;
    throw error;
  }
}

function checkId(connection: SubscriptionHost, id: string): void {
  if (connection.subscriptions.has(id)) {
    throw new TidewireError("duplicate-id", "the id is in use on this connection: choose another");
  }
  const most = connection.context.limits.subscriptions;
  if (connection.subscriptions.size >= most) {
    const details = { limit: "subscriptions", value: most };
    throw new TidewireError(
      "too-many-subscriptions",
      `a connection has at most ${amount(most, "subscription")}`,
      details,
    );
  }
}

/** Memory of one subscription besides its request, in bytes; measured and rounded up. */
const REQUEST_BYTES = 1_024;

/** Memory of a request in bytes: about twice its text, and the parsed filter. */
const sizeOf = (text: string) => REQUEST_BYTES + 4 * text.length;

function toRequest(message: SubscribeMessage): QueryRequest {
  const { type: _type, id: _id, cursor: _cursor, ticket: _ticket, ...request } = message;
  return request;
}

async function subscribe(
  connection: SubscriptionHost,
  asked: Asked,
  query: EffectiveQuery,
  message: SubscribeMessage,
): Promise<void> {
  const { id, request, lookups } = asked;
  const wantsSnapshot = request.snapshot;
  const present = connection.subscriptions.attachmentOf(query.key);
  if (present !== undefined && (present.wantsSnapshot || !wantsSnapshot)) {
    await share(connection, new Subscription(asked, present, query));
    return;
  }
  connection.context.feed.admit(query, connection.login.account);
  const since = connection.context.ruleTimes.sinceOf(query.ruleIdentity);
  const rights = new Rights(since, lookups.sets, heldSince(connection, query));
  const attachment = Attachment.attach(connection, query, wantsSnapshot, rights);
  const subscription = new Subscription(asked, attachment, query);
  connection.subscriptions.add(subscription);
  if (present === undefined) connection.subscriptions.follow(attachment);
  attachment.openBy(open(connection, subscription, rights, message));
  try {
    await attachment.opened;
    attachment.noteOpened();
  } catch (error) {
    // A client that has unsubscribed meanwhile was answered already, and may have used the id again.
    const isAwaited = attachment.ids.has(id);
    undo(connection, attachment, error, id);
    if (isAwaited) throw error;
  }
  await answerShared(connection, subscription);
}

/** Numeric dates are whole seconds, so a token may have been issued up to one second after its date. */
const SECOND_MS = 1_000;

/**
 * The cluster time since which the user certainly has the rights of the token. A snapshot that was read earlier for
 * other clients would show, together with the changes since, data from before this user was allowed to see it.
 */
function heldSince(
  { identity, context: { feed, lostRights } }: SubscriptionHost,
  query: EffectiveQuery,
): bigint {
  if (lostRights.known(holderOf(identity), collectionDigest(query)) !== null) return feed.timeline.headTime;
  const issuedAtMs = identity?.issuedAtMs ?? null;
  return issuedAtMs === null ? 0n : feed.timeline.headTimeBy(issuedAtMs + SECOND_MS);
}

/** Decides the start, sends it, and begins the delivery. Everything that can fail comes before the first message. */
async function open(
  connection: SubscriptionHost,
  maker: Subscription,
  rights: Rights,
  message: SubscribeMessage,
): Promise<void> {
  const { attachment } = maker;
  const { identity } = connection;
  const startRequest = await toStartRequest(connection, message, maker);
  // The ticket does not prove that the user had the rights until now.
  if (startRequest.refused === "rights-changed") rights.beginAt(connection.context.feed.timeline.headTime);
  const opened = await attachment.delivery.open(startRequest);
  // A newer token may have arrived meanwhile, and a ticket under it needs the rights that it grants.
  while (attachment.deciding !== null) await attachment.deciding;
  if (attachment.isDetached) return;
  // The subscription that asked may have ended meanwhile, or a change of rights has moved it to another live query.
  // Other subscriptions share this attachment and stay. They have no state that could be resumed.
  const hasLeft = !connection.subscriptions.holds(maker) || !attachment.serves(maker.id);
  const started =
    hasLeft && opened.start === "resumed" ? attachment.delivery.reopen("cursor-invalid") : opened;
  const isSame = started.start === "resumed" && started.finally === undefined;
  // If a newer token is in force by now, the kept ticket belongs to the old one.
  const isKept = isSame && connection.identity === identity;
  attachment.start.decide(started, isKept ? startRequest.keptTicket : null);
  // An attachment that began without a snapshot is replaced only now, because the snapshot replaces the client's
  // documents.
  connection.subscriptions.follow(attachment);
  const first = hasLeft ? connection.subscriptions.servedBy(attachment)[0] : maker;
  if (first !== undefined) sendSubscribed(connection, first, started.start, started.reason);
  attachment.delivery.run();
}

/** [3.3, shared] Another id of this connection has the live query already, so nothing is sent twice. */
async function share(connection: SubscriptionHost, subscription: Subscription): Promise<void> {
  connection.subscriptions.add(subscription);
  await subscription.attachment.opened.catch(() => {}); // `undo` reports it to every subscription that shares it
  await answerShared(connection, subscription);
}

/** Answers a subscription that shares an attachment, unless it has ended or was answered by a change of its rights. */
async function answerShared(connection: SubscriptionHost, subscription: Subscription): Promise<void> {
  const { subscriptions } = connection;
  while (subscriptions.holds(subscription) && subscription.attachment.isUndecided(subscription.id))
    await subscription.attachment.deciding;
  if (subscription.isAnswered || !subscriptions.holds(subscription)) return;
  // Without an attachment it is being authorized again, and that sends the answer.
  if (subscription.attachment.serves(subscription.id)) sendSubscribed(connection, subscription, "shared");
}

/**
 * The subscription could not be made. Subscriptions that joined it meanwhile receive the same error. Subscriptions that
 * were active before are authorized again.
 */
function undo(connection: SubscriptionHost, attachment: Attachment, error: unknown, makerId: string): void {
  for (const subscription of connection.subscriptions.servedBy(attachment)) {
    if (subscription.isAnswered) {
      reauthorizeSoon(connection, subscription);
      continue;
    }
    connection.subscriptions.remove(subscription);
    if (subscription.id !== makerId) connection.sendError(error, subscription.id);
  }
}

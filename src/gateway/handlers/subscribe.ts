import { holderOf } from "../../auth/subject.ts";
import { AFTER, BEFORE, epochOf, type Position } from "../../feed/cursor.ts";
import type { StartRequest } from "../../feed/delivery.ts";
import { canMove } from "../../feed/grant-diff.ts";
import type { HistoryEntry } from "../../feed/history.ts";
import { Rights } from "../../feed/rights.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { StartReason, SubscribeMessage } from "../../protocol/messages.ts";
import { authorize, type EffectiveQuery, LookupsNeeded, type QueryRequest } from "../../rules/authorize.ts";
import { Attachment } from "../attachment.ts";
import type { Asked, Connection, Subscription } from "../connection.ts";
import { HeldLookups } from "../held-lookups.ts";

/** [3.3] Makes a subscription: authorizes it, finds how it can start, says so, and lets it begin. */
export async function handleSubscribe(
  connection: Connection,
  message: SubscribeMessage,
  nowMs: number,
): Promise<void> {
  const { id } = message;
  checkId(connection, id);
  const request = toRequest(message);
  const lookups = new HeldLookups(connection.context.feed);
  const giveBack = connection.account.subscribe(sizeOf(request));
  const asked = { id, request, lookups, giveBack, isOver: false };
  try {
    let query = grant(connection, asked, nowMs);
    while (query instanceof LookupsNeeded) {
      connection.asked.set(id, asked);
      await lookups.acquire(query.lookups);
      if (asked.isOver) return;
      query = grant(connection, asked, nowMs);
    }
    connection.asked.delete(id);
    // In the same turn as it was granted: an edit of the rules finds it either not judged yet, or made.
    await subscribe(connection, asked, query, message);
  } catch (error) {
    if (!asked.isOver) throw error; // who has unsubscribed meanwhile was answered so
  } finally {
    if (connection.asked.get(id) === asked) connection.asked.delete(id);
    if (connection.subscriptions.get(id)?.lookups !== lookups) {
      lookups.release();
      giveBack();
    }
  }
}

/** What the request comes to, or the sets that have to be read first. */
function grant(
  { context, identity }: Connection,
  { request, lookups }: Asked,
  nowMs: number,
): EffectiveQuery | LookupsNeeded {
  try {
    return authorize(context.rules, identity, request, nowMs, lookups.values);
  } catch (error) {
    if (error instanceof LookupsNeeded) return error;
    throw error;
  }
}

function checkId(connection: Connection, id: string): void {
  if (connection.subscriptions.has(id) || connection.asked.has(id)) {
    throw new TidewireError("duplicate-id", "the id is in use on this connection: choose another");
  }
  const most = connection.context.limits.subscriptions;
  if (connection.subscriptions.size + connection.asked.size >= most) {
    const details = { limit: "subscriptions", value: most };
    throw new TidewireError(
      "too-many-subscriptions",
      `a connection has at most ${most} subscriptions`,
      details,
    );
  }
}

/** Bookkeeping of one subscription besides its request, in bytes; measured, and rounded up. */
const REQUEST_BYTES = 1_024;

/** What a request keeps in memory, in bytes: about twice its text, and the filter that was made of it. */
const sizeOf = (request: QueryRequest) => REQUEST_BYTES + 4 * JSON.stringify(request).length;

function toRequest(message: SubscribeMessage): QueryRequest {
  const { type: _type, id: _id, cursor: _cursor, ticket: _ticket, ...request } = message;
  return request;
}

async function subscribe(
  connection: Connection,
  asked: Asked,
  query: EffectiveQuery,
  message: SubscribeMessage,
): Promise<void> {
  const { id, request, lookups, giveBack } = asked;
  const wantsSnapshot = request.snapshot !== false;
  const present = connection.attachments.get(query.key);
  if (present !== undefined && (present.wantsSnapshot || !wantsSnapshot)) {
    await share(connection, { id, request, lookups, giveBack, attachment: present, isAnswered: false });
    return;
  }
  connection.context.feed.admit(query.key, connection.account);
  const since = connection.context.ruleTimes.sinceOf(query.ruleIdentity);
  const attachment = new Attachment(connection, query, wantsSnapshot, new Rights(since, lookups.sets));
  const subscription = { id, request, lookups, giveBack, attachment, isAnswered: false };
  register(connection, subscription);
  if (present === undefined) connection.attachments.set(query.key, attachment);
  attachment.opened = open(connection, subscription, message);
  try {
    await attachment.opened;
  } catch (error) {
    // Who has unsubscribed meanwhile was answered already, and may use the id for something else by now.
    const isAwaited = attachment.ids.has(id);
    undo(connection, attachment, error, id);
    if (isAwaited) throw error;
  }
  answerShared(connection, subscription);
}

/** Decides the start, tells it, and begins; all that can fail comes before the first word. */
async function open(connection: Connection, maker: Subscription, message: SubscribeMessage): Promise<void> {
  const { attachment } = maker;
  const startRequest = await toStartRequest(connection, message, attachment.query);
  const opened = await attachment.delivery.open(startRequest);
  if (attachment.isDetached) return;
  // Who asked may have left meanwhile, and those who share it have stayed: they hold nothing that could go on.
  const hasLeft = connection.subscriptions.get(maker.id) !== maker;
  const started =
    hasLeft && opened.start === "resumed" ? attachment.delivery.openAnew("cursor-invalid") : opened;
  attachment.startCursor = started.cursor;
  if (started.start === "resumed" && connection.context.sealer.mayBeKept(message.ticket ?? ""))
    attachment.keptTicket = message.ticket ?? null;
  // One that began without a snapshot gives way only now: the snapshot replaces what was held.
  const present = connection.attachments.get(attachment.query.key);
  if (present !== undefined && present !== attachment) takeOver(connection, present, attachment);
  connection.attachments.set(attachment.query.key, attachment);
  const first = hasLeft ? firstOf(connection, attachment) : maker;
  if (first !== undefined) sendSubscribed(connection, first, started.start, started.reason);
  attachment.delivery.run();
}

function firstOf({ subscriptions }: Connection, attachment: Attachment): Subscription | undefined {
  for (const id of attachment.ids) {
    const subscription = subscriptions.get(id);
    if (subscription?.attachment === attachment) return subscription;
  }
  return undefined;
}

/** [3.3, shared] Another id of this connection has the live query already: nothing is sent twice. */
async function share(connection: Connection, subscription: Subscription): Promise<void> {
  register(connection, subscription);
  await subscription.attachment.opened.catch(() => {}); // `undo` has told all who share it
  answerShared(connection, subscription);
}

/** As `share`, for a subscription that stands already, and goes on standing should this come to nothing. */
async function joinOnceOpen(connection: Connection, subscription: Subscription): Promise<void> {
  const { attachment } = subscription;
  await attachment.opened.catch(() => {}); // `undo` has seen to it
  const isWanted = connection.subscriptions.get(subscription.id) === subscription;
  if (isWanted && subscription.attachment === attachment && attachment.serves(subscription.id))
    sendSubscribed(connection, subscription, "shared");
}

/** Not where the subscription has ended meanwhile, or its rights have changed and it was answered so. */
function answerShared(connection: Connection, subscription: Subscription): void {
  if (subscription.isAnswered || connection.subscriptions.get(subscription.id) !== subscription) return;
  sendSubscribed(connection, subscription, "shared");
}

/**
 * Lets a living subscription follow another live query, since its rights changed. In one turn: the old one is
 * silent before anything else can happen.
 */
export function reattach(
  connection: Connection,
  subscription: Subscription,
  query: EffectiveQuery,
  at: HistoryEntry | null,
): void {
  const { request, id, attachment: previous } = subscription;
  const { feed } = connection.context;
  const wantsSnapshot = request.snapshot !== false;
  // Only what this client alone holds, up to this very point, can be turned into something else.
  const isKnown = previous.delivery.isLive && previous.ids.size === 1 && previous.serves(id);
  connection.release(previous, id);
  const present = connection.attachments.get(query.key);
  if (present !== undefined && (present.wantsSnapshot || !wantsSnapshot)) {
    subscription.attachment = present;
    present.ids.add(id);
    // At a commit: what that one changes is still to be sent.
    if (present.startCursor !== "")
      sendSubscribed(
        connection,
        subscription,
        "shared",
        undefined,
        at === null ? {} : { cursor: at.cursorBefore },
      );
    else void joinOnceOpen(connection, subscription);
    return;
  }
  const point = feed.grantPoint(at);
  const rights = new Rights(point.clusterTime, subscription.lookups.sets);
  const attachment = new Attachment(connection, query, wantsSnapshot, rights);
  attachment.ids.add(id);
  subscription.attachment = attachment;
  if (present !== undefined) takeOver(connection, present, attachment);
  connection.attachments.set(query.key, attachment);
  const from = previous.delivery.liveQuery;
  // Who asked for no documents holds none, and is not given those that come into sight.
  const moves =
    isKnown && wantsSnapshot && present === undefined && canMove(from, attachment.delivery.liveQuery);
  const started = moves
    ? attachment.delivery.openMoved(from, point)
    : attachment.delivery.openAnew("rights-changed");
  // The ticket begins where the new rights do; after a move the cursor told with it is of before that.
  attachment.startCursor = moves ? feed.cursorAfter(point) : started.cursor;
  const rest = moves ? { from: previous.number, cursor: started.cursor } : {};
  sendSubscribed(connection, subscription, started.start, started.reason, rest);
  attachment.delivery.run();
}

function sendSubscribed(
  connection: Connection,
  subscription: Subscription,
  start: "snapshot" | "resumed" | "live" | "shared" | "reset" | "moved",
  reason?: StartReason,
  rest: { readonly from?: number; readonly cursor?: string } = {},
): void {
  const { id, attachment } = subscription;
  subscription.isAnswered = true;
  const { feed, metrics } = connection.context;
  // What is shared may not have been delivered up to the head yet.
  const cursor = start === "shared" && attachment.delivery.isLive ? feed.headCursor : attachment.startCursor;
  metrics.subscriptionStarts.inc({ start });
  connection.send({
    type: "subscribed",
    id,
    query: attachment.number,
    start,
    cursor,
    ticket: attachment.ticket(),
    ...(reason === undefined ? {} : { reason }),
    ...rest,
  });
}

function register(connection: Connection, subscription: Subscription): void {
  connection.subscriptions.set(subscription.id, subscription);
  followLookups(connection, subscription);
  subscription.attachment.ids.add(subscription.id);
  connection.context.metrics.subscriptions.inc();
}

/** From here on a change of its sets is a change of its rights, at that very commit. */
function followLookups(connection: Connection, subscription: Subscription): void {
  const again = (at: HistoryEntry | null) => {
    if (connection.subscriptions.get(subscription.id) !== subscription) return;
    try {
      connection.reauthorizeOne(subscription, Date.now(), at);
    } catch (error) {
      if (!(error instanceof TidewireError)) throw error;
      connection.endForbidden(subscription, error);
    }
  };
  subscription.lookups.onChanged = again;
  subscription.lookups.onLost = () => again(null);
}

function forget(connection: Connection, subscription: Subscription): void {
  connection.subscriptions.delete(subscription.id);
  subscription.lookups.release();
  subscription.giveBack();
  connection.release(subscription.attachment, subscription.id);
  connection.context.metrics.subscriptions.dec();
}

/**
 * The subscription could not be made; those that joined it meanwhile are told by the same error, but for those that
 * stood before: they are judged anew.
 */
function undo(connection: Connection, attachment: Attachment, error: unknown, makerId: string): void {
  for (const id of [...attachment.ids]) {
    const subscription = connection.subscriptions.get(id);
    if (subscription?.attachment !== attachment) continue;
    if (subscription.isAnswered) {
      connection.tryAgain(subscription);
      continue;
    }
    forget(connection, subscription);
    if (id !== makerId) connection.sendError(error, id);
  }
}

/** Moves the ids of one attachment to another of the same live query. */
function takeOver(connection: Connection, from: Attachment, to: Attachment): void {
  for (const id of [...from.ids]) {
    const subscription = connection.subscriptions.get(id);
    if (subscription !== undefined) subscription.attachment = to;
    to.ids.add(id);
    from.ids.delete(id);
  }
  from.detach();
}

/**
 * [3.3] A cursor counts only with a genuine ticket of this user, for the live query that the request comes to
 * now, from no later than the cursor. So nobody sees what a document held before they were allowed to see it.
 */
async function toStartRequest(
  connection: Connection,
  { snapshot, cursor, ticket }: SubscribeMessage,
  query: EffectiveQuery,
): Promise<StartRequest> {
  const wanted = snapshot !== false;
  const refuse = (reason: StartReason) => ({ snapshot: wanted, resumeFrom: null, refused: reason });
  if (cursor === undefined) return { snapshot: wanted, resumeFrom: null, refused: null };
  const { feed, sealer } = connection.context;
  const position = feed.decode(cursor);
  if (position === "invalid" || ticket === undefined) return refuse("cursor-invalid");
  const opened = await sealer.open(ticket);
  // A replaced deployment may have other keys: there no ticket of before is genuine.
  if (opened === null) return refuse(position === "other-epoch" ? "history-lost" : "cursor-invalid");
  if (opened.holder !== holderOf(connection.identity)) return refuse("cursor-invalid");
  if (position === "other-epoch") {
    const isOfTicket = epochOf(cursor) === epochOf(opened.since);
    return refuse(isOfTicket ? "history-lost" : "cursor-invalid");
  }
  if (opened.key !== query.key) return refuse("rights-changed");
  const since = feed.decode(opened.since);
  if (typeof since === "string" || since.clusterTime > position.clusterTime) return refuse("cursor-invalid");
  // A watermark may name no more than the cluster time of the snapshot before it. What is held begins at
  // `since` in any case, and nothing before that is anybody's to see.
  return { snapshot: wanted, resumeFrom: isLater(since, position) ? since : position, refused: null };
}

/** Of one cluster time, whether `a` is certainly later. Two commits of it have no order to be told from them. */
function isLater(a: Position, b: Position): boolean {
  if (a.clusterTime !== b.clusterTime) return false;
  return b.within === BEFORE ? a.within !== BEFORE : a.within === AFTER && b.within !== AFTER;
}

/**
 * The answers that carry tickets. A ticket is sealed in the same turn in which the rights were decided, so every place
 * that sends one is here.
 */
import type { Start, StartReason } from "../../protocol/messages.ts";
import type { Attachment } from "./attachment.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionHost } from "./subscription-host.ts";

/**
 * [3.2] Sends newer tickets for all subscriptions of the connection, because a newer token is in force or the old
 * tickets would end.
 */
export function sendTickets(connection: SubscriptionHost): void {
  const tickets: Record<string, string> = {};
  const made = new Map<Attachment, string | null>();
  for (const { id, attachment, isAnswered } of connection.subscriptions) {
    if (!isAnswered || !attachment.serves(id)) continue;
    const ticket = made.get(attachment) ?? renewTicket(attachment);
    made.set(attachment, ticket);
    if (ticket !== null) tickets[id] = ticket;
  }
  if (made.size > 0) connection.send({ type: "tickets", tickets });
}

/**
 * Renews the ticket of an attachment; `null` while rights are undecided, because the ticket would be for rights that
 * nobody has decided about.
 */
const renewTicket = ({ deciding, start }: Attachment): string | null =>
  deciding === null ? start.renewTicket() : null;

/** [3.2] Reports how a subscription starts, with the ticket for its data from there on. */
export function sendSubscribed(
  connection: SubscriptionHost,
  subscription: Subscription,
  start: Start,
  reason?: StartReason,
  rest: { readonly from?: number; readonly cursor?: string } = {},
): void {
  const { id, attachment } = subscription;
  subscription.noteAnswered();
  const { metrics } = connection.context;
  const cursor = start === "shared" ? sharedCursor(connection, attachment) : attachment.start.cursor;
  metrics.subscriptionStarts.inc({ start });
  connection.context.trace?.started(
    connection,
    subscription,
    reason === undefined ? start : `${start}: ${reason}`,
  );
  connection.send({
    type: "subscribed",
    id,
    query: attachment.number,
    start,
    cursor,
    ticket: attachment.start.ticket(),
    ...(reason === undefined ? {} : { reason }),
    ...rest,
  });
}

/** The cursor up to which the client has the live query, for one more subscription to it. */
function sharedCursor({ context, progress }: SubscriptionHost, attachment: Attachment): string {
  const { delivery, start } = attachment;
  const { mergesRows } = delivery.liveQuery.broadcast;
  if (delivery.isLive && (!mergesRows || context.feed.timeline.isSettled))
    return progress.cursorOf(attachment);
  // Rows are held back, or are being delivered, so the settled head may be later than the client's state.
  if (delivery.isLive || delivery.isHeldBack) return start.sent?.cursor ?? start.cursor;
  // The client is behind.
  return start.cursor;
}

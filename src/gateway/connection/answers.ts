import type { Start, StartReason } from "../../protocol/messages.ts";
import type { Attachment } from "./attachment.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionHost } from "./subscription-host.ts";

/** [3.2] Gives newer tickets for all that this connection follows: of a newer token, or before the old ones end. */
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

/** `null` while rights are undecided: a ticket that was sealed now would be for rights that nobody has decided about. */
const renewTicket = ({ deciding, start }: Attachment): string | null =>
  deciding === null ? start.renewTicket() : null;

/** [3.2] Tells how a subscription starts, with the ticket for what it sees from there on. */
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
  // A shared attachment may not have been delivered up to the head yet; a batch may be on its way to it.
  const isUpToDate = start === "shared" && attachment.delivery.isLive;
  const cursor = isUpToDate ? connection.progress.cursorOf(attachment) : attachment.start.cursor;
  metrics.subscriptionStarts.inc({ start });
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

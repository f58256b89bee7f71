import type { Start, StartReason } from "../protocol/messages.ts";
import type { Connection } from "./connection.ts";
import type { Subscription } from "./subscriptions.ts";
import { toldCursor } from "./told-cursor.ts";

/** [3.2] Tells how a subscription starts, with the ticket for what it sees from there on. */
export function sendSubscribed(
  connection: Connection,
  subscription: Subscription,
  start: Start,
  reason?: StartReason,
  rest: { readonly from?: number; readonly cursor?: string } = {},
): void {
  const { id, attachment } = subscription;
  subscription.isAnswered = true;
  const { feed, metrics } = connection.context;
  // A shared attachment may not have been delivered up to the head yet; a batch may be on its way to it.
  const isUpToDate = start === "shared" && attachment.delivery.isLive;
  const cursor = isUpToDate ? toldCursor(feed, [attachment]) : attachment.startCursor;
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

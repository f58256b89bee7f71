import { TidewireError } from "../../../protocol/errors.ts";
import type { UnsubscribeMessage } from "../../../protocol/messages.ts";
import { endSubscription, type SubscriptionOwner } from "../end-subscription.ts";

/** [3.1] Ends a subscription. After the answer no further message for the id follows. */
export async function handleUnsubscribe(
  connection: SubscriptionOwner,
  { id }: UnsubscribeMessage,
): Promise<void> {
  const subscription = connection.subscriptions.get(id);
  if (subscription !== undefined) endSubscription(connection, subscription, "requested");
  else if (connection.subscriptions.pending.withdraw(id))
    connection.send({ type: "unsubscribed", id, reason: "requested" });
  else throw new TidewireError("unknown-id", "no subscription of this connection has this id");
}

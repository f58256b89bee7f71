import type { AttachmentOwner } from "./attachment-owner.ts";
import type { SubscriptionOwner } from "./end-subscription.ts";
import type { Login } from "./login.ts";
import type { Outbox } from "./outbox.ts";
import type { Progress } from "./progress.ts";
import type { Subscriptions } from "./subscriptions.ts";

/**
 * The parts of a connection that starting and moving its subscriptions needs. It cannot close the connection, read its
 * messages or replace its login: `fail` is the only way in which a subscription affects the others.
 */
export interface SubscriptionHost extends AttachmentOwner, SubscriptionOwner {
  readonly login: Pick<Login, "account" | "values">;
  readonly outbox: Outbox;
  readonly progress: Pick<Progress, "becameLive" | "cursorOf">;
  readonly subscriptions: Subscriptions;
}

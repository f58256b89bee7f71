import type { SubscriptionCharge } from "../../feed/account.ts";
import type { ParsedRequest } from "../../rules/authorize.ts";
import type { Attachment } from "./attachment.ts";
import type { HeldLookups } from "./held-lookups.ts";

/** The parts of a subscription that exist before its rights are known. */
export interface Requested {
  readonly id: string;
  readonly request: ParsedRequest;
  /** The sets on which its rights depend. */
  readonly lookups: HeldLookups;
  /** The charge to the user's account. */
  readonly charge: SubscriptionCharge;
}

/** A subscription that waits for the sets on which its rights depend. */
export interface Asked extends Requested {
  /** Whether it was unsubscribed meanwhile, or the connection has ended. */
  isOver: boolean;
}

/** The subscription behind one `id` of the client. */
export class Subscription implements Requested {
  readonly id: string;
  readonly request: ParsedRequest;
  readonly lookups: HeldLookups;
  readonly charge: SubscriptionCharge;
  #attachment: Attachment;
  #isAnswered = false;
  #isPostponed = false;

  constructor({ id, request, lookups, charge }: Requested, attachment: Attachment) {
    this.id = id;
    this.request = request;
    this.lookups = lookups;
    this.charge = charge;
    this.#attachment = attachment;
  }

  get attachment(): Attachment {
    return this.#attachment;
  }

  /** Whether its `subscribed` was sent. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  noteAnswered(): void {
    this.#isAnswered = true;
  }

  /** For `Subscriptions` only, which updates the ids of both attachments. */
  moveTo(attachment: Attachment): void {
    this.#attachment = attachment;
  }

  /** Its rights have changed, and it is authorized again later; `false` if that is planned already. */
  postpone(): boolean {
    if (this.#isPostponed) return false;
    this.#isPostponed = true;
    return true;
  }

  /** The time to authorize it again has come. */
  endPostponement(): void {
    this.#isPostponed = false;
  }
}

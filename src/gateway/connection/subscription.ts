import type { SubscriptionCharge } from "../../feed/account.ts";
import type { EffectiveQuery, ParsedRequest } from "../../rules/authorize.ts";
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
  #query: EffectiveQuery;
  #isAnswered = false;
  #isPostponed = false;

  /** @param query The query that the request was granted. The attachment has its live query. */
  constructor(
    { id, request, lookups, charge }: Requested,
    attachment: Attachment,
    query: EffectiveQuery = attachment.query,
  ) {
    this.id = id;
    this.request = request;
    this.lookups = lookups;
    this.charge = charge;
    this.#attachment = attachment;
    this.#query = query;
  }

  get attachment(): Attachment {
    return this.#attachment;
  }

  /**
   * The query that its own request was granted when its rights were last decided. The query of the attachment has the
   * same key, and may come from another request, another rule or an earlier edit of the rules.
   */
  get query(): EffectiveQuery {
    return this.#query;
  }

  /** Its rights were decided. While the grant is the same, the earlier query is kept, so that no memory is taken. */
  noteDecided(query: EffectiveQuery): void {
    if (query.grant !== this.#query.grant) this.#query = query;
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

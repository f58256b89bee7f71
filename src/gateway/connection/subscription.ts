import type { ParsedRequest } from "../../rules/authorize.ts";
import type { Attachment } from "./attachment.ts";
import type { HeldLookups } from "./held-lookups.ts";

/** The parts of a subscription that exist before its rights are known. */
export interface Requested {
  readonly id: string;
  readonly request: ParsedRequest;
  /** The sets that its rights depend on. */
  readonly lookups: HeldLookups;
  /** Returns to the user's account what the subscription was charged. */
  readonly giveBack: () => void;
}

/** A subscription that waits for the sets which its rights depend on. */
export interface Asked extends Requested {
  /** Unsubscribed meanwhile, or the connection has ended. */
  isOver: boolean;
}

/** One `id` of the client. */
export class Subscription implements Requested {
  readonly id: string;
  readonly request: ParsedRequest;
  readonly lookups: HeldLookups;
  readonly giveBack: () => void;
  #attachment: Attachment;
  #isAnswered = false;
  #isPostponed = false;

  constructor({ id, request, lookups, giveBack }: Requested, attachment: Attachment) {
    this.id = id;
    this.request = request;
    this.lookups = lookups;
    this.giveBack = giveBack;
    this.#attachment = attachment;
  }

  get attachment(): Attachment {
    return this.#attachment;
  }

  /** Whether its `subscribed` has been sent. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  noteAnswered(): void {
    this.#isAnswered = true;
  }

  /** For `Subscriptions` only, which keeps the ids of both attachments in step. */
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

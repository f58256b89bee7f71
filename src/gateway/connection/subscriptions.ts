import type { HistoryEntry } from "../../feed/history.ts";
import type { ParsedRequest } from "../../rules/authorize.ts";
import type { Attachment } from "./attachment.ts";
import type { HeldLookups } from "./held-lookups.ts";

/** One `id` of the client. */
export interface Subscription {
  readonly id: string;
  readonly request: ParsedRequest;
  attachment: Attachment;
  /** The sets that its rights depend on. */
  readonly lookups: HeldLookups;
  /** Gives back to the user's account what the subscription was charged. */
  readonly giveBack: () => void;
  /** Its `subscribed` has been sent. */
  isAnswered: boolean;
  /** Its rights have changed, and it is judged again once the client has read what waits. */
  isPostponed?: boolean;
}

/** A subscription that waits for the sets which its rights depend on. */
export interface Asked extends Pick<Subscription, "id" | "request" | "lookups" | "giveBack"> {
  /** Unsubscribed meanwhile, or the connection has ended. */
  isOver: boolean;
}

/** The commit at which rights change; `null` for the head of the stream. */
export type ChangePoint = HistoryEntry | null;

/** So many live queries of one connection keep their numbers after they have ended. */
const NUMBERS_MAX = 100;

/** Counts the subscriptions of all connections. */
interface Gauge {
  inc(): void;
  dec(): void;
}

/**
 * The subscriptions of one connection, and the attachments that serve them. It keeps three things true together:
 * an attachment serves exactly the ids in its `ids`, an attachment without ids is detached and so writes nothing, and
 * every subscription that is gone holds no lookup and is counted nowhere.
 */
export class Subscriptions implements Iterable<Subscription> {
  readonly #byId = new Map<string, Subscription>();
  /** By the key of the live query. */
  readonly #attachments = new Map<string, Attachment>();
  readonly #asked = new Map<string, Asked>();
  readonly #gauge: Gauge;
  #lastNumber = 0;
  /** By the key of the live query; those that were asked for last. */
  readonly #numbers = new Map<string, number>();

  constructor(gauge: Gauge) {
    this.#gauge = gauge;
  }

  /** Those that are made, and those that wait to be judged. */
  get size(): number {
    return this.#byId.size + this.#asked.size;
  }

  get isAsking(): boolean {
    return this.#asked.size > 0;
  }

  /** A copy, so that a subscription may end while somebody iterates. */
  [Symbol.iterator](): Iterator<Subscription> {
    return [...this.#byId.values()][Symbol.iterator]();
  }

  /** Whether the id is in use, by a subscription or by one that waits to be judged. */
  has(id: string): boolean {
    return this.#byId.has(id) || this.#asked.has(id);
  }

  get(id: string): Subscription | undefined {
    return this.#byId.get(id);
  }

  /** Whether this very subscription has not ended; another may use its id by now. */
  holds(subscription: Subscription): boolean {
    return this.#byId.get(subscription.id) === subscription;
  }

  /** All attachments that serve a subscription. */
  get attachments(): Iterable<Attachment> {
    return this.#attachments.values();
  }

  /** The attachment by which this connection follows a live query. */
  attachmentOf(key: string): Attachment | undefined {
    return this.#attachments.get(key);
  }

  /**
   * The number of a live query on the wire. It is counted for each connection, so that it tells nothing about others. A
   * live query that is followed again has the same number, as long as it is remembered.
   */
  numberFor(key: string): number {
    const number = this.#attachments.get(key)?.number ?? this.#numbers.get(key) ?? ++this.#lastNumber;
    this.#numbers.delete(key);
    this.#numbers.set(key, number);
    const [oldest] = this.#numbers.keys();
    if (this.#numbers.size > NUMBERS_MAX && oldest !== undefined) this.#numbers.delete(oldest);
    return number;
  }

  /** A subscription begins to wait until it can be judged. */
  ask(asked: Asked): void {
    this.#asked.set(asked.id, asked);
  }

  /** A subscription waits no longer. */
  answer(asked: Asked): void {
    if (this.#asked.get(asked.id) === asked) this.#asked.delete(asked.id);
  }

  /** Forgets a subscription that waits to be judged; whether there was one. */
  withdraw(id: string): boolean {
    const asked = this.#asked.get(id);
    if (asked === undefined) return false;
    asked.isOver = true;
    return this.#asked.delete(id);
  }

  /** Takes a new subscription, served by its attachment. */
  add(subscription: Subscription): void {
    this.#byId.set(subscription.id, subscription);
    subscription.attachment.join(subscription.id);
    this.#gauge.inc();
  }

  /** Makes an attachment the one by which this connection follows its live query; it takes over the ids of another. */
  follow(attachment: Attachment): void {
    const { key } = attachment.query;
    const present = this.#attachments.get(key);
    this.#attachments.set(key, attachment);
    if (present === undefined || present === attachment) return;
    for (const id of [...present.ids]) {
      const subscription = this.#byId.get(id);
      if (subscription !== undefined) subscription.attachment = attachment;
      attachment.join(id);
      if (present.isUndecided(id)) attachment.suspend(id);
      present.leave(id);
    }
    present.detach();
  }

  /** Lets another attachment serve a subscription that has been released. */
  serve(subscription: Subscription, attachment: Attachment): void {
    subscription.attachment = attachment;
    attachment.join(subscription.id);
  }

  /** From here on nothing is sent for the subscription, until it is served again. */
  release({ id, attachment }: Pick<Subscription, "id" | "attachment">): void {
    attachment.leave(id);
    if (attachment.ids.size > 0) return;
    const { key } = attachment.query;
    if (this.#attachments.get(key) === attachment) this.#attachments.delete(key);
    attachment.detach();
  }

  /** Ends a subscription; its attachment goes with the last one. */
  remove(subscription: Subscription): void {
    if (!this.holds(subscription)) return;
    this.#byId.delete(subscription.id);
    this.#gauge.dec();
    subscription.giveBack();
    try {
      this.release(subscription);
    } finally {
      subscription.lookups.release();
    }
  }

  /** One of the subscriptions that an attachment serves. */
  firstOf(attachment: Attachment): Subscription | undefined {
    return this.servedBy(attachment)[0];
  }

  servedBy(attachment: Attachment): Subscription[] {
    return [...attachment.ids].flatMap((id) => {
      const subscription = this.#byId.get(id);
      return subscription?.attachment === attachment ? [subscription] : [];
    });
  }

  /** Something is still to be sent for what has happened, or waits for what decides about the rights. */
  get isBehind(): boolean {
    for (const { delivery } of this.#attachments.values()) if (!delivery.isLive) return true;
    for (const { id, attachment } of this.#byId.values())
      if (!attachment.serves(id) || attachment.isUndecided(id)) return true;
    return false;
  }

  /** Ends everything, without a word to the client. */
  end(): void {
    for (const id of [...this.#asked.keys()]) this.withdraw(id);
    for (const attachment of this.#attachments.values()) attachment.detach();
    this.#attachments.clear();
    for (const subscription of this) {
      // An attachment that is being opened to replace another is not among the attachments yet.
      subscription.attachment.detach();
      this.remove(subscription);
    }
  }
}

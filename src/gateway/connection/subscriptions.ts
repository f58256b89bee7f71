/**
 * The subscriptions of one connection. Ids, attachments, lookups and metrics must change together, so all changes go
 * through this class.
 */
import type { HistoryEntry } from "../../feed/history.ts";
import { Limiter, type WaitingGauge } from "../../feed/limiter.ts";
import { SmallMap } from "../../feed/small-map.ts";
import type { Attachment } from "./attachment.ts";
import { PendingSubscriptions } from "./pending-subscriptions.ts";
import { Signal } from "./signal.ts";
import type { Subscription } from "./subscription.ts";

/** The commit at which rights change; `null` for the head of the stream. */
export type ChangePoint = HistoryEntry | null;

/** How many live queries of one connection keep their numbers after they have ended. */
const NUMBERS_MAX = 100;

/** The metrics of the subscriptions of all connections. */
interface SubscriptionMetrics {
  readonly subscriptions: {
    inc(labels: { readonly collection: string }): void;
    dec(labels: { readonly collection: string }): void;
  };
  readonly limitWaiting: WaitingGauge;
}

/** The label of a subscription. The configuration limits the number of its values. */
const labelOf = ({ query: { database, collectionName } }: Pick<Attachment, "query">) => ({
  collection: `${database}.${collectionName}`,
});

/**
 * The subscriptions of one connection, and the attachments that serve them. It maintains three invariants: an
 * attachment serves exactly the ids in its `ids`; an attachment without ids is detached and writes nothing; a
 * subscription that has ended holds no lookup and is counted nowhere.
 */
export class Subscriptions implements Iterable<Subscription> {
  readonly #byId = new SmallMap<string, Subscription>();
  /** By the key of the live query. */
  readonly #attachments = new SmallMap<string, Attachment>();
  readonly #metrics: SubscriptionMetrics;
  readonly #snapshotsMost: number;
  /** Created for the first snapshot. */
  #snapshotTurns: Limiter | null = null;
  /** Notifies of every event after which `isBehind` may be false or `pending` be empty. */
  readonly changes = new Signal();
  readonly pending = new PendingSubscriptions(this.changes);
  #lastNumber = 0;
  /** By the key of the live query, in the order of use. */
  readonly #numbers = new SmallMap<string, number>();

  /** @param snapshotsMost How many snapshots this connection may read at the same time. */
  constructor(metrics: SubscriptionMetrics, snapshotsMost: number) {
    this.#metrics = metrics;
    this.#snapshotsMost = snapshotsMost;
  }

  /** The number of active subscriptions, and of those that wait for their authorization. */
  get size(): number {
    return this.#byId.size + this.pending.size;
  }

  /** Iterates over a copy, so that a subscription may end during the iteration. */
  [Symbol.iterator](): Iterator<Subscription> {
    return this.#byId.values()[Symbol.iterator]();
  }

  /** Whether the id is in use, also by a subscription that waits for its authorization. */
  has(id: string): boolean {
    return this.#byId.has(id) || this.pending.has(id);
  }

  get(id: string): Subscription | undefined {
    return this.#byId.get(id);
  }

  /** Whether this very subscription has not ended. Another one may use its id by now. */
  holds(subscription: Subscription): boolean {
    return this.#byId.get(subscription.id) === subscription;
  }

  /** All attachments that serve a subscription. */
  get attachments(): Iterable<Attachment> {
    return this.#attachments.values();
  }

  /** The attachment through which this connection follows a live query. */
  attachmentOf(key: string): Attachment | undefined {
    return this.#attachments.get(key);
  }

  /**
   * The number of a live query in messages. Each connection counts its own, so that a number reveals nothing about
   * other clients. A live query that is followed again has the same number, as long as the number is remembered.
   */
  numberFor(key: string): number {
    const number = this.#attachments.get(key)?.number ?? this.#numbers.get(key) ?? ++this.#lastNumber;
    this.#numbers.delete(key);
    this.#numbers.set(key, number);
    const [oldest] = this.#numbers.size > NUMBERS_MAX ? this.#numbers.keys() : [];
    if (oldest !== undefined) this.#numbers.delete(oldest);
    return number;
  }

  /** Adds a new subscription, which its attachment serves. */
  add(subscription: Subscription): void {
    this.#byId.set(subscription.id, subscription);
    subscription.attachment.join(subscription.id);
    this.#metrics.subscriptions.inc(labelOf(subscription.attachment));
  }

  /**
   * Makes an attachment the one through which this connection follows its live query. It takes over the ids of another
   * one.
   */
  follow(attachment: Attachment): void {
    const { key } = attachment.query;
    const present = this.#attachments.get(key);
    this.#attachments.set(key, attachment);
    if (present === undefined || present === attachment) return;
    for (const id of [...present.ids]) {
      const subscription = this.#byId.get(id);
      if (subscription !== undefined) this.#move(subscription, attachment);
      attachment.join(id);
      if (present.isUndecided(id)) attachment.suspend(id);
      present.leave(id);
    }
    present.detach();
    this.changes.notify();
  }

  #move(subscription: Subscription, attachment: Attachment): void {
    // An edit of the configuration may give the name of a collection to another one.
    this.#metrics.subscriptions.dec(labelOf(subscription.attachment));
    this.#metrics.subscriptions.inc(labelOf(attachment));
    subscription.moveTo(attachment);
  }

  /** Lets another attachment serve a subscription that was released. */
  serve(subscription: Subscription, attachment: Attachment): void {
    this.#move(subscription, attachment);
    attachment.join(subscription.id);
    this.changes.notify();
  }

  /** Silences a subscription. Nothing is sent for it until another attachment serves it. */
  release({ id, attachment }: Pick<Subscription, "id" | "attachment">): void {
    attachment.leave(id);
    if (attachment.ids.size > 0) {
      this.#voidUnproven(attachment);
      return;
    }
    const { key } = attachment.query;
    if (this.#attachments.get(key) === attachment) this.#attachments.delete(key);
    attachment.detach();
  }

  /**
   * The rights of the subscription that made an attachment decide how it starts. Until it is live, subscriptions with other
   * rights may receive data from before they had them as long as that one stays, and not after it has left.
   */
  #voidUnproven(attachment: Attachment): void {
    const { delivery, query } = attachment;
    if (attachment.isDetached || delivery.phase === "live") return;
    if (this.servedBy(attachment).every((other) => other.query.grant !== query.grant)) delivery.startOver();
  }

  /** Ends a subscription. Its attachment ends with the last one. */
  remove(subscription: Subscription): void {
    if (!this.holds(subscription)) return;
    this.#byId.delete(subscription.id);
    this.#metrics.subscriptions.dec(labelOf(subscription.attachment));
    subscription.charge.giveBack();
    try {
      this.release(subscription);
    } finally {
      subscription.lookups.release();
      this.changes.notify();
    }
  }

  servedBy(attachment: Pick<Attachment, "ids">): Subscription[] {
    return [...attachment.ids].flatMap((id) => {
      const subscription = this.#byId.get(id);
      return subscription?.attachment === attachment ? [subscription] : [];
    });
  }

  /** Whether changes are still to be sent, or rights are still to be decided. */
  get isBehind(): boolean {
    for (const { delivery } of this.#attachments.values()) if (!delivery.isLive) return true;
    for (const { id, attachment } of this.#byId.values())
      if (!attachment.serves(id) || attachment.isUndecided(id)) return true;
    return false;
  }

  /** Settles after an event that may be the last one for which `isBehind` or a pending subscription waits. */
  mayHaveCaughtUp(): Promise<void> {
    const windows = this.#attachments
      .values()
      .filter(({ delivery }) => !delivery.liveQuery.state.isCurrent)
      .map(({ delivery }) => delivery.liveQuery.state.becomesCurrent());
    return Promise.race([this.changes.next(), ...windows]);
  }

  /**
   * Waits until this connection may read one more snapshot.
   * @returns A function that returns the turn.
   */
  snapshotTurn(): Promise<() => void> {
    this.#snapshotTurns ??= new Limiter(
      { most: this.#snapshotsMost, limit: "snapshotsPerConnection" },
      this.#metrics.limitWaiting,
    );
    return this.#snapshotTurns.acquire();
  }

  /** Ends everything, without messages to the client. */
  end(): void {
    this.pending.end();
    for (const attachment of this.#attachments.values()) attachment.detach();
    this.#attachments.clear();
    for (const subscription of this) {
      // An attachment that is being opened to replace another one is not among the attachments yet.
      subscription.attachment.detach();
      this.remove(subscription);
    }
  }
}

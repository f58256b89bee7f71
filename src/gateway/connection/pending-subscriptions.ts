/**
 * Subscriptions between `subscribe` and their authorization. They count towards the limits and can be withdrawn, so
 * that a client cannot start unlimited lookups by subscribing and unsubscribing.
 */
import type { Signal } from "./signal.ts";
import type { Asked } from "./subscription.ts";

/** The subscriptions of one connection that wait for their authorization, because lookup sets must be read first. */
export class PendingSubscriptions {
  /** Created for the first one, because most subscriptions are authorized at once. */
  #byId: Map<string, Asked> | null = null;
  readonly #changes: Signal;

  /** @param changes Notified whenever a subscription no longer waits. */
  constructor(changes: Signal) {
    this.#changes = changes;
  }

  get size(): number {
    return this.#byId?.size ?? 0;
  }

  has(id: string): boolean {
    return this.#byId?.has(id) === true;
  }

  /** A subscription starts to wait. */
  add(asked: Asked): void {
    this.#byId ??= new Map();
    this.#byId.set(asked.id, asked);
  }

  /** A subscription no longer waits. */
  remove(asked: Asked): void {
    if (this.#byId?.get(asked.id) !== asked) return;
    this.#byId.delete(asked.id);
    this.#changes.notify();
  }

  /** Withdraws a subscription; `false` if none waits under this id. */
  withdraw(id: string): boolean {
    const asked = this.#byId?.get(id);
    if (asked === undefined) return false;
    asked.isOver = true;
    this.#byId?.delete(id);
    this.#changes.notify();
    return true;
  }

  /** Withdraws all of them. */
  end(): void {
    for (const id of [...(this.#byId?.keys() ?? [])]) this.withdraw(id);
  }
}

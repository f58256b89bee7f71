import type { Signal } from "./signal.ts";
import type { Asked } from "./subscription.ts";

/** The subscriptions of one connection that wait to be authorized, because lookup sets have to be read first. */
export class PendingSubscriptions {
  readonly #byId = new Map<string, Asked>();
  readonly #changes: Signal;

  /** @param changes Notified whenever a subscription no longer waits. */
  constructor(changes: Signal) {
    this.#changes = changes;
  }

  get size(): number {
    return this.#byId.size;
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  /** A subscription begins to wait. */
  add(asked: Asked): void {
    this.#byId.set(asked.id, asked);
  }

  /** A subscription waits no longer. */
  remove(asked: Asked): void {
    if (this.#byId.get(asked.id) !== asked) return;
    this.#byId.delete(asked.id);
    this.#changes.notify();
  }

  /** Gives up a subscription; `false` if none waits under this id. */
  withdraw(id: string): boolean {
    const asked = this.#byId.get(id);
    if (asked === undefined) return false;
    asked.isOver = true;
    this.#byId.delete(id);
    this.#changes.notify();
    return true;
  }

  /** Gives up all of them. */
  end(): void {
    for (const id of [...this.#byId.keys()]) this.withdraw(id);
  }
}

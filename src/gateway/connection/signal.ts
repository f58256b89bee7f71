import { type Deferred, deferred } from "../../feed/deferred.ts";

/** An event that code can wait for: each notification wakes all that wait at that moment. */
export class Signal {
  #waiting: Deferred | null = null;

  /** Settles with the next notification. */
  next(): Promise<void> {
    this.#waiting ??= deferred();
    return this.#waiting.promise;
  }

  /** Wakes all that wait. */
  notify(): void {
    this.#waiting?.resolve();
    this.#waiting = null;
  }
}

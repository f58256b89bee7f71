import { type Deferred, deferred } from "../../feed/deferred.ts";

/** An event for which code can wait. Each notification wakes all code that waits at that moment. */
export class Signal {
  #waiting: Deferred | null = null;

  /** Settles with the next notification. */
  next(): Promise<void> {
    this.#waiting ??= deferred();
    return this.#waiting.promise;
  }

  /** Wakes all code that waits. */
  notify(): void {
    this.#waiting?.resolve();
    this.#waiting = null;
  }
}

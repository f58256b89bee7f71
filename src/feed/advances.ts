import { TidewireError } from "../protocol/errors.ts";
import { deferred } from "./deferred.ts";

/** One caller that waits for a condition. An error of the condition goes to this caller alone. */
class Waiter {
  readonly #isDone: () => boolean;
  readonly #done = deferred();

  constructor(isDone: () => boolean) {
    this.#isDone = isDone;
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  check(): void {
    try {
      if (this.#isDone()) this.#done.resolve();
    } catch (error) {
      this.#done.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  expire(): void {
    this.#done.reject(new TidewireError("unavailable", "the change stream is behind: try again later"));
  }
}

/** Wakes those that wait for the head of the stream to move. */
export class Advances {
  #next = deferred();
  readonly #waiters = new Set<Waiter>();

  /** Settles at the next `announce`. */
  next(): Promise<void> {
    return this.#next.promise;
  }

  /** The end of a batch, or of a new start of the order of commits. */
  announce(): void {
    this.#next.resolve();
    this.#next = deferred();
    for (const waiter of this.#waiters) waiter.check();
  }

  /**
   * Settles when a condition is true. The condition is checked at once, at each `announce`, and after `againMs`.
   * @param againMs In milliseconds; for a condition that a clock makes true.
   * @throws {TidewireError} `unavailable` after `timeoutMs`; or the error of the condition.
   */
  async until(isDone: () => boolean, timeoutMs: number, againMs = timeoutMs): Promise<void> {
    if (isDone()) return;
    const waiter = new Waiter(isDone);
    const timeout = setTimeout(() => waiter.expire(), timeoutMs);
    const again = setTimeout(() => waiter.check(), Math.min(againMs, timeoutMs));
    this.#waiters.add(waiter);
    try {
      await waiter.done;
    } finally {
      clearTimeout(timeout);
      clearTimeout(again);
      this.#waiters.delete(waiter);
    }
  }
}

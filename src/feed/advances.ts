import { TidewireError } from "../protocol/errors.ts";
import { type Deferred, deferred } from "./deferred.ts";

interface Waiter extends Deferred {
  readonly isDone: () => boolean;
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
    for (const waiter of this.#waiters) if (waiter.isDone()) waiter.resolve();
  }

  /**
   * Settles when a condition is true. The condition is checked at once, at each `announce`, and after `againMs`.
   * @param againMs In milliseconds; for a condition that a clock makes true.
   * @throws {TidewireError} `unavailable` after `timeoutMs`.
   */
  async until(isDone: () => boolean, timeoutMs: number, againMs = timeoutMs): Promise<void> {
    if (isDone()) return;
    const waiter = { isDone, ...deferred() };
    const timeout = setTimeout(
      () => waiter.reject(new TidewireError("unavailable", "the change stream is behind: try again later")),
      timeoutMs,
    );
    const again = setTimeout(() => void (isDone() && waiter.resolve()), Math.min(againMs, timeoutMs));
    this.#waiters.add(waiter);
    try {
      await waiter.promise;
    } finally {
      clearTimeout(timeout);
      clearTimeout(again);
      this.#waiters.delete(waiter);
    }
  }
}

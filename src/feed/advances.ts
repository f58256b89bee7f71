/**
 * Lets callers wait until the stream has reached a point. Fences and hidden cursors wait for a commit that may never
 * arrive on an idle deployment, so every wait has a timeout.
 */
import { TidewireError } from "../protocol/errors.ts";
import { deferred } from "./deferred.ts";

/** One caller that waits for a condition. If the condition throws, only this caller receives the error. */
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

  leave(): void {
    this.#done.reject(abandoned());
  }
}

/** Wakes the callers that wait for the head of the stream to advance. */
export class Advances {
  #next = deferred();
  readonly #waiters = new Set<Waiter>();

  /** Settles at the next `announce`. */
  next(): Promise<void> {
    return this.#next.promise;
  }

  /** To be called at the end of a batch, or when a new order of commits has begun. */
  announce(): void {
    this.#next.resolve();
    this.#next = deferred();
    for (const waiter of this.#waiters) waiter.check();
  }

  /**
   * Settles when a condition is true. The condition is checked at once, at each `announce`, and after `againMs`.
   * @param againMs In milliseconds, for a condition that the passing of time makes true.
   * @param gone Aborted when the caller no longer waits.
   * @throws {TidewireError} `unavailable` after `timeoutMs`, or when the caller no longer waits; or the error of the
   *   condition.
   */
  async until(
    isDone: () => boolean,
    timeoutMs: number,
    againMs = timeoutMs,
    gone?: AbortSignal,
  ): Promise<void> {
    if (isDone()) return;
    if (gone?.aborted === true) throw abandoned();
    const waiter = new Waiter(isDone);
    const leave = () => waiter.leave();
    const timeout = setTimeout(() => waiter.expire(), timeoutMs);
    gone?.addEventListener("abort", leave);
    const again = setTimeout(() => waiter.check(), Math.min(againMs, timeoutMs));
    this.#waiters.add(waiter);
    try {
      await waiter.done;
    } finally {
      clearTimeout(timeout);
      clearTimeout(again);
      gone?.removeEventListener("abort", leave);
      this.#waiters.delete(waiter);
    }
  }
}

const abandoned = () => new TidewireError("unavailable", "the caller no longer waits");

/**
 * Queues changes for a `for await` loop. The client must not wait for a slow loop, and the queue must not grow without
 * a limit, so after many unread changes the loop receives the whole result instead.
 */
import type { Change } from "./types.ts";

/** How many changes may wait. Beyond this, the whole result replaces them, which is bounded. */
const WAITING_MAX = 1_000;

type Next<R> = IteratorResult<Change<R>, undefined>;

/** Changes between the client, which does not wait, and a loop, which may be slow. */
export class ChangeQueue<R> implements AsyncIterableIterator<Change<R>, undefined> {
  readonly #result: () => readonly R[];
  readonly #onEnd: () => void;
  #waiting: Change<R>[] = [];
  /** Pending calls of `next`, the oldest first. */
  #readers: { resolve: (next: Next<R>) => void; reject: (error: Error) => void }[] = [];
  #error: Error | undefined;
  #hasEnded = false;

  /** @param onEnd Called when the queue is no longer read. */
  constructor(result: () => readonly R[], onEnd: () => void) {
    this.#result = result;
    this.#onEnd = onEnd;
  }

  push(change: Change<R>): void {
    if (this.#hasEnded) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve({ done: false, value: change });
      return;
    }
    this.#waiting.push(change);
    if (this.#waiting.length > WAITING_MAX) {
      this.#waiting = [{ type: "snapshot", docs: this.#result(), reason: "lagged" }];
    }
  }

  fail(error: Error): void {
    if (this.#hasEnded) return;
    const reader = this.#readers.shift();
    if (reader === undefined) this.#error = error;
    else reader.reject(error);
    this.#end();
  }

  async next(): Promise<Next<R>> {
    const value = this.#waiting.shift();
    if (value !== undefined) return { done: false, value };
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
    if (this.#hasEnded) return { done: true, value: undefined };
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
    });
  }

  async return(): Promise<Next<R>> {
    this.#waiting = [];
    this.#end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const { resolve } of this.#readers.splice(0)) resolve({ done: true, value: undefined });
    this.#onEnd();
  }
}

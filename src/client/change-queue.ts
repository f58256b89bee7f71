/**
 * Queues changes for a `for await` loop (`Query.changes`). The client must not wait for a slow loop, and the queue must not grow without
 * a limit, so after many unread changes the loop receives the whole result instead.
 */
import type { TidewireError } from "../protocol/errors.ts";
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
  #readers: ((next: Next<R> | Promise<Next<R>>) => void)[] = [];
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
    if (reader) reader({ done: false, value: change });
    else if (this.#waiting.push(change) > WAITING_MAX)
      this.#waiting = [{ type: "snapshot", docs: this.#result(), reason: "lagged" }];
  }

  /** Nothing follows after the waiting changes. The next reader receives the error. */
  end(error?: Error): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = error;
    for (const reader of this.#readers) reader(this.next());
    this.#onEnd();
  }

  async next(): Promise<Next<R>> {
    const value = this.#waiting.shift();
    if (value) return { done: false, value };
    const error = this.#error;
    this.#error = undefined;
    if (error) throw error;
    if (this.#hasEnded) return { done: true, value: undefined };
    return new Promise((resolve) => {
      this.#readers.push(resolve);
    });
  }

  return(): Promise<Next<R>> {
    this.#waiting = [];
    this.end();
    this.#error = undefined;
    return this.next();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** The listeners of a query that a loop needs. */
interface LoopListener<R> {
  readonly change: (change: Change<R>) => void;
  readonly stopped: (error: TidewireError | undefined) => void;
}

/**
 * Follows a query, and queues its changes.
 * @param follow Follows the query until the returned function is called.
 */
export function queueChanges<R>(
  result: () => readonly R[],
  follow: (listener: LoopListener<R>) => () => void,
): ChangeQueue<R> {
  // Assigned later, because a query that has stopped already ends the queue while it is being followed.
  let stop: (() => void) | undefined;
  const queue = new ChangeQueue<R>(result, () => stop?.());
  stop = follow({
    change: (change) => queue.push(change),
    stopped: (error) => void (error ? queue.end(error) : queue.return()),
  });
  return queue;
}

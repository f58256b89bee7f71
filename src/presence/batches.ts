import { type Deferred, deferred } from "../feed/deferred.ts";
import { type GuardParts, guarded } from "../metrics/guard.ts";

/** A batch has no more items than this. The rest waits for the next one. */
const ITEMS_MAX = 5_000;

/**
 * Collects items for a moment, and works on them together, one batch at a time. While MongoDB is slow, the batches become
 * larger instead of more.
 */
export class Batches<T> {
  readonly #pauseMs: number;
  readonly #work: (items: readonly T[]) => Promise<void>;
  readonly #run: () => void;
  #waiting: { readonly item: T; readonly done: Deferred }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #working: Promise<void> | null = null;

  /** @param pauseMs How long the first item of a batch waits for others, in milliseconds. */
  constructor(pauseMs: number, parts: GuardParts, work: (items: readonly T[]) => Promise<void>) {
    this.#pauseMs = pauseMs;
    this.#work = work;
    this.#run = guarded(parts, "presence.batch", () => this.#next());
  }

  /** Settles as the work of its batch does. */
  add(item: T): Promise<void> {
    const done = deferred();
    this.#waiting.push({ item, done });
    this.#schedule();
    return done.promise;
  }

  /** Works on everything that waits, now. Never rejects. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#working !== null) await this.#working;
    while (this.#waiting.length > 0) await this.#next();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#working !== null) return;
    this.#timer = setTimeout(this.#run, this.#pauseMs);
  }

  async #next(): Promise<void> {
    this.#timer = undefined;
    const batch = this.#waiting.splice(0, ITEMS_MAX);
    this.#working = this.#settle(batch);
    await this.#working;
    this.#working = null;
    if (this.#waiting.length > 0) this.#schedule();
  }

  async #settle(batch: readonly { readonly item: T; readonly done: Deferred }[]): Promise<void> {
    try {
      await this.#work(batch.map(({ item }) => item));
      for (const { done } of batch) done.resolve();
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      for (const { done } of batch) done.reject(reason);
    }
  }
}

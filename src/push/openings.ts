import { deferred } from "../feed/deferred.ts";

/** Counts the registrations of a partition that are being opened, so that a take-over opens only some of them at once. */
export class Openings {
  #count = 0;
  /** Wakes the take-over. */
  #wake: (() => void) | null = null;
  #most = 0;

  get count(): number {
    return this.#count;
  }

  begun(): void {
    this.#count++;
  }

  ended(): void {
    this.#count--;
    if (this.#count <= this.#most) this.#wake?.();
  }

  /**
   * Waits until at most `most` registrations are being opened. One caller at a time may wait.
   * @param timeoutMs The longest wait, in milliseconds.
   * @param signal Ends the wait.
   */
  async untilAtMost(most: number, timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (this.#count <= most || signal.aborted) return;
    this.#most = most;
    const { promise, resolve } = deferred();
    this.#wake = resolve;
    const timer = setTimeout(resolve, timeoutMs);
    signal.addEventListener("abort", resolve, { once: true });
    await promise;
    clearTimeout(timer);
    signal.removeEventListener("abort", resolve);
    this.#wake = null;
  }
}

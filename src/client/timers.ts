/** A group of timers that are cancelled together. */
export class Timers {
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  /** Runs `work` after a delay, in milliseconds. */
  later(delayMs: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, delayMs);
    this.#timers.add(timer);
  }

  /** Cancels all of them. */
  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}

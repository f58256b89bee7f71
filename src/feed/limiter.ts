/** Lets a limited number of callers hold a slot at once. Others wait in the order of their calls. */
export class Limiter {
  readonly #most: number;
  readonly #waiting: (() => void)[] = [];
  #held = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get held(): number {
    return this.#held;
  }

  /**
   * Waits for a slot.
   * @returns A function that returns the slot. Further calls do nothing.
   */
  async acquire(): Promise<() => void> {
    if (this.#held >= this.#most) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#held++;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const next = this.#waiting.shift();
      // The slot passes directly to the next caller, so a caller that arrives now cannot overtake it.
      if (next === undefined) this.#held--;
      else next();
    };
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const release = await this.acquire();
    try {
      return await work();
    } finally {
      release();
    }
  }
}

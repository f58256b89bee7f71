/** Counts those who wait, by the option of `limits` that they wait for. */
export interface WaitingGauge {
  inc(labels: { readonly limit: string }): void;
  dec(labels: { readonly limit: string }): void;
}

/** Lets a limited number of callers hold a slot at once. Others wait in the order of their calls. */
export class Limiter {
  readonly #most: number;
  readonly #gauge: WaitingGauge | null;
  readonly #limit: string;
  readonly #waiting: (() => void)[] = [];
  #held = 0;

  /** @param limit The option of `limits` that sets `most`. */
  constructor(most: number, gauge: WaitingGauge | null = null, limit = "") {
    this.#most = most;
    this.#gauge = gauge;
    this.#limit = limit;
  }

  get held(): number {
    return this.#held;
  }

  /**
   * Waits for a slot.
   * @returns A function that returns the slot. Further calls do nothing.
   */
  async acquire(): Promise<() => void> {
    if (this.#held >= this.#most) {
      this.#gauge?.inc({ limit: this.#limit });
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#held++;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const next = this.#waiting.shift();
      // The slot passes directly to the next caller, so a caller that arrives now cannot overtake it.
      if (next === undefined) this.#held--;
      else {
        this.#gauge?.dec({ limit: this.#limit });
        next();
      }
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

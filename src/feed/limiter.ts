/** Lets only so many callers hold a slot at once; the others wait in line. */
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

  /** Waits for a slot. The returned function gives it back; further calls do nothing. */
  async acquire(): Promise<() => void> {
    if (this.#held >= this.#most) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#held++;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const next = this.#waiting.shift();
      // The slot passes to the next in line without being free in between.
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

/** The one method of a counter that a `Tally` needs. */
interface Summed {
  inc(by: number): void;
}

/**
 * Counts what happens with every change. It is a plain number until the metric is read: to find the entry of a counter
 * costs more than what is counted.
 */
export class Tally {
  readonly #counter: Summed;
  #sum = 0;
  #total = 0;

  constructor(counter: Summed) {
    this.#counter = counter;
  }

  /** Everything that was counted. */
  get total(): number {
    return this.#total + this.#sum;
  }

  inc(by = 1): void {
    this.#sum += by;
  }

  /** Hands what was counted since the last call to the counter. */
  publish(): void {
    if (this.#sum === 0) return;
    this.#counter.inc(this.#sum);
    this.#total += this.#sum;
    this.#sum = 0;
  }
}

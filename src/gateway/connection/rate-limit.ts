/** A token bucket: `rate` a second over time, `burst` at once. */
export class RateLimit {
  readonly #rate: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  constructor(rate: number, burst: number, nowMs: number) {
    this.#rate = rate;
    this.#burst = burst;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Takes `cost`, or nothing where there is not so much. A cost above the burst counts as the whole burst. */
  take(cost: number, nowMs: number): boolean {
    const seconds = Math.max(0, nowMs - this.#atMs) / 1_000;
    this.#tokens = Math.min(this.#burst, this.#tokens + seconds * this.#rate);
    this.#atMs = nowMs;
    const price = Math.min(cost, this.#burst);
    if (this.#tokens < price) return false;
    this.#tokens -= price;
    return true;
  }

  /** Milliseconds until `cost` can be taken. */
  waitMs(cost: number): number {
    return Math.ceil((Math.max(0, Math.min(cost, this.#burst) - this.#tokens) / this.#rate) * 1_000);
  }

  /** Nothing is owed: a bucket that is full again need not be kept. */
  isFull(nowMs: number): boolean {
    return this.#tokens + (Math.max(0, nowMs - this.#atMs) / 1_000) * this.#rate >= this.#burst;
  }
}

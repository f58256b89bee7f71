/**
 * Tokens are refilled in fractions, and their sum is rounded. Without this tolerance a request that waited for exactly
 * `waitMs` could be refused.
 */
const ROUNDING = 1e-6;

/** A token bucket: `rate` tokens per second in the long run, `burst` at once. */
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

  /** Takes `cost`, or nothing if there are not enough tokens. A cost above the burst counts as the whole burst. */
  take(cost: number, nowMs: number): boolean {
    const seconds = Math.max(0, nowMs - this.#atMs) / 1_000;
    this.#tokens = Math.min(this.#burst, this.#tokens + seconds * this.#rate);
    this.#atMs = nowMs;
    const price = Math.min(cost, this.#burst);
    if (this.#tokens < price - ROUNDING) return false;
    this.#tokens -= price;
    return true;
  }

  /** Milliseconds until `cost` can be taken. */
  waitMs(cost: number): number {
    const missing = Math.min(cost, this.#burst) - ROUNDING - this.#tokens;
    return Math.ceil((Math.max(0, missing) / this.#rate) * 1_000);
  }

  /** Whether the bucket is full again, so that it need not be kept. */
  isFull(nowMs: number): boolean {
    return this.#tokens + (Math.max(0, nowMs - this.#atMs) / 1_000) * this.#rate >= this.#burst;
  }
}

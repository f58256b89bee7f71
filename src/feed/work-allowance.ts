/**
 * Limits processing time per user. A user may cause bursts, such as a page with many live queries that a large write
 * touches, as long as the average stays below the limit.
 */
/** For this long a user may save up work, in seconds. */
const WORK_BURST_S = 1;
/** Below this share of the maximum, a user receives no further live queries. */
const WORK_LOW = 0.25;
/** This share of the maximum is not taken by work that the user did not ask for. */
const WORK_KEPT = 0.2;

/** The work that the live queries of one user may still cause. It grows with time, up to a bound. */
export class WorkAllowance {
  readonly #perSecondMs: number;
  /** Milliseconds of work, as of `#atMs`. Negative if the allowance is exceeded. */
  #leftMs: number;
  #atMs = 0;

  /** @param perSecondMs Milliseconds of work that the user may cause each second. */
  constructor(perSecondMs: number) {
    this.#perSecondMs = perSecondMs;
    this.#leftMs = this.#mostMs;
  }

  /**
   * Charges work that was done for the user.
   * @returns The remaining allowance; negative if it is exceeded.
   */
  spend(spentMs: number, nowMs: number): number {
    this.#leftMs = this.#leftAt(nowMs) - spentMs;
    this.#atMs = nowMs;
    return this.#leftMs;
  }

  /**
   * Charges work that the user did not ask for at this moment, such as a step of the clock. It leaves enough that nothing of
   * the user ends for it, and so little that no live query is added until it has grown again.
   */
  lower(spentMs: number, nowMs: number): void {
    const left = this.#leftAt(nowMs);
    this.#leftMs = Math.max(Math.min(left, this.#mostMs * WORK_KEPT), left - spentMs);
    this.#atMs = nowMs;
  }

  /** Cancels a debt, because the live queries that caused it have ended. */
  forgive(): void {
    this.#leftMs = Math.max(0, this.#leftMs);
  }

  /** Whether the user has recently caused so much work that no further live query may be added. */
  isLow(nowMs: number): boolean {
    return this.#leftAt(nowMs) < this.#mostMs * WORK_LOW;
  }

  /** Another allowance, which is half as large. */
  half(): WorkAllowance {
    return new WorkAllowance(this.#perSecondMs / 2);
  }

  /** Milliseconds until an exceeded allowance has grown to zero; 0 if it is not exceeded. */
  pauseMs(nowMs: number): number {
    return Math.ceil((Math.max(0, -this.#leftAt(nowMs)) / this.#perSecondMs) * 1_000);
  }

  /** Whether nothing was used recently. */
  isFull(nowMs: number): boolean {
    return this.#leftAt(nowMs) >= this.#mostMs;
  }

  get #mostMs(): number {
    return this.#perSecondMs * WORK_BURST_S;
  }

  #leftAt(nowMs: number): number {
    const seconds = Math.max(0, nowMs - this.#atMs) / 1_000;
    return Math.min(this.#mostMs, this.#leftMs + seconds * this.#perSecondMs);
  }
}

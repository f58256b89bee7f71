/** A user may save up work for so long, in seconds. */
const WORK_BURST_S = 1;
/** Below this part of the most that may be saved up, a user receives no further live queries. */
const WORK_LOW = 0.25;

/** The work that the live queries of one user may still cause: it grows with time, up to a bound. */
export class WorkAllowance {
  readonly #perSecondMs: number;
  /** In milliseconds of work, as of `#atMs`. */
  #leftMs: number;
  #atMs = 0;

  /** @param perSecondMs Milliseconds of work that the user may cause each second. */
  constructor(perSecondMs: number) {
    this.#perSecondMs = perSecondMs;
    this.#leftMs = this.#mostMs;
  }

  /** Charges work that was done for the user. @returns The rest; below zero the allowance is exceeded. */
  spend(spentMs: number, nowMs: number): number {
    this.#leftMs = this.#leftAt(nowMs) - spentMs;
    this.#atMs = nowMs;
    return this.#leftMs;
  }

  /** Forgives what was exceeded: the live queries that caused it have ended. */
  forgive(): void {
    this.#leftMs = Math.max(0, this.#leftMs);
  }

  /** Whether the user has caused so much work lately that no further live query may be added. */
  isLow(nowMs: number): boolean {
    return this.#leftAt(nowMs) < this.#mostMs * WORK_LOW;
  }

  /** Whether no work is owed. */
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

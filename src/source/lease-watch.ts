/** The state of a lease, as the state database has it. */
export interface SeenLease {
  /** `null` after the holder has released it. */
  readonly holder: string | null;
  /** Grows by one with each holder. */
  readonly fence: bigint;
  /** Grows with each sign of life of the holder. */
  readonly renewals: bigint;
  /** How long the holder may believe in the lease after it asked for a renewal, in milliseconds. */
  readonly ttlMs: number;
}

/**
 * How much longer than `ttlMs` a candidate waits, as a share of it. Monotonic clocks of two machines may run at slightly
 * different rates.
 */
const MARGIN = 0.25;

/**
 * Decides when a candidate may take a lease over. A candidate compares no clock with that of another machine: it waits
 * until it has seen the same lease, without a sign of life, for longer than `ttlMs` by its own monotonic clock. The
 * holder asked for its last renewal before the candidate could see it, so by then the holder has stopped believing.
 */
export class LeaseWatch {
  readonly #extraMs: number;
  #seen: SeenLease | null = null;
  #seenAtMs = 0;

  /** @param extraMs How much longer a lease must stay as it is, also if its holder has released it. */
  constructor(extraMs = 0) {
    this.#extraMs = extraMs;
  }

  /**
   * Notes an answer of the state database.
   * @param askedAtMs When the candidate asked, on its monotonic clock.
   * @param answeredAtMs When the answer arrived.
   * @returns For how long the lease must stay as it is until it may be taken, in milliseconds; 0 if it may be taken now.
   */
  waitMs(lease: SeenLease | null, askedAtMs: number, answeredAtMs: number): number {
    if (lease === null || (lease.holder === null && this.#extraMs === 0)) return 0;
    const { fence, renewals, ttlMs, holder } = lease;
    const waitMs = holder === null ? this.#extraMs : Math.max(ttlMs * (1 + MARGIN), ttlMs + this.#extraMs);
    if (this.#seen?.fence !== fence || this.#seen.renewals !== renewals) {
      this.#seen = lease;
      // The later one of the two times: the holder may have renewed until just before the answer.
      this.#seenAtMs = answeredAtMs;
      return waitMs;
    }
    // The earlier one: the lease was unchanged when the server answered, which was after the question.
    return Math.max(0, this.#seenAtMs + waitMs - askedAtMs);
  }
}

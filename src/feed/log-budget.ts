/**
 * After the limit was reached, this share of it is kept, so that the next commit does not go through all logs again.
 */
const KEPT_SHARE = 0.75;

/** The part of a change log that its budget needs. */
export interface BudgetedLog {
  /** Number of its oldest entry. */
  readonly firstSeq: number | undefined;
  /** Drops the entries that the history has evicted. */
  prune(): void;
  /** Drops the chunks that are kept for clients that resume together. */
  forgetChunks(): void;
  /** Drops the entries up to number `seq`. */
  dropUntil(seq: number): void;
}

/**
 * Bounds the memory of the change logs of all live queries together. Many broad queries would keep the same short
 * history many times. Entries that a log has dropped are evaluated again from the history when a client needs them.
 */
export class LogBudget {
  readonly limitBytes: number;
  usedBytes = 0;
  /** Only logs with entries, so that live queries without changes cost nothing. */
  readonly #logs = new Set<BudgetedLog>();

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  add(log: BudgetedLog): void {
    this.#logs.add(log);
  }

  remove(log: BudgetedLog): void {
    this.#logs.delete(log);
  }

  /** Drops entries that the history has evicted, and chunks that were kept for clients that resumed together. */
  prune(): void {
    for (const log of this.#logs) {
      log.prune();
      log.forgetChunks();
    }
  }

  /**
   * Drops the oldest entries if the logs are too large. Not to be called while changes are on their way to followers.
   */
  trim(headSeq: number): void {
    if (this.usedBytes <= this.limitBytes) return;
    let oldest = headSeq;
    for (const log of this.#logs) oldest = Math.min(oldest, log.firstSeq ?? headSeq);
    while (this.usedBytes > this.limitBytes * KEPT_SHARE && oldest <= headSeq) {
      const until = Math.floor((oldest + headSeq) / 2);
      for (const log of this.#logs) log.dropUntil(until);
      oldest = until + 1;
    }
  }
}

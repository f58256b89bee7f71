import type { ChangeLog } from "./change-log.ts";

/** Past the limit so much of it is kept, so that the logs are not gone through again with the next commit. */
const KEPT_SHARE = 0.75;

/**
 * Bounds what the change logs of all live queries hold together. Many broad queries would hold the same short history
 * many times over; what a log has let go of is worked out from the history again for whoever asks for it.
 */
export class LogBudget {
  readonly limitBytes: number;
  usedBytes = 0;
  /** Those that hold anything, so that live queries to which nothing happens cost nothing. */
  readonly #logs = new Set<ChangeLog>();

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  add(log: ChangeLog): void {
    this.#logs.add(log);
  }

  remove(log: ChangeLog): void {
    this.#logs.delete(log);
  }

  /** Lets go of what the history has let go of, and of what was kept for those who came back together. */
  prune(): void {
    for (const log of this.#logs) {
      log.prune();
      log.forgetChunks();
    }
  }

  /** Lets go of the oldest where the logs hold too much; not while changes are on their way to those who follow. */
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

/** Repeats an attempt that failed, but never beside other work on the same state: both would decide from one past. */

/** Pause before another attempt. Most faults that need one need an admin, too. In milliseconds. */
const RETRY_MS = 10_000;

/** One attempt. Other work may end it at any time before its change. */
export class Attempt {
  #isWanted = true;
  #change: Promise<void> = Promise.resolve();

  /** `false` as soon as other work has begun. The attempt must then change nothing. */
  get isWanted(): boolean {
    return this.#isWanted;
  }

  /** Runs the step that changes something, if the attempt is still wanted. Other work waits for it. */
  async change(work: () => Promise<void>): Promise<void> {
    if (!this.#isWanted) return;
    const changing = work();
    this.#change = changing.catch(() => {}); // the caller below receives the error
    await changing;
  }

  /** Ends the attempt. Settles when its change, if it has begun, is complete. */
  cancel(): Promise<void> {
    this.#isWanted = false;
    return this.#change;
  }
}

/** Repeats an attempt until it succeeds or other work takes its place. */
export class RuleSetRetries {
  readonly #now: () => number;
  #atMs = Number.POSITIVE_INFINITY;
  #current: Attempt | null = null;
  /** Settles when the changes of all cancelled attempts are complete. */
  #cancelled: Promise<unknown> = Promise.resolve();
  #others = 0;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Schedules the next attempt. */
  later(): void {
    this.#atMs = this.#now() + RETRY_MS;
  }

  /** No attempt is needed any more. */
  stop(): void {
    this.#atMs = Number.POSITIVE_INFINITY;
  }

  /** Begins an attempt if one is due and nothing else is in progress. */
  begin(nowMs: number, run: (attempt: Attempt) => Promise<void>): Promise<void> | undefined {
    if (nowMs < this.#atMs || this.#current !== null || this.#others > 0) return undefined;
    this.stop();
    const attempt = new Attempt();
    this.#current = attempt;
    return run(attempt).finally(() => {
      if (this.#current === attempt) this.#current = null;
    });
  }

  /** Ends the attempt in progress. Settles when its change, if it has begun, is complete. */
  async cancel(): Promise<void> {
    const attempt = this.#current;
    this.#current = null;
    // Another caller may be waiting for an attempt that it has cancelled.
    if (attempt !== null) this.#cancelled = Promise.all([this.#cancelled, attempt.cancel()]);
    await this.#cancelled;
  }

  /** Does other work in place of any attempt: one in progress ends first, and none begins meanwhile. */
  async instead<T>(work: () => Promise<T>): Promise<T> {
    this.#others++;
    try {
      await this.cancel();
      return await work();
    } finally {
      this.#others--;
    }
  }
}

/** The clock and the event loop, which tests replace. */
export interface SliceClock {
  now(): number;
  /** Settles once other work has had its turn. */
  yield(): Promise<void>;
}

const REAL_CLOCK: SliceClock = {
  now: () => performance.now(),
  yield: () => new Promise((resolve) => setImmediate(resolve)),
};

/** Divides long work into slices of a bounded time, between which the event loop serves everybody else. */
export class Slices {
  readonly #sliceMs: number;
  readonly #clock: SliceClock;
  #startedAtMs = 0;
  #pausedMs = 0;
  #pauses = 0;

  constructor(sliceMs: number, clock: SliceClock = REAL_CLOCK) {
    this.#sliceMs = sliceMs;
    this.#clock = clock;
  }

  /** How often work was interrupted so far. */
  get pauses(): number {
    return this.#pauses;
  }

  /** Time that goes on only while work is done, in milliseconds. */
  get workMs(): number {
    return this.#clock.now() - this.#pausedMs;
  }

  begin(): void {
    this.#startedAtMs = this.workMs;
  }

  /** Whether the slice that has begun is over. @param workMs `workMs` of just now. */
  isOver(workMs = this.workMs): boolean {
    return workMs - this.#startedAtMs >= this.#sliceMs;
  }

  /** Lets other work have its turn; the next slice begins after it. */
  async pause(): Promise<void> {
    const from = this.#clock.now();
    this.#pauses++;
    await this.#clock.yield();
    this.#pausedMs += this.#clock.now() - from;
    this.begin();
  }

  /**
   * Runs work that offers a pause by each `yield`.
   * @returns Nothing where all of it was done in this turn.
   */
  run(steps: Iterator<void>): Promise<void> | undefined {
    this.begin();
    while (steps.next().done !== true) if (this.isOver()) return this.#runRest(steps);
    return undefined;
  }

  /** Runs steps to their end, and pauses between them where the slice that has begun is over. */
  async through<T>(steps: Iterator<void, T>): Promise<T> {
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      if (this.isOver()) await this.pause();
    }
  }

  async #runRest(steps: Iterator<void>): Promise<void> {
    do await this.pause();
    while (this.#runSlice(steps));
  }

  /** Whether there is more to do. */
  #runSlice(steps: Iterator<void>): boolean {
    while (steps.next().done !== true) if (this.isOver()) return true;
    return false;
  }
}

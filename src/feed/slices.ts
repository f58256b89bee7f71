/**
 * Cooperative multitasking for work of unpredictable size. Node runs one thread, so anything that takes longer than a
 * few milliseconds delays every client; generators offer pauses, and this file decides when to take one.
 */
/** The clock and the event loop. Tests replace both. */
export interface SliceClock {
  now(): number;
  /** Settles after other work has run. */
  yield(): Promise<void>;
}

const REAL_CLOCK: SliceClock = {
  now: () => performance.now(),
  yield: () => new Promise((resolve) => setImmediate(resolve)),
};

/** Divides long work into slices of bounded duration. Between slices the event loop serves other clients. */
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

  /** A clock that only advances while work is done, in milliseconds. */
  get workMs(): number {
    return this.#clock.now() - this.#pausedMs;
  }

  begin(): void {
    this.#startedAtMs = this.workMs;
  }

  /**
   * Whether the current slice is over.
   * @param workMs A recent value of `workMs`.
   */
  isOver(workMs = this.workMs): boolean {
    return workMs - this.#startedAtMs >= this.#sliceMs;
  }

  /** Lets other work run. The next slice begins after that. */
  async pause(): Promise<void> {
    const from = this.#clock.now();
    this.#pauses++;
    await this.#clock.yield();
    this.#pausedMs += this.#clock.now() - from;
    this.begin();
  }

  /**
   * Runs work that offers a pause with each `yield`.
   * @returns `undefined` if all of it was done in this turn, so that callers can stay synchronous.
   */
  run(steps: Iterator<void>): Promise<void> | undefined {
    this.begin();
    while (steps.next().done !== true) if (this.isOver()) return this.#runRest(steps);
    return undefined;
  }

  /** Runs steps to their end, and pauses between them when the current slice is over. */
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

  /**
   * Runs steps for one slice.
   * @returns Whether there is more to do.
   */
  #runSlice(steps: Iterator<void>): boolean {
    while (steps.next().done !== true) if (this.isOver()) return true;
    return false;
  }
}

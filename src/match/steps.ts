/**
 * Work on large documents in steps, between which the event loop may run other work. The generators contain no clock,
 * so tests can run them to the end or pause at any step; `feed/slices.ts` decides when to pause.
 */

/** Each `yield` is a point at which the caller may pause. */
export type Steps<T> = Generator<void, T>;

/** Documents and values up to this size are processed in one step, which takes a few milliseconds at most. In bytes. */
export const SMALL_BYTES = 64 * 1_024;
/** How many values are processed in one step. */
const STEP_VALUES = 1_000;

/** Counts the work since the last pause. */
export class StepPace {
  /** Up to this size, in bytes, a value is processed in one step. */
  readonly smallBytes: number;
  #values = 0;
  #bytes = 0;

  constructor(smallBytes = SMALL_BYTES) {
    this.smallBytes = smallBytes;
  }

  /** Whether a pause is due after one more value. */
  isOver(bytes: number): boolean {
    this.#values++;
    this.#bytes += bytes;
    if (this.#values < STEP_VALUES && this.#bytes < SMALL_BYTES) return false;
    this.#values = 0;
    this.#bytes = 0;
    return true;
  }
}

/** Runs steps to their end without a pause. */
export function runThrough<T>(steps: Iterable<void, T>): T {
  const iterator = steps[Symbol.iterator]();
  for (;;) {
    const step = iterator.next();
    if (step.done === true) return step.value;
  }
}

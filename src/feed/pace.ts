/**
 * Measures and divides work that is done for one live query outside the order of commits, such as the evaluation of
 * missed commits. The time is charged to its users like the time for live commits.
 */
import type { Slices } from "./slices.ts";

/** Divides long work on earlier commits into slices, and measures its duration without the pauses. */
export class Pace {
  readonly #slices: Slices;
  readonly #onWork: (ms: number) => void;
  #fromMs = 0;

  constructor(slices: Slices, onWork: (ms: number) => void) {
    this.#slices = slices;
    this.#onWork = onWork;
    slices.begin();
    this.resume();
  }

  /** Lets other work run if the slice is over. */
  async keep(): Promise<void> {
    if (!this.#slices.isOver()) return;
    this.stop();
    await this.#slices.pause();
    this.resume();
  }

  /** Runs steps, and lets other work run between them. */
  async through<T>(steps: Iterator<void, T>): Promise<T> {
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      if (this.isOver) await this.keep();
    }
  }

  /** To be called when work continues after a wait. */
  resume(): void {
    this.#fromMs = this.#slices.workMs;
  }

  /** To be called when work has ended or waits for something, so that the wait is not charged. */
  stop(): void {
    this.#onWork(this.#slices.workMs - this.#fromMs);
  }

  get isOver(): boolean {
    return this.#slices.isOver();
  }
}

/** Makes the `Pace` for one piece of work. */
export interface Pacer {
  newPace(): Pace;
}

/** Runs steps with pauses, and counts their time as work of the live query. */
export async function paced<T>(pacer: Pacer, steps: Iterator<void, T>): Promise<T> {
  const pace = pacer.newPace();
  try {
    return await pace.through(steps);
  } finally {
    pace.stop();
  }
}

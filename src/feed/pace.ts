import type { Slices } from "./slices.ts";

/** Divides long work on earlier commits into slices, and measures how long it took, without the time spent waiting. */
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

  /** Lets others have their turn where a slice is over. */
  async keep(): Promise<void> {
    if (!this.#slices.isOver()) return;
    this.stop();
    await this.#slices.pause();
    this.resume();
  }

  /** Runs steps, and lets others have their turn between them. */
  async through<T>(steps: Iterator<void, T>): Promise<T> {
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      if (this.isOver) await this.keep();
    }
  }

  /** Work goes on after a wait. */
  resume(): void {
    this.#fromMs = this.#slices.workMs;
  }

  /** Work is over, or waits for something. */
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

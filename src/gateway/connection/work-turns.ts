/** How long the jobs of one turn may take together, in milliseconds; the one that passes it is the last. */
const TURN_MS = 10;

/**
 * Work that may wait a moment, in turns between which everybody else gets theirs. All connections share the turns:
 * however many ask at once, a turn does not grow longer. A caller that waits for one job before it asks for the next one
 * takes turns with the others.
 */
export class WorkTurns {
  readonly #turnMs: number;
  readonly #now: () => number;
  #waiting: (() => void)[] = [];
  #isRunning = false;

  constructor(turnMs = TURN_MS, now: () => number = () => performance.now()) {
    this.#turnMs = turnMs;
    this.#now = now;
  }

  /** Does a job in one of the next turns. Rejects with whatever it throws. */
  run(job: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => {
        try {
          job();
          resolve();
        } catch (error) {
          reject(error as Error);
        }
      });
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
      this.#turn();
    }
    this.#isRunning = false;
  }

  /** Jobs that come while it runs wait for the next turn. */
  #turn(): void {
    const endMs = this.#now() + this.#turnMs;
    const jobs = this.#waiting;
    this.#waiting = [];
    let done = 0;
    for (const job of jobs) {
      job();
      done++;
      if (this.#now() >= endMs) break;
    }
    this.#waiting = [...jobs.slice(done), ...this.#waiting];
  }
}

/** For all connections of the process. */
export const workTurns = new WorkTurns();

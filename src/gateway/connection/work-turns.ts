/**
 * Shares the event loop between jobs of all connections. An edit of the rules or a wave of refreshed tokens creates
 * thousands of small jobs, which would delay every delivery if they ran in one turn.
 */
/** How long the jobs of one turn may take together, in milliseconds. The job that exceeds it is the last one. */
const TURN_MS = 10;

/**
 * Jobs that may wait a moment, run in turns. Other work runs between the turns. All connections share them, so a turn
 * does not grow with the number of connections. A caller that waits for one job before it adds the next one alternates
 * with the others.
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

  /** Runs a job in one of the next turns. Rejects with the error of the job. */
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

  /** Jobs that are added while it runs wait for the next turn. */
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

/** The turns of all connections of the process. */
export const workTurns = new WorkTurns();

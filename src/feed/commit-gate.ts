/**
 * Orders work that must see complete batches. Delivering a large batch yields to the event loop, so other code can run
 * while half of the live queries have processed it. A snapshot or a change of rights that started then would lose or
 * repeat changes.
 */
import { type Deferred, deferred } from "./deferred.ts";

/**
 * Open between two batches of commits, closed while one is being delivered. Work that needs a head of the stream which
 * every live query has processed waits here, so that it sees either all of a batch or nothing of it.
 */
export class CommitGate {
  #turn: Deferred | undefined;
  #isOpen = true;

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Settles when the gate opens. Another waiter may close it at the same moment, so callers loop: `while (!gate.isOpen)
   * await gate.opens`.
   */
  get opens(): Promise<void> {
    return this.#turn?.promise ?? Promise.resolve();
  }

  /**
   * Runs work with the gate closed. If the work ends in the turn in which it began, the gate is open again in that
   * turn.
   */
  handOut(work: () => Promise<void> | undefined): Promise<void> | undefined {
    return this.#run(work, false);
  }

  /** Runs work during which no batch is delivered. The gate stays open, because the timeline is consistent. */
  exclusively(work: () => Promise<void> | undefined): Promise<void> | undefined {
    return this.#run(work, true);
  }

  /** Runs work one piece after the other. */
  #run(work: () => Promise<void> | undefined, isOpen: boolean): Promise<void> | undefined {
    if (this.#turn !== undefined) return this.#turn.promise.then(() => this.#run(work, isOpen));
    const turn = deferred();
    this.#turn = turn;
    this.#isOpen = isOpen;
    const end = () => {
      this.#turn = undefined;
      this.#isOpen = true;
      turn.resolve();
    };
    let rest: Promise<void> | undefined;
    try {
      rest = work();
    } finally {
      if (rest === undefined) end();
    }
    return rest?.finally(end);
  }
}

import { type Deferred, deferred } from "./deferred.ts";

/**
 * Open between two batches of commits, closed while one is being handed out. Handing out yields to the event loop when
 * it takes long. Work that needs a head of the stream which every live query has processed waits here, so that it sees
 * either all of a batch or nothing of it.
 */
export class CommitGate {
  #turn: Deferred | undefined;
  #isOpen = true;

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Settles when the gate opens. Another waiter may close it in the same moment: `while (!gate.isOpen) await gate.opens`.
   */
  get opens(): Promise<void> {
    return this.#turn?.promise ?? Promise.resolve();
  }

  /**
   * Runs work with the gate closed. Work that ends in the turn in which it began has opened the gate again in that turn.
   */
  handOut(work: () => Promise<void> | undefined): Promise<void> | undefined {
    return this.#run(work, false);
  }

  /** Runs work that nothing may be handed out during; the gate stays open. */
  exclusively(work: () => Promise<void> | undefined): Promise<void> | undefined {
    return this.#run(work, true);
  }

  /** One after the other. */
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

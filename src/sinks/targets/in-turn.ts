/** Runs tasks one after another, in the order in which they arrive. */
export class InTurn {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs a task when all earlier ones have ended. A task that fails does not stop the later ones. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const running = this.#last.then(task);
    this.#last = running.catch(() => {}); // the caller receives it
    return running;
  }
}

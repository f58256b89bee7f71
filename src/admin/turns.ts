/** How long one turn of a search may take, in milliseconds. Other work runs between the turns. */
const TURN_MS = 5;

/** Divides a long search into turns, because it runs in the process that serves clients. */
export class Turns {
  #endsMs = performance.now() + TURN_MS;

  /** Lets other work run if the turn is over. To be called between the steps. */
  async pause(): Promise<void> {
    if (performance.now() < this.#endsMs) return;
    await new Promise(setImmediate);
    this.#endsMs = performance.now() + TURN_MS;
  }
}

import type { Socket } from "node:net";

/** New connections that wait for a worker; what comes on top is refused. */
const WAITING_MAX = 4_096;

/** Who takes connections. */
export interface Taker {
  readonly isFree: boolean;
  readonly connections: number;
  /** @returns Whether it was taken. */
  hand(socket: Socket): Promise<boolean>;
}

/**
 * Gives each new connection to the worker that has the fewest. Connections last: whoever they were given to in turn
 * would stay empty for long after a crash. One that a worker did not come to take, as it ended, goes to another.
 */
export class HandOut {
  readonly #takers: () => readonly Taker[];
  readonly #onRefused: () => void;
  readonly #waiting: Socket[] = [];

  constructor(takers: () => readonly Taker[], onRefused: () => void) {
    this.#takers = takers;
    this.#onRefused = onRefused;
  }

  take(socket: Socket): void {
    if (this.#waiting.length >= WAITING_MAX) {
      this.#onRefused();
      socket.destroy();
      return;
    }
    this.#waiting.push(socket);
    this.next();
  }

  /** Goes on; to be called when a worker has come up. */
  next(): void {
    while (this.#waiting.length > 0) {
      const free = this.#takers().filter(({ isFree }) => isFree);
      const [taker] = free.sort((a, b) => a.connections - b.connections);
      const socket = taker === undefined ? undefined : this.#waiting.shift();
      if (taker === undefined || socket === undefined) return;
      void this.#give(socket, taker);
    }
  }

  stop(): void {
    for (const socket of this.#waiting.splice(0)) socket.destroy();
  }

  async #give(socket: Socket, taker: Taker): Promise<void> {
    // Only our copy is closed: the worker has its own.
    if (await taker.hand(socket)) socket.destroy();
    else this.#waiting.unshift(socket);
    this.next();
  }
}

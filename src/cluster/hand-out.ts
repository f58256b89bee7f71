import type { Socket } from "node:net";
import type { OpenSockets, SocketLimitReached } from "../gateway/http/open-sockets.ts";
import { type GuardParts, guarded } from "../metrics/guard.ts";
import type { ClientListener } from "./messages.ts";

/** A worker, as the receiver of connections. */
export interface Taker {
  readonly isFree: boolean;
  readonly connections: number;
  /**
   * @param to The listener that has accepted it.
   * @param onEnded Called once the connection has ended in the worker.
   * @returns Whether it was taken.
   */
  hand(socket: Socket, to: ClientListener, onEnded: () => void): Promise<boolean>;
}

/** The parts and limits of the hand-out of sockets. */
export interface HandOutParts {
  readonly guard: GuardParts;
  readonly takers: () => readonly Taker[];
  /** Counts the sockets of all workers, and those that wait for one. */
  readonly sockets: OpenSockets;
  /** New connections that may wait for a worker at a time. */
  readonly waitingMax: number;
  /** How long each may wait: nothing is read meanwhile, so a peer that has gone is not noticed. */
  readonly waitMs: number;
  readonly onRefused: (reason: SocketLimitReached | "workers-busy") => void;
}

interface Waiting {
  readonly socket: Socket;
  readonly to: ClientListener;
  readonly release: () => void;
}

/**
 * Gives each new connection to the worker that has the fewest. In turn would not do: connections last, so a worker that
 * was started again would stay empty for long. A connection that a worker did not take, because it ended, goes to another.
 */
export class HandOut {
  readonly #parts: HandOutParts;
  readonly #waiting: Waiting[] = [];

  constructor(parts: HandOutParts) {
    this.#parts = parts;
  }

  /** @param to The listener that has accepted the connection. */
  take(socket: Socket, to: ClientListener = "public"): void {
    const { sockets, waitingMax, onRefused } = this.#parts;
    const isFull = this.#waiting.length >= waitingMax;
    const reason = sockets.limitReached(socket.remoteAddress) ?? (isFull ? "workers-busy" : null);
    if (reason !== null) {
      onRefused(reason);
      socket.destroy();
      return;
    }
    const counted = sockets.add(socket.remoteAddress);
    this.#wait({ socket, to, release: () => counted.release() });
    this.next();
  }

  /** Continues. Called when a worker has started. */
  next(): void {
    while (this.#waiting.length > 0) {
      const free = this.#parts.takers().filter(({ isFree }) => isFree);
      const [taker] = free.sort((a, b) => a.connections - b.connections);
      const waiting = taker === undefined ? undefined : this.#waiting.shift();
      if (taker === undefined || waiting === undefined) return;
      void this.#give(waiting, taker);
    }
  }

  stop(): void {
    for (const { socket, release } of this.#waiting.splice(0)) {
      release();
      socket.destroy();
    }
  }

  #wait(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.#startTimeout(waiting);
  }

  /**
   * Starts the time limit of a waiting socket, also when it waits again: the timer may have fired while the socket was
   * on its way to a worker, and does not restart by itself.
   */
  #startTimeout(waiting: Waiting): void {
    const { socket } = waiting;
    socket.removeAllListeners("timeout");
    const late = () => this.#refuseLate(waiting);
    socket.setTimeout(this.#parts.waitMs, guarded(this.#parts.guard, "primary.wait", late));
  }

  #refuseLate(waiting: Waiting): void {
    const at = this.#waiting.indexOf(waiting);
    // A socket on its way to a worker belongs to that worker.
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    this.#parts.onRefused("workers-busy");
    waiting.release();
    waiting.socket.destroy();
  }

  async #give(waiting: Waiting, taker: Taker): Promise<void> {
    const { socket, to, release } = waiting;
    // Closes only the copy of this process. The worker has a copy of its own.
    if (await taker.hand(socket, to, release)) socket.destroy();
    else {
      this.#waiting.unshift(waiting);
      this.#startTimeout(waiting);
    }
    this.next();
  }
}

import type { Writable } from "node:stream";

type Joinable = Pick<Writable, "cork" | "uncork" | "write" | "writableLength">;

/** More than this is not held back for what may still come. */
const HELD_BYTES_MAX = 64 * 1_024;

/**
 * Joins what is written to a socket in one turn: a system call costs as much as some fifty frames. Nothing waits
 * for a timer: at the end of the turn everything goes out, and `flush` lets it out before.
 */
export class JoinedWrites {
  readonly #held = new Set<Joinable>();

  write(socket: Joinable, bytes: Uint8Array): void {
    if (!this.#held.has(socket)) {
      if (this.#held.size === 0) process.nextTick(() => this.flush());
      this.#held.add(socket);
      socket.cork();
    }
    socket.write(bytes);
    if (socket.writableLength > HELD_BYTES_MAX) {
      this.#held.delete(socket);
      socket.uncork();
    }
  }

  flush(): void {
    for (const socket of this.#held) socket.uncork();
    this.#held.clear();
  }
}

/** One for all: turns are the process's own. */
export const joinedWrites = new JoinedWrites();

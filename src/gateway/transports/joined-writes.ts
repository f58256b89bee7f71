import type { Writable } from "node:stream";

type Joinable = Pick<Writable, "cork" | "uncork" | "write" | "writableLength">;

/** With more than this, in bytes, data is not held back for further writes. */
const HELD_BYTES_MAX = 64 * 1_024;

/**
 * Joins the writes to a socket in one turn, because a system call costs as much as about fifty frames. No timer is
 * involved: at the end of the turn everything is written, and `flush` writes it earlier.
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

/** One instance for all sockets, because turns belong to the process. */
export const joinedWrites = new JoinedWrites();

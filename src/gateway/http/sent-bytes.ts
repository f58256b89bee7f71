import type { Server, Socket } from "node:net";
import { type GuardParts, guarded, sharedGuarded } from "../../metrics/guard.ts";
import type { Metrics } from "../../metrics/metrics.ts";

/** Counts the bytes sent on a server's sockets, whatever transport uses them. */
export class SentBytes {
  readonly #guard: GuardParts;
  readonly #onClose: (this: Socket) => void;
  readonly #counter: Metrics["bytesSent"];
  /** The bytes counted so far, for each open socket. */
  readonly #counted = new Map<Socket, number>();

  constructor(guard: GuardParts, counter: Metrics["bytesSent"]) {
    this.#guard = guard;
    this.#counter = counter;
    this.#onClose = sharedGuarded(
      () => guard,
      "sent-bytes.close",
      (socket: Socket) => this.#ended(socket),
    );
  }

  follow(server: Server): void {
    const begun = (socket: Socket) => {
      this.#counted.set(socket, 0);
      socket.on("close", this.#onClose);
    };
    server.on("connection", guarded(this.#guard, "sent-bytes.connection", begun));
  }

  /** Counts the bytes sent since the last call. */
  count(): void {
    for (const socket of this.#counted.keys()) this.#count(socket);
  }

  #ended(socket: Socket): void {
    this.#count(socket);
    this.#counted.delete(socket);
  }

  #count(socket: Socket): void {
    const { bytesWritten } = socket;
    const counted = this.#counted.get(socket) ?? 0;
    // Bytes that still wait for the system count as written. When a socket is destroyed they are subtracted again.
    if (bytesWritten <= counted) return;
    this.#counter.inc(bytesWritten - counted);
    this.#counted.set(socket, bytesWritten);
  }
}

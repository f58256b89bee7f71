/**
 * A registration follows its live query as a connection without a client. So every change of rights, rules, lookups and
 * revocations reaches it in the way in which it reaches any other connection. This is the transport of such a connection.
 */
import type { Chunk } from "../feed/chunk.ts";
import type { SharedCompression } from "../feed/shared-compression.ts";
import type { Transport } from "../gateway/connection/transport.ts";
import type { ServerMessage } from "../protocol/messages.ts";

/** Receives everything that a client would. All calls are synchronous, and nothing waits between them. */
export interface PushReceiver {
  changed(chunk: Chunk): void;
  told(message: ServerMessage): void;
  ended(): void;
}

/** Hands messages to a receiver in the same turn, so that nothing is ever buffered. */
export class PushTransport implements Transport {
  readonly kind = "push";
  readonly bufferedBytes = 0;
  readonly takenBytes = 0;
  readonly compression: SharedCompression | null = null;
  readonly #receiver: PushReceiver;

  constructor(receiver: PushReceiver) {
    this.#receiver = receiver;
  }

  write(chunk: Chunk): void {
    this.#receiver.changed(chunk);
  }

  send(message: ServerMessage): void {
    this.#receiver.told(message);
  }

  async flushed(): Promise<void> {}

  ping(): boolean {
    return false;
  }

  pong(): void {}

  pause(): void {}

  resume(): void {}

  close(): void {
    this.#receiver.ended();
  }

  terminate(): void {
    this.#receiver.ended();
  }
}

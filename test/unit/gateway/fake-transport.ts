import type { Chunk } from "../../../src/feed/chunk.ts";
import type { Transport } from "../../../src/gateway/connection/transport.ts";
import type { ServerMessage } from "../../../src/protocol/messages.ts";

/** A transport whose client reads when the test says so. */
export class FakeTransport implements Transport {
  readonly compression = null;
  readonly kind = "ws";
  bufferedBytes = 0;
  takenBytes = 0;
  readonly sent: ServerMessage[] = [];
  readonly chunks: Chunk[] = [];
  readonly calls: string[] = [];
  closedWith: number | undefined;
  #waiting: (() => void)[] = [];

  write(chunk: Chunk): void {
    this.chunks.push(chunk);
    this.bufferedBytes += chunk.size;
  }

  send(message: ServerMessage): void {
    this.sent.push(message);
    this.bufferedBytes += JSON.stringify(message).length;
  }

  flushed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.bufferedBytes === 0) resolve();
      else this.#waiting.push(resolve);
    });
  }

  /** The client reads so much, or all. */
  drain(bytes = this.bufferedBytes): void {
    this.takenBytes += bytes;
    this.bufferedBytes -= bytes;
    if (this.bufferedBytes > 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  ping(): boolean {
    this.calls.push("ping");
    return true;
  }

  pong(payload: Uint8Array): void {
    this.bufferedBytes += payload.length;
  }

  pause(): void {
    this.calls.push("pause");
  }

  resume(): void {
    this.calls.push("resume");
  }

  close(code: number): void {
    this.closedWith = code;
  }

  terminate(): void {
    this.calls.push("terminate");
    this.drain();
  }
}

/** The transport of a sink: a bounded queue inside the process. */
import type { Chunk } from "../feed/chunk.ts";
import { type Deferred, deferred } from "../feed/deferred.ts";
import type { Transport } from "../gateway/connection/transport.ts";
import type { ServerMessage } from "../protocol/messages.ts";

/** A message of a live query: its text, and the cursor from which the sink could resume after it. */
export interface EncodedChange {
  readonly text: string;
  /** `null` if the next message continues this one. */
  readonly resumeFrom: string | null;
}

/** A message as it arrives: encoded for all followers of a live query, or for this connection alone. */
export type SinkInput =
  | ({ readonly kind: "change"; readonly bytes: number } & EncodedChange)
  | { readonly kind: "message"; readonly bytes: number; readonly message: ServerMessage };

/** About the memory of an answer, which is small. */
const MESSAGE_BYTES = 512;

/**
 * Queues the messages of one connection until the sink takes them. Waiting messages count as buffered, so that the outbox of
 * the connection bounds it.
 */
export class SinkTransport implements Transport {
  readonly kind = "sink";
  readonly compression = null;
  readonly #queue: SinkInput[] = [];
  #buffered = 0;
  #taken = 0;
  #isEnded = false;
  /** Settles when something arrives, or the connection ends. */
  #arrival: Deferred = deferred();
  /** Settles when nothing waits, or the connection ends. */
  #drained: Deferred | null = null;

  get bufferedBytes(): number {
    return this.#buffered;
  }

  get takenBytes(): number {
    return this.#taken;
  }

  write(chunk: Chunk): void {
    for (const { text, cursor, partial } of chunk.messages) {
      const resumeFrom = partial === true || cursor === undefined ? null : cursor;
      this.#push({ kind: "change", text, resumeFrom, bytes: text.length });
    }
  }

  send(message: ServerMessage): void {
    this.#push({ kind: "message", message, bytes: MESSAGE_BYTES });
  }

  /** The next message; `null` when the connection has ended. Only one caller may wait. */
  async next(): Promise<SinkInput | null> {
    for (;;) {
      const input = this.#queue.shift();
      if (input !== undefined) return this.#take(input);
      if (this.#isEnded) return null;
      await this.#arrival.promise;
    }
  }

  flushed(): Promise<void> {
    if (this.#buffered === 0 || this.#isEnded) return Promise.resolve();
    this.#drained ??= deferred();
    return this.#drained.promise;
  }

  /** The sink takes messages whenever it can, so that a ping would show nothing. */
  ping(): boolean {
    return false;
  }

  pong(): void {}

  /** A sink asks for nothing besides its one subscription. */
  pause(): void {}

  resume(): void {}

  close(): void {
    this.#end();
  }

  terminate(): void {
    this.#queue.length = 0;
    this.#buffered = 0;
    this.#end();
  }

  #push(input: SinkInput): void {
    if (this.#isEnded) return;
    this.#queue.push(input);
    this.#buffered += input.bytes;
    this.#arrival.resolve();
  }

  #take(input: SinkInput): SinkInput {
    this.#buffered -= input.bytes;
    this.#taken += input.bytes;
    if (this.#queue.length === 0) this.#arrival = deferred();
    if (this.#buffered === 0) this.#release();
    return input;
  }

  #end(): void {
    this.#isEnded = true;
    this.#arrival.resolve();
    this.#release();
  }

  #release(): void {
    this.#drained?.resolve();
    this.#drained = null;
  }
}

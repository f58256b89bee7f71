/**
 * A stream of `Follow`. The library of Connect pulls one message after another, as fast as the client reads, so the
 * messages wait here and are converted when they are pulled.
 */
import type { Chunk, EncodedMessage } from "../../feed/chunk.ts";
import { type Deferred, deferred } from "../../feed/deferred.ts";
import type { CloseCode } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { ErrorMessage, ServerMessage } from "../../protocol/messages.ts";
import type { Transport } from "../connection/transport.ts";
import { NOT_SERVED, refusalIn } from "../transports/http-exchange.ts";
import type { Call } from "./call.ts";
import { toCallError } from "./call-error.ts";
import { fromMessage, sharedResponseOf, toFenced } from "./follow-messages.ts";
import type { FollowResponse } from "./tidewire/v1/live_queries_pb.ts";

/** A message that waits. */
interface Waiting {
  readonly bytes: number;
  /** `null` for a fence whose client wants no message in the stream. */
  readonly toResponse: () => FollowResponse | null;
  /** Called when the message was passed on, and the client's windows have room for the next one. */
  readonly onTaken?: () => void;
}

/** A fence that waits for its message to be taken by the client. */
interface Fence {
  /** The id that the client chose; empty if the stream receives no message. */
  readonly id: string;
  readonly settle: (cursor: string) => void;
  readonly fail: (error: Error) => void;
}

/** About the size of a message without documents, in bytes. */
const SMALL_BYTES = 200;

/** The messages of one stream, and the status with which it ends. */
export class FollowTransport implements Transport, AsyncIterable<FollowResponse> {
  readonly kind = "grpc";
  readonly compression = null;
  readonly #call: Call;
  readonly #wantsSnapshot: boolean;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** Bytes of the message that was pulled last, until the next one is pulled. */
  #pulledBytes = 0;
  /** The status of the stream, once nothing more is added. */
  #end: { readonly error: ErrorMessage | null } | null = null;
  #isPaused = false;
  #news: Deferred = deferred();
  /** Resolved whenever nothing waits, and at the end. */
  #empty: Deferred = deferred();
  /** By the id under which the connection knows them. */
  readonly #fences = new Map<string, Fence>();
  #lastFence = 0;

  /** @param wantsSnapshot Whether the result precedes the changes. */
  constructor(call: Call, wantsSnapshot: boolean) {
    this.#call = call;
    this.#wantsSnapshot = wantsSnapshot;
  }

  get bufferedBytes(): number {
    // While a message is being written, a part of it waits in the answer.
    return this.#waitingBytes + Math.max(this.#pulledBytes, this.#call.bufferedBytes);
  }

  get takenBytes(): number {
    return this.#call.takenBytes;
  }

  write(chunk: Chunk): void {
    const [only] = chunk.messages;
    if (chunk.messages.length === 1 && only !== undefined) this.#add(encoded(only, chunk.size));
    else for (const message of chunk.messages) this.#add(encoded(message, Buffer.byteLength(message.text)));
  }

  send(message: ServerMessage): void {
    if (message.type === "error") this.#finish(message);
    else if (message.type === "fenced") this.#fenced(message.id, message.cursor);
    else {
      this.#add({ bytes: SMALL_BYTES, toResponse: () => fromMessage(message, this.#wantsSnapshot) });
      if (message.type === "unsubscribed") this.#finish(refusalIn(message));
    }
  }

  /**
   * Waits for a fence of this stream.
   * @param id The id that the client chose; empty if the stream receives no message.
   * @returns The id for the connection, the cursor once the client has taken everything before it, and a function that
   *   refuses the fence.
   * @throws {TidewireError} The client does not read its stream.
   */
  fence(id: string): { ownId: string; cursor: Promise<string>; refuse: (error: Error) => void } {
    if (this.#end !== null) throw ended();
    if (this.#isPaused) {
      const text = "the stream of this connection is not read: read it before the next fence";
      throw new TidewireError("too-many-requests", text, { limit: "outboxBytes" });
    }
    const ownId = `fence-${++this.#lastFence}`;
    let refuse: (error: Error) => void = () => {};
    const cursor = new Promise<string>((settle, fail) => {
      this.#fences.set(ownId, { id, settle, fail });
      refuse = (error) => {
        this.#fences.delete(ownId);
        fail(error);
      };
    });
    return { ownId, cursor, refuse };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<FollowResponse, void> {
    try {
      for (;;) {
        const next = this.#waiting.shift();
        if (next === undefined) {
          this.#emptied();
          if (this.#end !== null) break;
          this.#news = deferred();
          await this.#news.promise;
          continue;
        }
        this.#waitingBytes -= next.bytes;
        this.#pulledBytes = next.bytes;
        const response = next.toResponse();
        if (response !== null) yield response;
        this.#pulledBytes = 0;
        next.onTaken?.();
      }
      if (this.#end?.error) throw toCallError(this.#end.error);
    } finally {
      this.left();
    }
  }

  async flushed(): Promise<void> {
    if (this.#waiting.length > 0 || this.#pulledBytes > 0) await this.#empty.promise;
    await this.#call.flushed();
  }

  /** A stream has one direction. Unread data and pings of HTTP/2 show that the client has left. */
  ping(): boolean {
    return false;
  }

  pong(): void {}

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
  }

  close(_code: CloseCode, _reason: string): void {
    this.#finish(NOT_SERVED);
    this.#call.cutOffSoon();
  }

  terminate(): void {
    this.left();
    this.#call.destroy();
  }

  /** The call has ended, on either side. */
  left(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#pulledBytes = 0;
    this.#finish(NOT_SERVED);
    this.#emptied();
    for (const { fail } of this.#fences.values()) fail(ended());
    this.#fences.clear();
  }

  #add(waiting: Waiting): void {
    if (this.#end !== null) return;
    this.#waiting.push(waiting);
    this.#waitingBytes += waiting.bytes;
    this.#news.resolve();
  }

  #finish(error: ErrorMessage | null): void {
    this.#end ??= { error };
    this.#news.resolve();
  }

  #emptied(): void {
    this.#empty.resolve();
    this.#empty = deferred();
  }

  #fenced(ownId: string, cursor: string): void {
    const fence = this.#fences.get(ownId);
    if (fence === undefined) return;
    this.#add({
      bytes: SMALL_BYTES,
      toResponse: () => (fence.id === "" ? null : toFenced(fence.id, cursor)),
      onTaken: () => {
        this.#fences.delete(ownId);
        fence.settle(cursor);
      },
    });
  }
}

const encoded = (message: EncodedMessage, bytes: number): Waiting => ({
  bytes,
  toResponse: () => sharedResponseOf(message),
});

const ended = () => new TidewireError("unavailable", "the stream has ended before the fence was answered");

import type { Chunk } from "../../feed/chunk.ts";
import type { SharedCompression } from "../../feed/shared-compression.ts";
import type { CloseCode } from "../../protocol/close-codes.ts";
import type { ServerMessage } from "../../protocol/messages.ts";

/** Carries one connection's messages to its client. It is the only part of a connection that differs by transport. */
export interface Transport {
  /** `push` is a push registration, which has no client. */
  readonly kind: "ws" | "sse" | "poll" | "socketio" | "grpc" | "sink" | "push";
  /** Bytes passed to `write` and `send` that the operating system has not taken yet. */
  readonly bufferedBytes: number;
  /** Bytes that the operating system has taken so far. It grows as long as a slow client reads at all. */
  readonly takenBytes: number;
  /** Compresses what the client receives; `null` if the client takes no compressed messages. */
  readonly compression: SharedCompression | null;
  /** Writes a chunk that other connections share. */
  write(chunk: Chunk): void;
  /** Writes one message for this client alone. */
  send(message: ServerMessage): void;
  /** Settles when everything written so far was taken, or the transport has ended. */
  flushed(): Promise<void>;
  /** Asks the client for a sign of life; `false` if the client cannot answer. */
  ping(): boolean;
  /** Answers a ping of the client. */
  pong(payload: Uint8Array): void;
  /** Stops reading messages of the client. */
  pause(): void;
  /** Continues reading messages of the client. */
  resume(): void;
  /** Closes with a code. Waiting data is still sent. */
  close(code: CloseCode, reason: string): void;
  /** Ends at once, and frees waiting data. */
  terminate(): void;
}

import type { Chunk } from "../../feed/chunk.ts";
import type { CloseCode } from "../../protocol/close-codes.ts";
import type { ServerMessage } from "../../protocol/messages.ts";

/** Carries one connection's messages to its client: the only part of a connection that differs by transport. */
export interface Transport {
  readonly kind: "ws" | "sse" | "poll" | "socketio";
  /** Bytes handed to `write` and `send` that the operating system has not taken yet. */
  readonly bufferedBytes: number;
  /** Bytes that the operating system has taken by now; it grows while a slow client reads at all. */
  readonly takenBytes: number;
  /** Writes a chunk that other connections share. */
  write(chunk: Chunk): void;
  /** Writes one message that is for this client alone. */
  send(message: ServerMessage): void;
  /** Settles when everything written so far has been taken, or the transport has ended. */
  flushed(): Promise<void>;
  /** Asks the client for a sign of life; `false` where it has no way to answer. */
  ping(): boolean;
  /** Answers the client's own question for one. */
  pong(payload: Uint8Array): void;
  /** Stops and resumes reading what the client sends. */
  pause(): void;
  resume(): void;
  /** Says good-bye; what waits is still sent. */
  close(code: CloseCode, reason: string): void;
  /** Ends at once and frees what waits. */
  terminate(): void;
}

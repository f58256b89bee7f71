import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import type { Chunk } from "../../feed/chunk.ts";
import type { SharedCompression } from "../../feed/shared-compression.ts";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import { CLOSE_CODES, type CloseCode } from "../../protocol/close-codes.ts";
import type { ServerMessage } from "../../protocol/messages.ts";
import type { Transport } from "../connection/transport.ts";
import { joinedWrites } from "./joined-writes.ts";
import { takenBytesOf } from "./taken-bytes.ts";
import { joinDeflatedFrames, joinFrames, toFrame } from "./ws-frames.ts";

/** A closing handshake that the client does not finish is cut off after this, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000;
const REASON_BYTES_MAX = 123;
const NOTHING = Buffer.alloc(0);

/**
 * A WebSocket (RFC 6455). The `ws` library handles the protocol. Data frames are written to the socket directly,
 * because one prepared buffer serves every connection that receives the same changes.
 */
export class WsTransport implements Transport {
  readonly kind = "ws";
  readonly compression: SharedCompression | null;
  readonly #ws: WebSocket;
  readonly #socket: Socket;

  readonly #guard: GuardParts;

  /** @param compression `null` unless the client has agreed to compressed messages. */
  constructor(ws: WebSocket, socket: Socket, guard: GuardParts, compression: SharedCompression | null) {
    this.compression = compression;
    this.#ws = ws;
    this.#socket = socket;
    this.#guard = guard;
    // Each live query of a slow consumer waits for the socket to drain or to end.
    socket.setMaxListeners(0);
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  get takenBytes(): number {
    return takenBytesOf(this.#socket);
  }

  write(chunk: Chunk): void {
    this.#writeRaw(this.compression === null ? wireOf(chunk) : deflatedWireOf(chunk, this.compression));
  }

  send(message: ServerMessage): void {
    this.#writeRaw(toFrame(JSON.stringify(message)));
  }

  flushed(): Promise<void> {
    if (this.#socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = guarded(this.#guard, "ws.flushed", () => {
        this.#socket.off("close", done);
        resolve();
      });
      this.#socket.once("close", done);
      // Writes are processed in order, so an empty one is done when everything before it is.
      this.#socket.write(NOTHING, done);
    });
  }

  ping(): boolean {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping();
    return true;
  }

  pong(payload: Uint8Array): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.pong(payload);
  }

  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  close(code: CloseCode, reason: string): void {
    // A paused socket would never see the answer. A flooding client is not read any more, whatever it still sends.
    if (code === CLOSE_CODES.abuse) this.#ws.pause();
    else this.#ws.resume();
    this.#ws.close(code, Buffer.from(reason).subarray(0, REASON_BYTES_MAX).toString());
    this.cutOffSoon();
  }

  /** A client that does not answer a close frame keeps its socket no longer than this. */
  cutOffSoon(): void {
    setTimeout(
      guarded(this.#guard, "ws.cut-off", () => this.terminate()),
      CLOSE_TIMEOUT_MS,
    ).unref();
  }

  terminate(): void {
    this.#ws.terminate();
    this.#socket.destroy();
  }

  #writeRaw(frames: Buffer): void {
    if (this.#ws.readyState === this.#ws.OPEN && !this.#socket.destroyed)
      joinedWrites.write(this.#socket, frames);
  }
}

function wireOf(chunk: Chunk): Buffer {
  chunk.wire ??= joinFrames(chunk.messages);
  return chunk.wire;
}

function deflatedWireOf(chunk: Chunk, compression: SharedCompression): Buffer {
  if (chunk.deflatedWire !== undefined) return chunk.deflatedWire;
  const deflated = compression.of(chunk);
  // Short messages have one form for everybody.
  if (deflated.bytes === 0) return wireOf(chunk);
  chunk.deflatedWire = joinDeflatedFrames(chunk, deflated);
  return chunk.deflatedWire;
}

/** The close code of a socket that ended without a close frame. */
export const NO_CLOSE_FRAME = 1006;

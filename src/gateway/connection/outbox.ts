/**
 * Bounds the memory of slow clients. Data waits in the operating system's buffers and in Node's; the outbox counts
 * both, refuses changes over the limit, and stops reading from a client that does not read its answers.
 */
import type { Chunk } from "../../feed/chunk.ts";
import type { Outboxes } from "../../feed/outboxes.ts";
import type { SharedCompression } from "../../feed/shared-compression.ts";
import { type GuardParts, runGuarded } from "../../metrics/guard.ts";
import type { ServerMessage } from "../../protocol/messages.ts";
import type { Transport } from "./transport.ts";

/** The outboxes of all connections of one user. */
type Shared = Pick<Outboxes, "hasRoom" | "grew">;

/**
 * Each connection may use this many bytes, whatever the user's other connections use. Catch-up is written in pieces of
 * this size, so it always advances.
 */
const FLOOR_BYTES = 65_536;

/**
 * The data that waits for one client, in bytes. It bounds the memory of a slow consumer (docs/protocol.md, section 6).
 * Shared chunks are held by reference. Changes beyond the bound are refused and not queued, because their delivery
 * remembers its position.
 */
export class Outbox {
  readonly #transport: Transport;
  readonly #limitBytes: number;
  readonly #guard: GuardParts;
  #ended = false;
  #takenBytes = 0;
  #progressAtMs = 0;
  #paused = false;
  #others: Shared | null = null;
  #othersLimitBytes = 0;

  constructor(transport: Transport, limitBytes: number, guard: GuardParts) {
    this.#transport = transport;
    this.#limitBytes = limitBytes;
    this.#guard = guard;
  }

  /** From now on the outbox shares a limit with all other outboxes of its user. */
  share(others: Shared, limitBytes: number): void {
    this.#others = others;
    this.#othersLimitBytes = limitBytes;
  }

  get transport(): Transport["kind"] {
    return this.#transport.kind;
  }

  get bufferedBytes(): number {
    return this.#transport.bufferedBytes;
  }

  /** Compresses what the client receives; `null` if the client takes no compressed messages. */
  get compression(): SharedCompression | null {
    return this.#transport.compression;
  }

  /** Whether more waits than the limit allows, because the client asked for answers without reading them. */
  get isFull(): boolean {
    return this.bufferedBytes > this.#limitBytes;
  }

  /** Takes a chunk if there is room. A message larger than the limit has room when nothing else waits. */
  write(chunk: Chunk): boolean {
    if (this.#ended) return true; // the client has left
    const beforeBytes = this.#transport.bufferedBytes;
    const isAlone = beforeBytes === 0 && chunk.messages.length === 1;
    if (!this.#fits(chunk.size) && !isAlone) return false;
    this.#transport.write(chunk);
    this.#noteGrowth(beforeBytes);
    return true;
  }

  #noteGrowth(beforeBytes: number): void {
    this.#others?.grew(Math.max(0, this.#transport.bufferedBytes - beforeBytes));
  }

  #fits(size: number): boolean {
    const bytes = this.#transport.bufferedBytes + size;
    if (bytes > this.#limitBytes) return false;
    // Most connections have almost nothing waiting.
    if (bytes <= FLOOR_BYTES || this.#others === null) return true;
    return this.#others.hasRoom(size, this.#othersLimitBytes);
  }

  /** Sends an answer, which is always taken. A client that asks without reading is not read any more until it reads. */
  send(message: ServerMessage): void {
    this.answer(() => this.#transport.send(message));
  }

  /** Lets a transport answer in its own way, under the same limit. */
  answer(write: () => void): void {
    if (this.#ended) return;
    const beforeBytes = this.#transport.bufferedBytes;
    write();
    this.#noteGrowth(beforeBytes);
    this.#holdBack();
  }

  /** Asks the client for a sign of life; `false` if the client cannot answer. */
  ping(): boolean {
    return this.#transport.ping();
  }

  /** Answers a ping of the transport, under the same limit. */
  pong(payload: Uint8Array): void {
    this.answer(() => this.#transport.pong(payload));
  }

  #holdBack(): void {
    if (this.#paused || this.#transport.bufferedBytes <= this.#limitBytes) return;
    this.#paused = true;
    this.#transport.pause();
    // A connection that stayed paused would be useless to its client.
    runGuarded(
      this.#guard,
      "outbox.flushed",
      () => this.#resumeOnceFlushed(),
      () => this.#transport.terminate(),
    );
  }

  async #resumeOnceFlushed(): Promise<void> {
    await this.#transport.flushed();
    this.#paused = false;
    if (!this.#ended) this.#transport.resume();
  }

  /** Settles when `size` more bytes would be taken; `false` if the connection has ended. */
  async room(size: number): Promise<boolean> {
    while (!this.#ended) {
      if (this.#fits(size)) return true;
      if (this.bufferedBytes === 0) {
        // It can only be taken alone. Should it be refused again, the sender must not ask again in the same turn.
        await new Promise(setImmediate);
        return !this.#ended;
      }
      await this.#transport.flushed();
      // A socket that was reset is unusable at once, but reports it in a later turn, so that turn must run first.
      await new Promise(setImmediate);
    }
    return false;
  }

  /**
   * How long a client with waiting data has read nothing, in milliseconds.
   * @param readMs Whatever the client had read by this time is known.
   */
  stalledForMs(nowMs: number, readMs = nowMs): number {
    const { bufferedBytes, takenBytes } = this.#transport;
    const moved = bufferedBytes === 0 || takenBytes > this.#takenBytes || this.#progressAtMs === 0;
    if (moved) this.#progressAtMs = nowMs;
    this.#takenBytes = takenBytes;
    return readMs - this.#progressAtMs;
  }

  end(): void {
    this.#ended = true;
  }
}

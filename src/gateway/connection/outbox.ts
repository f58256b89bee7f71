import type { Chunk } from "../../feed/chunk.ts";
import { type GuardParts, runGuarded } from "../../metrics/guard.ts";
import type { ServerMessage } from "../../protocol/messages.ts";
import type { Transport } from "./transport.ts";

/** All outboxes of one user. */
interface Shared {
  readonly bytes: number;
}

/** So much each connection has room for, whatever its user's others hold: catch-up is written in pieces of this size. */
const FLOOR_BYTES = 65_536;

/**
 * The data that waits for one client, in bytes: the bound of a slow consumer's memory (docs/protocol.md, section 6). It
 * holds shared chunks by reference. Changes beyond the bound are refused, not queued: their delivery remembers how far
 * it got.
 */
export class Outbox {
  readonly #transport: Transport;
  readonly #limitBytes: number;
  readonly #guard: GuardParts;
  #ended = false;
  #takenBytes = 0;
  #progressAtMs = 0;
  #paused = false;
  #shared: { readonly others: Shared; readonly limitBytes: number } | null = null;

  constructor(transport: Transport, limitBytes: number, guard: GuardParts) {
    this.#transport = transport;
    this.#limitBytes = limitBytes;
    this.#guard = guard;
  }

  /** From here on the outbox shares a bound with all others of its user. */
  share(others: Shared, limitBytes: number): void {
    this.#shared = { others, limitBytes };
  }

  get bufferedBytes(): number {
    return this.#transport.bufferedBytes;
  }

  /** More waits than the bound allows: answers that a client asked for without reading them. */
  get isFull(): boolean {
    return this.bufferedBytes > this.#limitBytes;
  }

  /** Takes a chunk if there is room; a message larger than the bound has room when nothing else waits. */
  write(chunk: Chunk): boolean {
    if (this.#ended) return true; // nobody is there to miss it
    const isAlone = this.#transport.bufferedBytes === 0 && chunk.messages.length === 1;
    if (!this.#fits(chunk.size) && !isAlone) return false;
    this.#transport.write(chunk);
    return true;
  }

  #fits(size: number): boolean {
    const bytes = this.#transport.bufferedBytes + size;
    if (bytes > this.#limitBytes) return false;
    // Most connections hold next to nothing: only for those that do not drain the others are looked at.
    if (bytes <= FLOOR_BYTES || this.#shared === null) return true;
    return this.#shared.others.bytes + size <= this.#shared.limitBytes;
  }

  /** Sends an answer. Always taken; a client that asks without reading is not read any more until it does. */
  send(message: ServerMessage): void {
    this.answer(() => this.#transport.send(message));
  }

  /** Lets a transport answer in a way of its own, on the same terms. */
  answer(write: () => void): void {
    if (this.#ended) return;
    write();
    this.#holdBack();
  }

  /** Asks the client for a sign of life; `false` if it has no way to answer. */
  ping(): boolean {
    return this.#transport.ping();
  }

  /** Answers a ping of the transport, on the same terms. */
  pong(payload: Uint8Array): void {
    this.answer(() => this.#transport.pong(payload));
  }

  #holdBack(): void {
    if (this.#paused || this.#transport.bufferedBytes <= this.#limitBytes) return;
    this.#paused = true;
    this.#transport.pause();
    // A connection that stays paused is of no use to its client.
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

  /** Settles when `size` more would be taken; `false` when the connection has ended. */
  async room(size: number): Promise<boolean> {
    while (!this.#ended) {
      if (this.bufferedBytes === 0 || this.#fits(size)) return true;
      await this.#transport.flushed();
      // A socket that was reset is of no use at once, but tells so in a turn of its own: that turn has to come.
      await new Promise(setImmediate);
    }
    return false;
  }

  /** For how long a client that has something to read has read nothing, in milliseconds. */
  stalledForMs(nowMs: number): number {
    const { bufferedBytes, takenBytes } = this.#transport;
    const moved = bufferedBytes === 0 || takenBytes > this.#takenBytes || this.#progressAtMs === 0;
    if (moved) this.#progressAtMs = nowMs;
    this.#takenBytes = takenBytes;
    return nowMs - this.#progressAtMs;
  }

  end(): void {
    this.#ended = true;
  }
}

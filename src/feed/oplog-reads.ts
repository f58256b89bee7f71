/**
 * Shares reads of the oplog. Each one costs a change stream of MongoDB, and after an outage thousands of clients may
 * resume from similar positions at once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { classifyStreamError } from "../source/stream-errors.ts";
import type { CursorCodec, Position } from "./cursor.ts";
import type { Limiter } from "./limiter.ts";
import { OplogRead } from "./oplog-read.ts";
import { type OpenStream, SharedStream } from "./shared-stream.ts";

/**
 * Requests that arrive within this time share one stream, in milliseconds. After a restart many clients resume at once.
 */
const GATHER_MS = 25;

interface Request {
  readonly from: Position;
  readonly resolve: (stream: SharedStream | null) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads of the oplog for resumptions from before the history. Few run at a time, and all requests that arrive while one
 * is prepared share it, so that a mass reconnect costs one or two streams.
 */
export class OplogReads {
  readonly #open: OpenStream;
  readonly #slots: Limiter;
  readonly #onChange: (held: number) => void;
  readonly #retryMs: number | undefined;
  #requests: Request[] = [];
  #gathering = false;

  /** @param retryMs Average pause before a failed stream is opened again, in milliseconds. */
  constructor(open: OpenStream, slots: Limiter, onChange: (held: number) => void, retryMs?: number) {
    this.#open = open;
    this.#slots = slots;
    this.#onChange = onChange;
    this.#retryMs = retryMs;
  }

  /**
   * Opens a read of the commits after a position.
   * @returns `null` if the oplog does not reach back to the position.
   * @throws The server's error.
   */
  async request(from: Position, codec: CursorCodec): Promise<OplogRead | null> {
    const openAgain = (position: Position) => this.#request(position, codec);
    const stream = await openAgain(from);
    return stream === null ? null : new OplogRead(stream, from, openAgain, this.#retryMs);
  }

  #request(from: Position, codec: CursorCodec): Promise<SharedStream | null> {
    return new Promise((resolve, reject) => {
      this.#requests.push({ from, resolve, reject });
      if (!this.#gathering) void this.#serve(codec);
    });
  }

  async #serve(codec: CursorCodec): Promise<void> {
    this.#gathering = true;
    const release = await this.#slots.acquire();
    this.#onChange(this.#slots.held);
    await sleep(GATHER_MS);
    this.#gathering = false;
    const requests = this.#requests.sort((a, b) => (a.from.clusterTime < b.from.clusterTime ? -1 : 1));
    this.#requests = [];
    const onEnd = () => {
      release();
      this.#onChange(this.#slots.held);
    };
    await this.#openFor(requests, codec, onEnd).catch((error: unknown) => {
      onEnd();
      for (const request of requests) request.reject(error);
    });
  }

  /**
   * Begins at the oldest position that the oplog still contains. The server reports a position that is too old only
   * with the first batch, so that batch is read before anyone joins.
   */
  async #openFor(requests: readonly Request[], codec: CursorCodec, onEnd: () => void): Promise<void> {
    const [oldest, ...others] = requests;
    if (oldest === undefined) {
      onEnd();
      return;
    }
    const stream = new SharedStream(oldest.from.clusterTime, this.#open, codec, onEnd);
    try {
      await stream.batch(0);
    } catch (error) {
      stream.abandon();
      if (classifyStreamError(error) !== "position-lost") throw error;
      oldest.resolve(null);
      return this.#openFor(others, codec, onEnd);
    }
    for (const request of requests) {
      stream.join();
      request.resolve(stream);
    }
  }
}

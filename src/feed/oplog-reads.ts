/**
 * Shares reads of the oplog. Each one costs a change stream of MongoDB, and after an outage thousands of clients may
 * resume from similar positions at once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { guarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { secondsOf } from "../source/cluster-time.ts";
import { classifyStreamError, StreamStalledError } from "../source/stream-errors.ts";
import type { CursorCodec, Position } from "./cursor.ts";
import { Limiter } from "./limiter.ts";
import { OplogRead } from "./oplog-read.ts";
import type { FeedLimits } from "./options.ts";
import { type OpenStream, SharedStream } from "./shared-stream.ts";

/**
 * Requests that arrive within this time share one stream, in milliseconds. After a restart many clients resume at once.
 */
const GATHER_MS = 25;

interface Request {
  readonly from: Position;
  /** Whether the client is still there. */
  readonly isWanted: () => boolean;
  readonly resolve: (stream: SharedStream | null) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Requests from positions within this time share a stream in any case, in seconds. Otherwise a stream reads at most
 * twice as much as each of its requests needs.
 */
const NEAR_SECONDS = 60;

/**
 * For this long, in milliseconds, requests from a position that was lost, or from before it, are answered without another
 * attempt. Not for ever, because another member may become primary, whose oplog reaches further back.
 */
const LOST_MS = 10_000;

/** How often the first batch of a stream is waited for. */
const FIRST_BATCH_ATTEMPTS = 2;

/** The parts that `OplogReads` works with. */
export interface OplogReadsParts {
  readonly open: OpenStream;
  /** Waits for any answer of MongoDB. Rejects if there is none. */
  readonly ping: () => Promise<unknown>;
  /** The head tells how far back a position is. */
  readonly timeline: { readonly headTime: bigint };
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Average pause before a failed stream is opened again, in milliseconds. */
  readonly retryMs?: number;
}

/**
 * Reads of the oplog for resumptions from before the history. Few run at a time, and requests from similar positions
 * that arrive while one is prepared share it, so that a mass reconnect costs one or two streams. While requests wait,
 * the readers of the oldest stream leave it after `limits.catchUpTurn`, and continue later. Otherwise a few clients that read slowly
 * would keep all streams for hours.
 */
export class OplogReads {
  readonly #turnMs: number;
  readonly #slots: Limiter;
  readonly #parts: OplogReadsParts;
  #requests: Request[] = [];
  #gathering = false;
  #isWaiting = false;
  #giveWayTimer: NodeJS.Timeout | undefined;
  /** The streams that have readers, the oldest first, with the time of `performance.now` at which they were opened. */
  readonly #streams = new Map<SharedStream, number>();
  /** The latest position that the oplog was found not to reach, and until when that counts. */
  #lost: { readonly clusterTime: bigint; readonly untilMs: number } | null = null;

  constructor(limits: Pick<FeedLimits, "catchUpStreams" | "catchUpTurnMs">, parts: OplogReadsParts) {
    const slots = { most: limits.catchUpStreams, limit: "catchUpStreams" };
    this.#turnMs = limits.catchUpTurnMs;
    this.#slots = new Limiter(slots, parts.metrics.limitWaiting);
    this.#parts = parts;
  }

  /**
   * Opens a read of the commits after a position.
   * @param isWanted Whether the client is still there. No stream is opened for clients that have left.
   * @returns `null` if the oplog does not reach back to the position, or the read is no longer wanted.
   * @throws The server's error.
   */
  async request(
    from: Position,
    codec: CursorCodec,
    isWanted: () => boolean = () => true,
  ): Promise<OplogRead | null> {
    const stream = await this.#request(from, codec, isWanted);
    if (stream === null) return null;
    const openAgain = (position: Position) => this.#request(position, codec, () => read.isOpen);
    const read: OplogRead = new OplogRead(stream, from, openAgain, this.#parts.retryMs);
    return read;
  }

  #request(from: Position, codec: CursorCodec, isWanted: () => boolean): Promise<SharedStream | null> {
    if (this.#isLost(from.clusterTime)) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#requests.push({ from, isWanted, resolve, reject });
      if (!this.#gathering) void this.#serve(codec);
      // The requests before it may no longer be wanted, so that no stream gives way for them.
      else this.#makeRoom();
    });
  }

  async #serve(codec: CursorCodec): Promise<void> {
    this.#gathering = true;
    const release = await this.#waitForSlot();
    this.#report();
    await sleep(GATHER_MS);
    this.#gathering = false;
    const requests = this.#takeGroup();
    if (this.#requests.length > 0) void this.#serve(codec);
    const onEnd = () => {
      release();
      this.#report();
    };
    await this.#openFor(requests, codec, onEnd).catch((error: unknown) => {
      onEnd();
      for (const request of requests) request.reject(error);
    });
  }

  #report(): void {
    this.#parts.metrics.catchUpStreams.set(this.#slots.held);
  }

  async #waitForSlot(): Promise<() => void> {
    this.#isWaiting = this.#slots.isFull;
    this.#makeRoom();
    const release = await this.#slots.acquire();
    this.#isWaiting = false;
    clearTimeout(this.#giveWayTimer);
    return release;
  }

  /** Lets the oldest stream give way as soon as its turn is over, if requests wait. */
  #makeRoom(): void {
    const [oldest] = this.#streams;
    if (!this.#isWaiting || oldest === undefined) return;
    const [stream, sinceMs] = oldest;
    clearTimeout(this.#giveWayTimer);
    const giveWay = guarded(this.#parts, "feed.give-way", () => {
      if (!this.#requests.some(({ isWanted }) => isWanted())) return;
      this.#parts.metrics.catchUpsGaveWay.inc();
      stream.giveWay();
    });
    const waitMs = sinceMs + this.#turnMs - performance.now();
    this.#giveWayTimer = setTimeout(giveWay, Math.max(0, waitMs));
  }

  /**
   * Takes the requests that share the next stream, sorted by position: the one that has waited longest, and those from
   * similar positions. A client that was away for days must not make others wait until the missed commits of these days
   * are read.
   */
  #takeGroup(): Request[] {
    const wanted: Request[] = [];
    for (const request of this.#requests) {
      if (request.isWanted() && !this.#isLost(request.from.clusterTime)) wanted.push(request);
      else request.resolve(null);
    }
    this.#requests = wanted;
    const [first] = wanted;
    if (first === undefined) return [];
    const head = secondsOf(this.#parts.timeline.headTime);
    const ageOf = ({ from }: Request) => Math.max(0, head - secondsOf(from.clusterTime));
    const reach = 2 * ageOf(first) + NEAR_SECONDS;
    let startAge = 0;
    for (const request of this.#requests) {
      const age = ageOf(request);
      if (age <= reach) startAge = Math.max(startAge, age);
    }
    const isNear = (request: Request) => {
      const age = ageOf(request);
      return age <= startAge && 2 * age + NEAR_SECONDS >= startAge;
    };
    const near = this.#requests.filter(isNear);
    this.#requests = this.#requests.filter((request) => !isNear(request));
    return near.sort((a, b) => (a.from.clusterTime < b.from.clusterTime ? -1 : 1));
  }

  /** Opens a stream from the oldest position that the oplog still contains, and lets the requests from there on join it. */
  async #openFor(requests: readonly Request[], codec: CursorCodec, onEnd: () => void): Promise<void> {
    const found = await this.#findOldest(requests, codec, onEnd);
    if (found === null) {
      onEnd();
      return;
    }
    this.#streams.set(found.stream, performance.now());
    for (const request of requests.slice(found.index)) {
      found.stream.join();
      request.resolve(found.stream);
    }
    this.#makeRoom();
  }

  /**
   * Finds the oldest request that the oplog still reaches, and its stream; `null` if there is none. Requests from before it
   * are answered. Every attempt is a
   * change stream, and thousands of clients may come back from different positions, so it tries the oldest, then the
   * newest, and then bisects. Meanwhile there is one stream more than the slot is for, which ends with its first batch.
   */
  async #findOldest(
    requests: readonly Request[],
    codec: CursorCodec,
    onEnd: () => void,
  ): Promise<{ readonly index: number; readonly stream: SharedStream } | null> {
    const positionOf = (index: number) => requests[index]?.from.clusterTime ?? 0n;
    let found: { readonly index: number; readonly stream: SharedStream } | null = null;
    let first = 0; // all requests before this one are answered
    let last = requests.length - 1;
    let next = first;
    try {
      while (first <= last) {
        const stream = await this.#open(positionOf(next), codec, onEnd);
        if (stream === null) {
          const lost = positionOf(next);
          this.#noteLost(lost);
          for (; first <= last && positionOf(first) <= lost; first++) requests[first]?.resolve(null);
          next = found === null ? last : (first + last) >> 1;
        } else {
          found?.stream.abandon();
          // Others at the same position are served by it as well.
          const reached = positionOf(next);
          while (next > first && positionOf(next - 1) === reached) next--;
          found = { index: next, stream };
          last = next - 1;
          next = (first + last) >> 1;
        }
      }
      return found;
    } catch (error) {
      found?.stream.abandon();
      throw error;
    }
  }

  /**
   * Opens a stream. The server reports a position that is too old only with the first batch, so that batch is read before
   * anyone joins.
   * @returns `null` if the oplog does not reach back to the position.
   */
  async #open(
    from: bigint,
    codec: CursorCodec,
    onEnd: () => void,
    attempt = 1,
  ): Promise<SharedStream | null> {
    const stream = new SharedStream(from, this.#parts.open, codec, () => {
      this.#streams.delete(stream);
      onEnd();
    });
    try {
      await stream.batch(0);
      return stream;
    } catch (error) {
      stream.abandon();
      // A server that hangs has lost nothing. If it answers and has too much to search, it is as silent the second time.
      if (error instanceof StreamStalledError && attempt < FIRST_BATCH_ATTEMPTS) {
        await this.#parts.ping();
        return this.#open(from, codec, onEnd, attempt + 1);
      }
      if (classifyStreamError(error) !== "position-lost") throw error;
      return null;
    }
  }

  #noteLost(clusterTime: bigint): void {
    const isLater = !this.#isLost(clusterTime);
    if (isLater) this.#lost = { clusterTime, untilMs: performance.now() + LOST_MS };
  }

  /** Whether the oplog was recently found not to reach back to this cluster time. */
  #isLost(clusterTime: bigint): boolean {
    return (
      this.#lost !== null && clusterTime <= this.#lost.clusterTime && performance.now() < this.#lost.untilMs
    );
  }
}

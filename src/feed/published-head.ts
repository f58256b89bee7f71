import { clusterTimeOf, secondsOf } from "../source/cluster-time.ts";

/** How far the stream has been read. */
export interface ReadSoFar {
  /** Every commit up to this cluster time, inclusive, has arrived. */
  readonly headTime: bigint;
  /** The cluster time at which this node began to read. */
  readonly from: bigint;
}

/**
 * Allowance for the answers of MongoDB, in milliseconds. The published head lags behind an idle stream by this much
 * more.
 */
const LATENCY_MS = 200;

/**
 * The position that clients receive instead of the head of the stream. The head advances with every commit, including
 * commits to documents that a client may not see. The published head advances with full steps of the clock instead. It
 * lags behind the clock by the age of an idle stream's position, so that an idle stream and a busy one look alike.
 */
export class PublishedHead {
  readonly #stepMs: number;
  readonly #lagMs: number;

  /**
   * @param stepMs A multiple of 1000, because cluster times are compared by seconds; 0 publishes the head itself.
   * @param idleAgeMs The age that the position of an idle stream reaches before it advances, in milliseconds.
   */
  constructor(stepMs: number, idleAgeMs: number) {
    this.#stepMs = stepMs;
    this.#lagMs = idleAgeMs + LATENCY_MS;
  }

  /** Whether clients receive the exact head. */
  get isExact(): boolean {
    return this.#stepMs === 0;
  }

  /**
   * The published head at a time. It is never later than the head: if the stream is behind, it is the last step that
   * the stream has reached.
   */
  at(nowMs: number, { headTime, from }: ReadSoFar): bigint {
    const ms = Math.min(nowMs - this.#lagMs, secondsOf(headTime) * 1_000);
    const seconds = Math.floor(Math.max(0, ms) / this.#stepMs) * (this.#stepMs / 1_000);
    const clusterTime = clusterTimeOf(seconds, 0);
    return clusterTime > from ? clusterTime : from;
  }

  /** The end of the step that contains a time, in epoch milliseconds. */
  stepEndsAtMs(nowMs: number): number {
    return (Math.floor(nowMs / this.#stepMs) + 1) * this.#stepMs;
  }

  /** When the published head passes a cluster time, unless the stream is behind; in epoch milliseconds. */
  passesAtMs(clusterTime: bigint): number {
    const ms = secondsOf(clusterTime) * 1_000;
    return this.isExact ? ms : (Math.floor(ms / this.#stepMs) + 1) * this.#stepMs + this.#lagMs;
  }
}

import { clusterTimeOf, secondsOf } from "../source/cluster-time.ts";

/** How far the stream has been read. */
export interface ReadSoFar {
  /** Everything up to this cluster time has come, itself included. */
  readonly headTime: bigint;
  /** Where this node began to read. */
  readonly from: bigint;
}

/** Time for the answers of MongoDB, in milliseconds: the published head lags this much further than an idle stream. */
const LATENCY_MS = 200;

/**
 * The position that clients receive instead of the head of the stream. The head itself moves with every commit, also
 * of documents that a client may not see. The published head moves at full steps of the clock instead. It lags behind
 * the clock by as much as the position of an idle stream does, so that an idle stream and a busy one look alike.
 */
export class PublishedHead {
  readonly #stepMs: number;
  readonly #lagMs: number;

  /**
   * @param stepMs Whole seconds, since a cluster time counts no finer; 0 publishes the head itself.
   * @param idleAgeMs The age that the position of an idle stream reaches before it moves on.
   */
  constructor(stepMs: number, idleAgeMs: number) {
    this.#stepMs = stepMs;
    this.#lagMs = idleAgeMs + LATENCY_MS;
  }

  /** Whether clients receive the head itself. */
  get isExact(): boolean {
    return this.#stepMs === 0;
  }

  /**
   * The published head at a time. It is never later than the head: if the stream is behind, it is the step that the
   * stream has reached.
   */
  at(nowMs: number, { headTime, from }: ReadSoFar): bigint {
    const ms = Math.min(nowMs - this.#lagMs, secondsOf(headTime) * 1_000);
    const seconds = Math.floor(Math.max(0, ms) / this.#stepMs) * (this.#stepMs / 1_000);
    const clusterTime = clusterTimeOf(seconds, 0);
    return clusterTime > from ? clusterTime : from;
  }

  /** When the step that a time lies in is over. */
  stepEndsAtMs(nowMs: number): number {
    return (Math.floor(nowMs / this.#stepMs) + 1) * this.#stepMs;
  }

  /** When the published head passes a cluster time, unless the stream is behind; in epoch milliseconds. */
  passesAtMs(clusterTime: bigint): number {
    const ms = secondsOf(clusterTime) * 1_000;
    return this.isExact ? ms : (Math.floor(ms / this.#stepMs) + 1) * this.#stepMs + this.#lagMs;
  }
}

/**
 * Notices a member that no longer replicates. It goes on answering the change stream, without an error and without events,
 * so a node that reads from it would fall behind without a sign.
 */
import type { RawBatch, RawStream } from "./change-stream.ts";
import { formatClusterTime, secondsOf } from "./cluster-time.ts";
import { StaleMemberError } from "./stream-errors.ts";

/**
 * A stream that stays at one position for this long may be of such a member, in milliseconds. A healthy one advances at least
 * every 10 s, because the primary then writes a no-op.
 */
const STALE_MS = 30_000;

/** Watches one open stream. */
export class ReplicationWatch {
  readonly #now: (least: bigint) => Promise<bigint>;
  readonly #staleMs: number;
  #through = 0n;
  #advancedAtMs = performance.now();

  /** @param now The cluster time of the primary. */
  constructor(now: (least: bigint) => Promise<bigint>, staleMs = STALE_MS) {
    this.#now = now;
    this.#staleMs = staleMs;
  }

  /** Reads the stream. Events are progress, also those of a long transaction, within which the position does not advance. */
  async next(stream: Pick<RawStream, "next">, awaitMs?: number): Promise<RawBatch> {
    const batch = await stream.next(awaitMs);
    if (batch.events.length > 0) this.#advancedAtMs = performance.now();
    return batch;
  }

  /**
   * The stream has answered, and has read everything up to `through`.
   * @throws {StaleMemberError}
   */
  async check(through: bigint): Promise<void> {
    const nowMs = performance.now();
    if (through > this.#through) {
      this.#through = through;
      this.#advancedAtMs = nowMs;
      return;
    }
    // A server whose tokens contain no time reports none.
    if (this.#through === 0n || nowMs - this.#advancedAtMs < this.#staleMs) return;
    this.#advancedAtMs = nowMs; // asks again only after as long a time
    const primary = await this.#now(this.#through);
    const behindSeconds = secondsOf(primary) - secondsOf(this.#through);
    if (behindSeconds * 1_000 < this.#staleMs) return;
    const at = formatClusterTime(this.#through);
    throw new StaleMemberError(
      `the member that serves the change stream is at ${at} and ${behindSeconds} s behind the primary: it does not replicate`,
    );
  }
}

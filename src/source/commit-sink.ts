/** The interface between the change stream and the feed. The feed implements it; `source/` must not import the feed. */
import type { Epoch } from "./epoch-store.ts";
import type { CommitBatch } from "./read-commits.ts";

/**
 * Receives the commits of the change stream. It accepts a batch as a whole, and the next call waits for that, which
 * limits how far the stream can run ahead.
 */
export interface CommitSink {
  /** The position is lost, so commits may be missing. A new order of commits begins after `prepare`. */
  lost(): void;
  /**
   * Reads the state that must be known when an order of commits begins, as of `clusterTime` or later.
   * @throws The server's error. The method is then called again.
   */
  prepare(clusterTime: bigint): Promise<void>;
  /**
   * An order of commits begins: every commit from `from` on, inclusive, will follow. Earlier state is void, because
   * commits may be missing between it and `from`.
   */
  begin(epoch: Epoch, from: bigint): Promise<void>;
  /** Takes a batch. Settles when the next one may follow. */
  accept(batch: CommitBatch): Promise<void>;
}

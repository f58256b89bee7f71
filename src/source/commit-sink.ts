import type { Epoch } from "./epoch-store.ts";
import type { CommitBatch } from "./read-commits.ts";

/** Receives the commits of the change stream. A batch is accepted whole, and the next call waits for it. */
export interface CommitSink {
  /** The position is lost: commits may be missing, and a new order of commits will begin after `prepare`. */
  lost(): void;
  /**
   * Reads everything that has to be known when an order of commits begins, as of `clusterTime` or later.
   * @throws The server's error; then it is called again.
   */
  prepare(clusterTime: bigint): Promise<void>;
  /**
   * An order of commits begins: everything after `from`, `from` included, will follow. Everything known before is void,
   * as commits may be missing between it and `from`.
   */
  begin(epoch: Epoch, from: bigint): Promise<void>;
  accept(batch: CommitBatch): Promise<void>;
}

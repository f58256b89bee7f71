import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import type { SnapshotPlan } from "../source/snapshot-plan.ts";

/** A result that is being read at one cluster time. */
export interface OpenSnapshot {
  /** The cluster time of the whole result. */
  readonly clusterTime: bigint;
  /**
   * Whether the result is that of `clusterTime` exactly. If not (capped collections), it holds at least everything up to
   * that time, and may hold later writes.
   */
  readonly exact: boolean;
  /** Nothing follows the documents that `next` returns now. */
  readonly exhausted: boolean;
  /** The next documents, as raw BSON; none at the end. */
  next(): Promise<Uint8Array[]>;
  /** Counts the whole result at the same cluster time, up to `most` documents. */
  count(most: number): Promise<number>;
  close(): void;
}

/** Reads results from MongoDB; `MongoSnapshots` in `source/` does it. Every method rejects with the server's error. */
export interface SnapshotReader {
  /** @param after The read is of this cluster time or later. */
  open(query: SnapshotQuery, after: bigint): Promise<OpenSnapshot>;
  /** All documents of a query as they were at a cluster time of the last minutes. */
  readAt(query: SnapshotQuery, clusterTime: bigint): Promise<Uint8Array[]>;
  /** How the server would find the documents of a query. */
  plan(query: SnapshotQuery): Promise<SnapshotPlan>;
}

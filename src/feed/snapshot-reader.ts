/**
 * Reading from MongoDB, as the feed needs it. The feed imports no driver, so its logic can be tested with readers in
 * memory.
 */
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import type { SnapshotPlan } from "../source/snapshot-plan.ts";

/** A result that is being read at one cluster time. */
export interface OpenSnapshot {
  /** The cluster time of the whole result. */
  readonly clusterTime: bigint;
  /**
   * Whether the result is exactly that of `clusterTime`. If not (capped collections), it contains at least every write
   * up to that time, and possibly later ones.
   */
  readonly exact: boolean;
  /** Whether no document follows those that `next` returns now. */
  readonly exhausted: boolean;
  /** The next documents, as raw BSON; none at the end. */
  next(): Promise<Uint8Array[]>;
  /** Counts the whole result at the same cluster time, up to `most` documents. */
  count(most: number): Promise<number>;
  close(): void;
}

/** Takes the documents of each answer when they arrive. An error that it throws ends the read. */
export type OnDocuments = (documents: readonly Uint8Array[]) => void;

/**
 * Reads results from MongoDB. `MongoSnapshots` in `source/` implements it. Every method rejects with the server's
 * error.
 */
export interface SnapshotReader {
  /**
   * Opens a read.
   * @param after The read is of this cluster time or later.
   * @param signal Ends the read. It rejects with the reason then.
   */
  open(query: SnapshotQuery, after: bigint, signal?: AbortSignal): Promise<OpenSnapshot>;
  /**
   * Opens a read of the state at a cluster time of the last minutes. A capped collection has no such state; the read is
   * then not `exact`, and has no documents.
   */
  openAt(query: SnapshotQuery, clusterTime: bigint, signal?: AbortSignal): Promise<OpenSnapshot>;
  /** Reads all documents of a query as they were at a cluster time of the last minutes. */
  readAt(
    query: SnapshotQuery,
    clusterTime: bigint,
    onDocuments?: OnDocuments,
    signal?: AbortSignal,
  ): Promise<Uint8Array[]>;
  /** The server's plan for finding the documents of a query. */
  plan(query: SnapshotQuery): Promise<SnapshotPlan>;
}

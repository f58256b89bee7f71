/**
 * Implements the feed's interfaces for reading from MongoDB. The feed knows only those interfaces, so its tests run
 * without a database.
 */
import type { MongoAccess } from "./mongo.ts";
import { SnapshotCursor, type SnapshotQuery } from "./snapshot-cursor.ts";
import { planSnapshot, type SnapshotPlan } from "./snapshot-plan.ts";

/** Reads results from one MongoDB deployment. Every method rejects with the server's or the driver's error. */
export class MongoSnapshots {
  readonly #client: MongoAccess;

  constructor(client: MongoAccess) {
    this.#client = client;
  }

  /** See `SnapshotCursor.open`. */
  open(query: SnapshotQuery, after: bigint, signal?: AbortSignal): Promise<SnapshotCursor> {
    return SnapshotCursor.open(this.#client, query, after, signal);
  }

  /** See `SnapshotCursor.openAt`. */
  openAt(query: SnapshotQuery, clusterTime: bigint, signal?: AbortSignal): Promise<SnapshotCursor> {
    return SnapshotCursor.openAt(this.#client, query, clusterTime, signal);
  }

  /** See `SnapshotCursor.readAt`. */
  readAt(
    query: SnapshotQuery,
    clusterTime: bigint,
    onDocuments?: (documents: readonly Uint8Array[]) => void,
    signal?: AbortSignal,
  ): Promise<Uint8Array[]> {
    return SnapshotCursor.readAt(this.#client, query, clusterTime, onDocuments, signal);
  }

  /** See `planSnapshot`. */
  plan(query: SnapshotQuery): Promise<SnapshotPlan> {
    return planSnapshot(this.#client, query);
  }
}

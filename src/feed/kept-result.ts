/**
 * The interface of results that are kept in memory. Sorted windows and aggregates are kept up to date in the same way
 * (`stateful.ts`), whatever they keep.
 */
import type { Steps } from "../match/steps.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import type { Change, UNKNOWN } from "./change.ts";
import type { HistoryEntry } from "./history.ts";
import type { WindowMember } from "./result-state.ts";
import type { Touched } from "./window-changes.ts";

/**
 * The changes of one commit. A promise if the database must be asked; then the next commit waits for it. `UNKNOWN` if
 * an image is missing, or if the result has become too large.
 */
export type Found = Change[] | typeof UNKNOWN | Promise<Change[] | typeof UNKNOWN>;

/** A read of documents that a result lacks, as they were at a cluster time. */
export interface LackingRead<T> {
  readonly query: SnapshotQuery;
  readonly clusterTime: bigint;
  /** Takes the documents. They are charged to the users of the live query until this ends. */
  readonly use: (documents: readonly Uint8Array[]) => T | Promise<T>;
}

/** A result that is kept in memory. After each commit it is exactly the server's own result at that cluster time. */
export interface KeptResult {
  /** The state is that of this cluster time, or of the last commit that was applied. */
  readonly loadedAt: bigint;
  /** The number of documents or groups that are kept. */
  readonly size: number;
  /** The memory of the result, in bytes. */
  readonly heldBytes: number;
  /** The visible documents. If the result is sorted, in its order. */
  readonly visible: readonly WindowMember[];
  /** Applies the next commit. @returns Its changes. */
  apply(entry: HistoryEntry): Found;
  /** Finds the effect of a commit on the documents, in steps, for `applyTouched`. */
  touchedInSteps(entry: HistoryEntry): Steps<Touched | typeof UNKNOWN>;
  /** Applies the next commit, which is later than `loadedAt`, by its effect on the documents. @returns Its changes. */
  applyTouched(entry: HistoryEntry, touched: Touched | typeof UNKNOWN): Steps<Found>;
}

/** Creates the kept results of one live query. */
export interface ResultKind {
  /** Does most of the work of `load`, in steps. */
  prepareInSteps(answer: readonly Uint8Array[]): Steps<void>;
  /**
   * Creates the result from the answer to the query of the snapshot (`LiveQuery.snapshotQuery`) at a cluster time.
   * @throws {TidewireError} `snapshot-too-large`
   */
  load(answer: readonly Uint8Array[], clusterTime: bigint): KeptResult;
}

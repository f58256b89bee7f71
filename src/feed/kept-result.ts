import type { Steps } from "../match/steps.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import type { Change, UNKNOWN } from "./change.ts";
import type { HistoryEntry } from "./history.ts";
import type { WindowMember } from "./result-state.ts";
import type { Touched } from "./window-changes.ts";

/**
 * The changes of one commit. A promise where the database has to be asked; the next commit must wait for it. `UNKNOWN`
 * where an image is missing, or the result has grown too large.
 */
export type Found = Change[] | typeof UNKNOWN | Promise<Change[] | typeof UNKNOWN>;

/** A result that is kept in memory, at each commit exactly the server's own of that cluster time. */
export interface KeptResult {
  /** The state is that of this cluster time, or of the last commit applied. */
  readonly loadedAt: bigint;
  /** How many documents are held. */
  readonly size: number;
  /** Memory that the result takes, in bytes. */
  readonly heldBytes: number;
  /** The visible documents, in order where they have one. */
  readonly visible: readonly WindowMember[];
  /** The changes of the next commit. */
  apply(entry: HistoryEntry): Found;
  /** The effect of a commit on the documents, for `applyTouched`; found in steps. */
  touchedInSteps(entry: HistoryEntry): Steps<Touched | typeof UNKNOWN>;
  /** The changes of the next commit, which is later than `loadedAt`, from its effect on the documents. */
  applyTouched(entry: HistoryEntry, touched: Touched | typeof UNKNOWN): Steps<Found>;
}

/** Makes the kept results of one live query. */
export interface ResultKind {
  /** The query whose answer `load` takes. */
  readonly loadQuery: SnapshotQuery;
  /** Does most of the work of `load`, in steps. */
  prepareInSteps(answer: readonly Uint8Array[]): Steps<void>;
  /**
   * Takes the answer to the load query at a cluster time.
   * @throws {TidewireError} `snapshot-too-large`
   */
  load(answer: readonly Uint8Array[], clusterTime: bigint): KeptResult;
}

/**
 * The difference between sorted and unsorted live queries, behind one interface. An unsorted result needs no memory,
 * because images decide everything; a sorted one must track its window and sometimes ask the database.
 */
import type { BsonValue } from "../match/bson-value.ts";
import type { HistoryEntry } from "./history.ts";
import type { ReadPast } from "./past.ts";

/** A document in a window, or a group, by the key and the value of its `_id`. */
export interface WindowMember {
  readonly id: string;
  readonly idValue: BsonValue;
  /** Its content, where the state holds it: always that of a group. */
  readonly document?: Uint8Array | undefined;
}

/**
 * The state that one kind of live query needs to turn commits into changes of its result. All kinds record the changes
 * in the same kind of log, from which deliveries catch up.
 */
export interface ResultState {
  /** Whether the images of the events decide everything, so that nothing has to be loaded. */
  readonly isStateless: boolean;
  /** Whether the state is known, so that the log may be read. */
  readonly isLoaded: boolean;
  /** Whether every entry of the history has been evaluated. */
  readonly isCurrent: boolean;
  /** The entry of the history up to which the changes are known. */
  readonly knownSeq: number;
  /**
   * The cluster time of the read that gave the state, which the stream may not have reached yet. Changes up to there are
   * not recorded. 0 for a state that was not read.
   */
  readonly loadedAt: bigint;
  /** The number of documents that are tracked in memory. */
  readonly trackedDocuments: number;
  /** Memory of the state, in bytes. */
  readonly heldBytes: number;
  /**
   * The documents of a sorted result in their order, or the groups of an aggregate, an empty list for other results;
   * `null` if they are not known at the moment.
   */
  readonly visible: readonly WindowMember[] | null;
  /** The visible documents that an answer to the snapshot query contains. @throws {TidewireError} `snapshot-too-large` */
  visibleIn(answer: readonly Uint8Array[], clusterTime: bigint): readonly WindowMember[];
  /** Settles when `knownSeq` has reached entry `seq`, or the state is lost. */
  reaches(seq: number): Promise<void>;
  /** Settles when every entry of the history has been evaluated, or the state is lost. */
  becomesCurrent(): Promise<void>;
  /**
   * Applies a new commit.
   * @returns Whether there are changes to flush.
   */
  apply(entry: HistoryEntry): boolean;
  /** Like `apply`, for a commit of many events, with pauses. */
  applyInSteps(entry: HistoryEntry): Generator<void, boolean>;
  /** Does most of the work of `load`, with pauses. */
  prepareLoad(documents: readonly Uint8Array[]): Promise<void>;
  /** Takes the answer to the snapshot query as the state at a cluster time, unless there is a state already. */
  load(documents: readonly Uint8Array[], clusterTime: bigint): void;
  /** Drops the state: it is wrong, or belongs to an order of commits that was broken. */
  lose(): void;
  /** The live query was removed, so work in progress ends. */
  retire(): void;
  /**
   * Makes the log reach back to entry `seq`.
   * @param readPast Reads the state at that time, if the state is needed.
   * @returns `false` if the history has evicted that part, or the state at that time is no longer available.
   * @throws {TidewireError} See `PastReads.read`; also `snapshot-too-large`.
   */
  extendTo(seq: number, readPast: ReadPast): Promise<boolean>;
}

import type { BsonValue } from "../match/bson-value.ts";
import type { HistoryEntry } from "./history.ts";

/** A document in a window, by the key and the value of its `_id`. */
export interface WindowMember {
  readonly id: string;
  readonly idValue: BsonValue;
}

/**
 * The memory that one kind of live query needs to turn commits into changes of its result. All kinds note the changes in
 * the same log, from which deliveries catch up.
 */
export interface ResultState {
  /** Whether everything about the result follows from the images of the events, so that nothing has to be loaded. */
  readonly isStateless: boolean;
  /** Whether the log may be read: the state is known. */
  readonly isLoaded: boolean;
  /** Whether every entry of the history has been evaluated. */
  readonly isCurrent: boolean;
  /** Up to which entry of the history the changes are known. */
  readonly knownSeq: number;
  /** Documents that are tracked in memory. */
  readonly trackedDocuments: number;
  /** Memory that the state takes, in bytes. */
  readonly heldBytes: number;
  /** The documents of a sorted result in their order, none of any other; `null` where they are not known just now. */
  readonly visible: readonly WindowMember[] | null;
  /** Settles when `knownSeq` has reached entry `seq`, or the state is lost. */
  reaches(seq: number): Promise<void>;
  /** Settles when every entry of the history has been evaluated, or the state is lost. */
  becomesCurrent(): Promise<void>;
  /** Takes a new commit into account. @returns Whether there are changes to flush. */
  apply(entry: HistoryEntry): boolean;
  /** As `apply`, for a commit of many events, with pauses. */
  applyInSteps(entry: HistoryEntry): Generator<void, boolean>;
  /** Does most of the work of `load` with pauses. */
  prepareLoad(documents: readonly Uint8Array[]): Promise<void>;
  /** Takes the answer to the snapshot query as the state at a cluster time, unless there is a state already. */
  load(documents: readonly Uint8Array[], clusterTime: bigint): void;
  /** Drops the state: it is wrong, or belongs to an order of commits that was broken. */
  lose(): void;
  /** Nobody will follow any more: work in progress ends. */
  retire(): void;
  /** Makes the log reach back to entry `seq`. @returns `false` where the history has lost that part. */
  extendTo(seq: number): Promise<boolean>;
}

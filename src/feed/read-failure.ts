/**
 * Tells failures of a read that would fail again from those that pass. A read that cannot succeed must end its
 * subscription, because an attempt costs MongoDB the same each time.
 */
import { MongoServerError } from "mongodb";
import { TidewireError } from "../protocol/errors.ts";
import { tookTooLong } from "../source/snapshot-cursor.ts";
import { tooSlow } from "./too-slow.ts";

/**
 * Of the reads of the service, only a sort that a document makes impossible fails with these codes: BadValue, "cannot
 * sort with keys that are parallel arrays", and 16746, "Ambiguous field name found in array", for a path that is an
 * index and a field at once.
 */
const BAD_SORT: readonly unknown[] = [2, 16_746];
/** QueryExceededMemoryLimitNoDiskUseAllowed: more groups than the server holds in its memory. */
const TOO_MANY_GROUPS = 292;
/** SnapshotTooOld: the server no longer keeps the state of that time. */
const TOO_OLD = 239;
/** SnapshotUnavailable: the collection was created or changed after that time, or only a moment ago. */
const UNAVAILABLE = 246;

/** How often a read is attempted. SnapshotTooOld, SnapshotUnavailable, InterruptedAtShutdown and similar errors pass. */
export const READ_ATTEMPTS = 4;
/** The pause before the second attempt, in milliseconds. Later pauses are longer. */
export const ATTEMPT_PAUSE_MS = 50;

/**
 * The error for clients if a read of a result fails because of the request.
 * @param snapshotTimeMs How long MongoDB may work on the read.
 * @returns `null` if another attempt may succeed.
 */
export function permanentFailure(error: Error, snapshotTimeMs: number): TidewireError | null {
  if (tookTooLong(error)) return tooSlow("the snapshot", snapshotTimeMs, error);
  if (!(error instanceof MongoServerError)) return null;
  if (error.code === TOO_MANY_GROUPS) return tooManyGroups(error);
  return BAD_SORT.includes(error.code) ? badSort(error) : null;
}

/** Whether the server no longer keeps the state of the time at which it was to read. */
export const isTooOld = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === TOO_OLD;

/** Whether the server has no state of that time, although the time is recent. */
export const hasNoPast = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === UNAVAILABLE;

const badSort = (cause: unknown) =>
  new TidewireError(
    "bad-filter",
    "the server refuses this sort: in one document two of its paths hold arrays, or a number in it is both an index and a field",
    {},
    { cause },
  );

const tooManyGroups = (cause: unknown) =>
  new TidewireError(
    "snapshot-too-large",
    "the aggregate has more groups than the server holds in its memory: group by a path with fewer values, or narrow the filter",
    { limit: "aggregateGroups" },
    { cause },
  );

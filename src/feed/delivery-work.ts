/**
 * The resources of a delivery's next step. Snapshots and extra change streams are limited per node, so each is attached
 * to the work that needs it and released with it, whichever way the work ends.
 */
import type { DeliveryContext } from "./delivery-parts.ts";
import type { DeliveryEvent } from "./delivery-phase.ts";
import type { GrantMove } from "./grant-diff.ts";
import type { OplogRead } from "./oplog-read.ts";
import type { SnapshotReading } from "./snapshot-reading.ts";

/** A snapshot, and the turn that allows the delivery to hold it. */
export interface HeldSnapshot {
  readonly reading: SnapshotReading;
  readonly leave: () => void;
}

/**
 * Ends a hold of the history (see `History.hold`). A read of the oplog ends at a commit that the history must still
 * contain when the log of the live query continues from there. May be called again.
 */
export type EndHold = () => void;

/** The next step, with the resources that it holds. */
export type Work =
  /** `opened` is `null` until the snapshot is open. */
  | { readonly do: "send-snapshot"; opened: HeldSnapshot | null }
  | { readonly do: "send-oplog"; readonly read: OplogRead; readonly endHold: EndHold }
  | { readonly do: "send-move"; readonly move: GrantMove }
  | { readonly do: Extract<DeliveryEvent, "catch-up">; readonly endHold: EndHold | null };

/** Work that sends a snapshot, and opens it first if `opened` is `null`. */
export const newSnapshotWork = (opened: HeldSnapshot | null): Work => ({ do: "send-snapshot", opened });
/** Work that sends the entries in the log of the live query. */
export const newCatchUpWork = (endHold: EndHold | null = null): Work => ({ do: "catch-up", endHold });

/** The hold that work has on the history. */
export const holdOf = (work: Work): EndHold | null => ("endHold" in work ? work.endHold : null);

/** Releases the resources of work, except those that the `next` step takes over. */
export function releaseWork(work: Work, next?: Work): void {
  if (work.do === "send-snapshot") work.opened?.leave();
  if (work.do === "send-oplog") work.read.end();
  const endHold = holdOf(work);
  if (next === undefined || holdOf(next) !== endHold) endHold?.();
}

/**
 * Opens a snapshot when it is the delivery's turn. A slow reader must not hold many snapshots or many of MongoDB's
 * cursors.
 * @returns `null` if the snapshot is no longer wanted.
 * @throws {TidewireError} `snapshot-too-large`, `unavailable`, `too-many-subscriptions`
 */
export async function openHeldSnapshot(
  { parts, liveQuery, sink, rights, account }: DeliveryContext,
  isWanted: () => boolean,
): Promise<HeldSnapshot | null> {
  const giveBack = await sink.snapshotTurn();
  if (!isWanted()) {
    giveBack();
    return null;
  }
  let held: HeldSnapshot | null = null;
  try {
    // Only after an edit of the rules that has moved a subscription to another collection.
    const contained = parts.interest.ensure(liveQuery.namespace);
    if (contained !== undefined) await contained;
    const charge = () => parts.windows.chargeReading(account);
    const request = { account, isWanted, charge };
    const reading = await parts.snapshots.open(liveQuery, sink.mode, rights.since, request);
    if (reading === null) {
      giveBack();
      return null;
    }
    const leave = () => {
      reading.leave();
      giveBack();
    };
    held = { reading, leave };
    parts.windows.admitWindow(liveQuery, account);
    return held;
  } catch (error) {
    if (held === null) giveBack();
    else held.leave();
    throw error;
  }
}

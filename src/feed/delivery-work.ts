import type { DeliveryContext } from "./delivery-parts.ts";
import type { DeliveryEvent } from "./delivery-phase.ts";
import type { GrantMove } from "./grant-diff.ts";
import type { OplogRead } from "./oplog-read.ts";
import type { SnapshotReading } from "./snapshot-reading.ts";

/** A snapshot together with the turn to hold it. */
export interface HeldSnapshot {
  readonly reading: SnapshotReading;
  readonly leave: () => void;
}

/** The next thing to do, with the resources that it holds. */
export type Work =
  /** `opened` is `null` until the snapshot is open. */
  | { readonly do: "send-snapshot"; opened: HeldSnapshot | null }
  | { readonly do: "send-oplog"; readonly read: OplogRead }
  | { readonly do: "send-move"; readonly move: GrantMove }
  | { readonly do: Extract<DeliveryEvent, "catch-up"> };

/** Sends a snapshot, and opens it first where `opened` is `null`. */
export const newSnapshotWork = (opened: HeldSnapshot | null): Work => ({ do: "send-snapshot", opened });
/** Sends what the log of the live query holds. */
export const newCatchUpWork = (): Work => ({ do: "catch-up" });

/** Gives back the resources that work holds. */
export function releaseWork(work: Work): void {
  if (work.do === "send-snapshot") work.opened?.leave();
  if (work.do === "send-oplog") work.read.end();
}

/**
 * Opens a snapshot when it is the delivery's turn: a slow reader must not hold many snapshots, nor many of MongoDB's
 * cursors.
 * @returns `null` where the snapshot is no longer wanted.
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
    const charge = () => parts.windows.chargeReading(account);
    const reading = await parts.snapshots.open(liveQuery, sink.mode, rights.since, charge);
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

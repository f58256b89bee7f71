import type { Parcel } from "./courier.ts";
import type { SinkRunParts } from "./sink-run-parts.ts";
import { isStorable } from "./stored-message.ts";

/** Whether the spool can hold a parcel. The verdict is kept, because a large message must be compressed for it. */
export function isParcelStorable(parcel: Parcel): boolean {
  parcel.isStorable ??= isStorable(parcel.message, parcel.bytes);
  return parcel.isStorable;
}

/**
 * The parcels that may be copied to the spool. A later message of an `_id` must not pass one that cannot be stored, which
 * may still reach the target.
 * @param parcels In the order of arrival.
 */
export function copyable(parcels: readonly Parcel[]): Parcel[] {
  const blocked = new Set<string>();
  return parcels.filter((parcel) => {
    const { key } = parcel.message;
    if (!blocked.has(key) && !isParcelStorable(parcel)) blocked.add(key);
    return !blocked.has(key);
  });
}

/**
 * Gives up a message that has to wait, if it is too large for that.
 * @returns Whether it is lost.
 */
export function loseIfTooLarge({ ledger, log, name }: SinkRunParts, parcel: Parcel): boolean {
  if (parcel.lane !== undefined || isParcelStorable(parcel)) return false;
  const { id } = parcel.message;
  log.error({ sink: name, event: id }, "a message is too large for the state database, and is lost");
  ledger.noteLost();
  return true;
}

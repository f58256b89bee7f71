import type { Parcel } from "./courier.ts";
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

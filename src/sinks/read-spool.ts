import { newParcel, type Parcel } from "./courier.ts";
import type { SinkRunParts } from "./sink-run-parts.ts";

/** How much of the main queue, and of a lane, is read from the spool at a time. */
export const LOAD = { messages: 200, bytes: 4 * 1_048_576 };
export const LOAD_LANE = { messages: 20, bytes: 1_048_576 };

/** Reads the messages of a queue that come after a place, for the courier. */
export async function readSpool(
  { answer, store, name }: Pick<SinkRunParts, "answer" | "store" | "name">,
  lane: string | null,
  after: number,
  limits: typeof LOAD,
): Promise<{ readonly parcels: Parcel[]; readonly isAll: boolean }> {
  const { messages, isAll } = await answer(() => store.spooled(name, lane, after, limits));
  const parcels = messages.map(({ seq, message, atMs, attempts }) => {
    return { ...newParcel(seq, message, atMs), attempts, lane };
  });
  return { parcels, isAll };
}

import type { Lanes } from "./lanes.ts";
import type { MainQueueParts } from "./main-queue.ts";
import { LOAD_LANE, readSpool } from "./read-spool.ts";

/** How long to wait for a message in flight before its lane is read, in milliseconds. */
const IN_FLIGHT_MS = 100;

/** Hands the messages of a lane, whose time has come, to the courier. */
export async function runLane(
  lane: string,
  lanes: Lanes,
  parts: Omit<MainQueueParts, "onReload" | "onParcel">,
): Promise<void> {
  const { courier, writer, isHalted } = parts;
  if (courier.has(lane)) {
    lanes.block(lane, Date.now() + IN_FLIGHT_MS);
    return;
  }
  await writer.flush();
  const { parcels } = await readSpool(parts, lane, 0, LOAD_LANE);
  if (isHalted()) lanes.block(lane, 0);
  else if (parcels.length === 0) lanes.finish(lane);
  else for (const parcel of parcels) courier.add(parcel);
}

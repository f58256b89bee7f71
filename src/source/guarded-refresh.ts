import { type GuardParts, guarded } from "../metrics/guard.ts";
import { isMongoFailure } from "./mongo.ts";

/**
 * Wraps a periodic read from MongoDB for a timer. An outage is not a fault of the service: the last value stays in
 * force, and a warning is logged. Any other error is a bug, so the guard contains and counts it.
 * @param warning The log line for an outage. It names the value that stays in force.
 */
export function guardedRefresh(
  parts: GuardParts,
  where: string,
  refresh: () => Promise<void>,
  warning: string,
): () => void {
  return guarded(parts, where, async () => {
    try {
      await refresh();
    } catch (error) {
      if (!isMongoFailure(error)) throw error;
      parts.log.warn({ err: error }, warning);
    }
  });
}

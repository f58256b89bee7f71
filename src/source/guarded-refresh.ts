import { type GuardParts, guarded } from "../metrics/guard.ts";
import { isMongoFailure } from "./mongo.ts";

/**
 * Wraps a periodic read from MongoDB for a timer. An outage is not a fault of the service: it leaves the last value in
 * force and a warning in the log. The guard contains and counts any other error.
 * @param warning The log line for an outage. It says what stays in force.
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

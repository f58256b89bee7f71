/**
 * Decides where the change stream begins, at a start and after an interruption. MongoDB accepts a position of another
 * or restored deployment without an error and then sends nothing, so every decision compares the epoch and the server's
 * clock first.
 */
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import type { Checkpoint } from "./checkpoint-store.ts";
import { earlier, formatClusterTime } from "./cluster-time.ts";
import type { Deployment } from "./deployment.ts";
import type { Epoch } from "./epoch-store.ts";

/** The start of the change stream, or of a new order of commits. */
export interface FoundStart {
  readonly epoch: Epoch;
  /** Every commit from this cluster time on will follow. */
  readonly from: bigint;
  /** The cluster time at which the start was found. */
  readonly now: bigint;
}

/** The access to deployment and state that the decision needs. */
export interface StartParts {
  readonly deployment: Deployment;
  /** The saved position. */
  readonly load: () => Promise<Checkpoint | null>;
  /** Whether the oplog still contains a cluster time. */
  readonly reaches: (from: bigint) => Promise<boolean>;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/**
 * Decides where to begin: at the checkpoint or further back to fill the history, whichever is older and available.
 * @param startBeforeMs How far back the history is to reach, in milliseconds.
 */
export async function findStart(startBeforeMs: number, parts: StartParts): Promise<FoundStart> {
  const { deployment, log, metrics } = parts;
  const { epoch, changed } = await deployment.epoch();
  const saved = await parts.load();
  const checkpoint = saved?.epoch === epoch.id ? saved.clusterTime : null;
  // Read after the checkpoint, because other nodes keep saving positions, and none of them may seem to be in the
  // future.
  const now = await deployment.now(checkpoint ?? 0n);
  if (changed) log.warn("the deployment has changed: every earlier cursor will be reset");
  if (checkpoint !== null && checkpoint > now) {
    const next = await deployment.newEpoch("the deployment went back in time", epoch.id);
    log.error(
      { checkpoint: formatClusterTime(checkpoint), now: formatClusterTime(now) },
      "the saved position lies in the future: the deployment was restored or replaced; starting a new epoch",
    );
    metrics.positionLost.inc();
    return { epoch: next, from: now, now };
  }
  const candidates = [earlier(now, startBeforeMs), ...(checkpoint === null ? [] : [checkpoint])].sort(
    (a, b) => (a < b ? -1 : 1),
  );
  let isTooOld = false;
  let from = now;
  for (const candidate of candidates) {
    if (await parts.reaches(candidate)) {
      from = candidate;
      break;
    }
    isTooOld ||= candidate === checkpoint;
  }
  // Logged only here, because each question above can fail and is then repeated. It is also logged if reading begins
  // later anyway, because clients may return with cursors from before.
  if (checkpoint !== null && isTooOld) {
    metrics.positionLost.inc();
    log.error(
      { checkpoint: formatClusterTime(checkpoint), now: formatClusterTime(now) },
      "the oplog no longer reaches back to the saved position: changes were missed, subscribers will be reset; make the oplog larger",
    );
  }
  return { epoch, from, now };
}

/**
 * After an interruption, decides whether the position is still valid. The server reports no error for a position in the
 * future or of another deployment, but stays silent. So it must confirm that it is the deployment that was being read.
 * @param known The epoch and the cluster time that were reached; `isLost` if the server has refused that position.
 * @returns The new start; `null` if the position is still valid.
 */
export async function findNewStart(
  known: { readonly epoch: Epoch; readonly through: bigint; readonly isLost: boolean },
  { deployment, log, metrics }: Pick<StartParts, "deployment" | "log" | "metrics">,
): Promise<FoundStart | null> {
  const now = await deployment.now(known.through);
  const { epoch } = await deployment.epoch();
  const isSame = epoch.id === known.epoch.id;
  const wentBack = isSame && now < known.through;
  if (!known.isLost && !wentBack && isSame) return null;
  const next = wentBack
    ? await deployment.newEpoch("the deployment went back in time", known.epoch.id)
    : epoch;
  metrics.positionLost.inc();
  if (!known.isLost)
    log.error({ epoch: next.id }, "the deployment was replaced or restored: every live query is reset");
  return { epoch: next, from: now, now };
}

import { valueKey } from "../match/value-key.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { Deployment } from "../source/deployment.ts";
import { idOf } from "./change.ts";
import { BEFORE } from "./cursor.ts";
import type { LiveQuery } from "./live-query.ts";
import { isLong } from "./pieces.ts";
import type { Slices } from "./slices.ts";
import type { Timeline } from "./timeline.ts";

/** The parts that `makeExact` works with. */
export interface ExactReadingParts {
  readonly timeline: Timeline;
  readonly deployment: Pick<Deployment, "now">;
  /** Slices for work that lets other work have its turn. */
  readonly newSlices: () => Slices;
}

/**
 * Brings documents that were read while the collection changed to their state at one cluster time. The commits that
 * came during the read are applied to them, whether or not the read had seen them already.
 * @param since The read began at this cluster time.
 * @throws {TidewireError} `unavailable`
 */
export async function makeExact(
  liveQuery: LiveQuery,
  raw: readonly Uint8Array[],
  since: bigint,
  { timeline, deployment, newSlices }: ExactReadingParts,
): Promise<{ raw: Uint8Array[]; clusterTime: bigint }> {
  const clusterTime = await deployment.now();
  await timeline.reached(clusterTime);
  const located = timeline.history.locate({ clusterTime: since, within: BEFORE });
  if (typeof located === "string") throw new TidewireError("unavailable", "the snapshot took too long");
  const documents = new Map(raw.map((document) => [valueKey(idOf(document)), document]));
  const slices = newSlices();
  slices.begin();
  for (const { commit } of timeline.history.after(located.seq)) {
    if (commit.clusterTime > clusterTime) continue;
    if (isLong(commit.events)) await slices.through(liveQuery.evaluation.prepareInSteps(commit.events));
    liveQuery.evaluation.applyTo(documents, commit.events);
    if (slices.isOver()) await slices.pause();
  }
  return { raw: [...documents.values()], clusterTime };
}

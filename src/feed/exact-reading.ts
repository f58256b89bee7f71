/**
 * Makes a read of a capped collection exact. MongoDB offers no snapshot reads on capped collections, so such a result
 * mixes states of different times. The commits of that time, which the history holds, turn it into the state at one
 * time.
 */
import { StepPace, type Steps } from "../match/steps.ts";
import { valueKey } from "../match/value-key.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { Deployment } from "../source/deployment.ts";
import { idOf } from "./change.ts";
import { BEFORE } from "./cursor.ts";
import type { LiveQuery } from "./live-query.ts";
import type { Slices } from "./slices.ts";
import type { Timeline } from "./timeline.ts";

/** The parts that `makeExact` uses. */
export interface ExactReadingParts {
  readonly timeline: Timeline;
  readonly deployment: Pick<Deployment, "now">;
  /** Slices for long work, between which other work has its turn. */
  readonly newSlices: () => Slices;
}

/**
 * Turns documents that were read while the collection changed into their state at one cluster time. The commits since
 * the start of the read are applied to them. A commit that the read has seen already does no harm, because all of them
 * are applied in order.
 * @param since The cluster time at which the read began.
 * @throws {TidewireError} `unavailable`
 */
export async function makeExact(
  liveQuery: LiveQuery,
  raw: readonly Uint8Array[],
  since: bigint,
  { timeline, deployment, newSlices }: ExactReadingParts,
): Promise<{ raw: Uint8Array[]; clusterTime: bigint }> {
  const slices = newSlices();
  slices.begin();
  const documents = await slices.through(byId(raw));
  const clusterTime = await deployment.now();
  await timeline.reached(clusterTime);
  const located = timeline.history.locate({ clusterTime: since, within: BEFORE });
  if (typeof located === "string") throw new TidewireError("unavailable", "the snapshot took too long");
  slices.begin();
  for (const { commit } of timeline.history.after(located.seq)) {
    if (commit.clusterTime > clusterTime) continue;
    await slices.through(liveQuery.evaluation.applyInSteps(documents, commit.events));
  }
  return { raw: [...documents.values()], clusterTime };
}

function* byId(raw: readonly Uint8Array[]): Steps<Map<string, Uint8Array>> {
  const documents = new Map<string, Uint8Array>();
  const pace = new StepPace();
  for (const document of raw) {
    documents.set(valueKey(idOf(document)), document);
    if (pace.isOver(0)) yield;
  }
  return documents;
}

/**
 * Reads the results that are kept in memory: sorted windows, and the groups of aggregates. Such a result is read as a
 * whole, before any of it is sent.
 */
import { TidewireError } from "../protocol/errors.ts";
import type { LiveQuery } from "./live-query.ts";
import type { FeedLimits } from "./options.ts";
import type { ReadingCharge } from "./reading-charge.ts";
import type { OpenSnapshot } from "./snapshot-reader.ts";
import type { Timeline } from "./timeline.ts";
import { tooManySorted } from "./too-large.ts";

/** The parts that reading a kept result needs. */
interface WindowReadingParts {
  readonly limits: Pick<FeedLimits, "snapshotDocuments">;
  readonly timeline: Timeline;
  readonly charge: () => ReadingCharge;
}

/**
 * Reads a window completely, with a few documents beyond its limit, or all groups. They give the live query its state,
 * and the documents within the limit, or the rows, are sent.
 */
export async function readWindow(
  liveQuery: LiveQuery,
  cursor: OpenSnapshot,
  { limits, timeline, charge: newCharge }: WindowReadingParts,
): Promise<{ documents: Uint8Array[]; charge: ReadingCharge }> {
  const charge = newCharge();
  try {
    const documents = await readCharged(liveQuery, cursor, charge);
    const { limit, aggregate } = liveQuery.spec;
    if (aggregate !== null)
      return { documents: await loadGroups(liveQuery, cursor, documents, timeline), charge };
    if (limit === null && documents.length > limits.snapshotDocuments)
      throw tooManySorted(limits.snapshotDocuments);
    await liveQuery.state.prepareLoad(documents);
    while (!timeline.isSettled) await timeline.settles;
    liveQuery.state.load(documents, cursor.clusterTime);
    const spare = documents.splice(limit ?? documents.length);
    charge.sub(bytesIn(spare));
    return { documents, charge };
  } catch (error) {
    charge.release();
    throw error;
  }
}

/**
 * Reads all documents of a result that is kept in memory. Each batch is charged when it arrives, so that a result that
 * is too large for its user is not read to its end.
 */
export async function readCharged(
  { spec }: LiveQuery,
  cursor: OpenSnapshot,
  charge: ReadingCharge,
): Promise<Uint8Array[]> {
  if (!cursor.exact) {
    const path = spec.aggregate === null ? "sort" : "aggregate";
    throw new TidewireError(
      "bad-request",
      `a capped collection has neither sorted results nor aggregates: leave ${path} out`,
      { path },
    );
  }
  const documents: Uint8Array[] = [];
  for (let batch = await cursor.next(); batch.length > 0; batch = await cursor.next()) {
    charge.add(bytesIn(batch));
    for (const document of batch) documents.push(document);
  }
  return documents;
}

/** Gives the live query its groups. @returns The rows. */
async function loadGroups(
  { state }: LiveQuery,
  { clusterTime }: OpenSnapshot,
  answers: readonly Uint8Array[],
  timeline: Timeline,
): Promise<Uint8Array[]> {
  const rows = state.visibleIn(answers, clusterTime).flatMap(({ document }) => document ?? []);
  while (!timeline.isSettled) await timeline.settles;
  state.load(answers, clusterTime);
  return rows;
}

/** Size of documents together. */
export const bytesIn = (documents: readonly Uint8Array[]): number =>
  documents.reduce((bytes, document) => bytes + document.length, 0);

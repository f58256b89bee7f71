/** Commits, a timeline and a live query's definition, without a database. */
import { BSON } from "mongodb";
import { HistoryOptions } from "../../../src/feed/options.ts";
import { Timeline } from "../../../src/feed/timeline.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { ChangeEvent, Commit, StreamEvent } from "../../../src/source/change-event.ts";

/** The cluster time at which the order of commits begins: second 1000, no increment. */
export const FROM = 1_000n << 32n;

export const epochOf = (id: string) => ({ id, cursorKey: new Uint8Array(16).fill(7) });

/** Room for everything that a unit test commits. */
const HISTORY = HistoryOptions.parse({ windowMs: 24 * 3_600_000, bytes: 1_048_576, cursorStepMs: 0 });

/** A timeline that begins at `FROM`. Its deployment knows of nothing later than the head. */
export function newTimeline(history: Partial<HistoryOptions> = {}): Timeline {
  const deployment = { now: async () => timeline.headTime };
  const timeline: Timeline = new Timeline(
    { ...HISTORY, ...history },
    { deployment, metrics: createMetrics() },
  );
  timeline.begin(epochOf("0123abcd"), FROM);
  return timeline;
}

export const docOf = (document: object): Buffer => Buffer.from(BSON.serialize(document));

/** A write to one document of `db.things`, or of another collection of that database. */
export function eventOf(
  before: (object & { _id: unknown }) | null,
  after: (object & { _id: unknown }) | null,
  collection = "things",
): ChangeEvent {
  return {
    operation: before === null ? "insert" : after === null ? "delete" : "update",
    namespace: `db.${collection}`,
    documentKey: docOf({ _id: (after ?? before)?._id }),
    before: before === null ? undefined : docOf(before),
    after: after === null ? undefined : docOf(after),
  };
}

export const insertOf = (document: object & { _id: unknown }, collection = "things"): ChangeEvent =>
  eventOf(null, document, collection);

/** A commit of these events, so many increments after `FROM`. */
export const commitOf = (offset: number, events: readonly StreamEvent[] = [], bytes = 100): Commit => ({
  events,
  clusterTime: FROM + BigInt(offset),
  identity: `commit-${offset}`,
  bytes,
  wallTimeMs: null,
});

/** Appends a commit as the feed does, and hands nothing out. */
export function appendTo(timeline: Timeline, commit: Commit) {
  const entry = timeline.append(commit);
  timeline.advance(commit.clusterTime);
  return entry;
}

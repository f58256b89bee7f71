/**
 * Limits of the feed. Every structure that grows with clients or writes has a limit here, because one client must not
 * be able to use up the memory or the time of the node.
 */
import { z } from "zod";

/** The section `history`: change events kept in memory, so that most resumptions need no read of the oplog. */
export const HistoryOptions = z.strictObject({
  windowMs: z
    .int()
    .min(0)
    .max(24 * 3_600_000)
    .default(5 * 60_000)
    .describe("How far back commits are kept. A starting node begins to read there, to fill the history."),
  bytes: z
    .int()
    .min(1_048_576)
    .default(64 * 1_048_576)
    .describe("Memory of the history; the oldest commits are evicted first."),
  cursorStepMs: z
    .int()
    .min(0)
    .max(60_000)
    .multipleOf(1_000)
    .default(1_000)
    .describe(
      "Steps in which the cursors of subscribed, watermark and fenced advance, in whole seconds, so that they reveal nothing about writes that a client may not see. 0s: with every write.",
    ),
});
/** The section `history`, with durations in milliseconds. */
export type HistoryOptions = z.output<typeof HistoryOptions>;

/** The part of the section `limits` that bounds snapshots, live queries and catch-up. */
export const FeedLimits = z.strictObject({
  snapshotDocuments: z
    .int()
    .min(1)
    .default(10_000)
    .describe("Documents in one snapshot; a larger result is refused with snapshot-too-large."),
  snapshotBatchBytes: z
    .int()
    .min(1_024)
    .max(16 * 1_048_576)
    .default(256 * 1_024)
    .describe("Size at which a snapshot message is full and the next one begins."),
  encodeCacheBytes: z
    .int()
    .min(65_536)
    .default(16 * 1_048_576)
    .describe(
      "Documents and their encoded text cached for a moment, so that live queries with equal fields encode each document once.",
    ),
  snapshotConcurrency: z
    .int()
    .min(1)
    .max(1_000)
    .default(8)
    .describe(
      "Snapshots and lookups read from MongoDB at the same time; further reads wait, and users take turns.",
    ),
  snapshotsPerUser: z
    .int()
    .min(1)
    .max(1_000)
    .default(4)
    .describe(
      "Share of snapshotConcurrency that the reads for one user may hold, always at least one less than all; further reads of this user wait.",
    ),
  snapshotTimeMs: z
    .int()
    .min(1)
    .max(3_600_000)
    .default(30_000)
    .describe(
      "How long MongoDB may work on one read of documents (maxTimeMS): snapshots, lookups, windows. Longer: unavailable.",
    ),
  snapshotCacheBytes: z
    .int()
    .min(0)
    .default(64 * 1_048_576)
    .describe("Memory for finished snapshots, which serve new subscribers together with the later changes."),
  snapshotBytes: z
    .int()
    .min(65_536)
    .default(128 * 1_048_576)
    .describe(
      "Memory for all snapshots that are being sent or kept. Over it, batches that were sent are no longer kept for others who might join.",
    ),
  windowSize: z
    .int()
    .min(1)
    .max(100_000)
    .default(1_000)
    .describe("The largest limit of a sorted subscription."),
  windowBytes: z
    .int()
    .min(1_048_576)
    .default(256 * 1_048_576)
    .describe(
      "Memory of sorted live queries and aggregates on this node: sort values, _ids, groups, documents kept or in transit; and of the documents that changed rights make visible, in transit. Above the limit: too-many-subscriptions, or a reset for changed rights.",
    ),
  userWindowBytes: z
    .int()
    .min(65_536)
    .default(64 * 1_048_576)
    .describe(
      "Share of windowBytes that the sorted live queries, aggregates and changed rights of one user may hold.",
    ),
  filterWorkPerUser: z
    .int()
    .min(100)
    .default(500_000)
    .describe(
      "Estimated cost of matching and sorting one document for all live queries of one user: predicates by values by the array walk, sort paths by the array walk.",
    ),
  workPerUserMs: z
    .int()
    .min(1)
    .max(1_000)
    .default(200)
    .describe(
      "Measured time of the event loop, per second, that the live queries of one user may take. Above the limit, the most expensive ones end. Decisions about their rights when lookups change may take half of it; above that they wait for up to a second, without any changes.",
    ),
  aggregateGroups: z
    .int()
    .min(1)
    .max(100_000)
    .default(1_000)
    .describe(
      "Groups that one aggregate may have; with more, the subscription ends with snapshot-too-large.",
    ),
  aggregateIntervalMs: z
    .int()
    .min(0)
    .max(10_000)
    .default(50)
    .describe(
      "The shortest time between two sends of the rows of one aggregate; changes in between are merged. The first change after a quiet time is sent at once. If many rows change again and again, they are held back for up to twenty times as long. 0s: each batch of commits is sent.",
    ),
  lookupValues: z
    .int()
    .min(1)
    .default(10_000)
    .describe(
      "Documents that one lookup of a rule may find, and values that they may have together. With more, the lookup grants nothing.",
    ),
  lookupBytes: z
    .int()
    .min(1_024)
    .default(16 * 1_048_576)
    .describe(
      "Size of those fields of these documents that the lookup uses, together, and of their values. With more, the lookup grants nothing.",
    ),
  catchUpStreams: z
    .int()
    .min(1)
    .max(100)
    .default(4)
    .describe("Extra change streams for resumptions from before the history; further resumptions wait."),
  catchUpTurnMs: z
    .int()
    .min(100)
    .max(600_000)
    .default(10_000)
    .describe(
      "How long resumptions keep one of these change streams while others wait for one. After that they wait for their next turn, and continue where they were.",
    ),
  commitSliceMs: z
    .int()
    .min(0)
    .max(1_000)
    .default(20)
    .describe(
      "How long the delivery of commits may hold the event loop before it yields, also within one large document. 0: it yields at each opportunity.",
    ),
  subscriptionsPerUser: z
    .int()
    .min(1)
    .default(2_000)
    .describe("Subscriptions of one user on this node, over all connections."),
  liveQueriesPerUser: z
    .int()
    .min(1)
    .default(1_000)
    .describe("Distinct live queries of one user on this node, including lingering ones."),
  lingeringPerUser: z
    .int()
    .min(0)
    .default(100)
    .describe(
      "Live queries that may linger after a user has left them. Above the limit, the oldest are removed first.",
    ),
  userRequestBytes: z
    .int()
    .min(1_024)
    .default(8 * 1_048_576)
    .describe("Size of the requests of one user's subscriptions on this node, together."),
  lingerMs: z
    .int()
    .min(0)
    .max(3_600_000)
    .default(10_000)
    .describe(
      "How long a live query is kept after its last subscriber has left, for a page that is reloading.",
    ),
});
/**
 * The part of the section `limits` that bounds snapshots, live queries and catch-up, with durations in milliseconds.
 */
export type FeedLimits = z.output<typeof FeedLimits>;

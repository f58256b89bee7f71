/** Commits, a timeline and a live query's definition, without a database. */
import { BSON } from "mongodb";
import { type Logger, pino } from "pino";
import { onTestFinished } from "vitest";
import { Feed } from "../../../src/feed/feed.ts";
import type { LiveQuerySpec } from "../../../src/feed/live-query-spec.ts";
import { FeedLimits, HistoryOptions } from "../../../src/feed/options.ts";
import type { OpenStream } from "../../../src/feed/shared-stream.ts";
import type { SliceClock } from "../../../src/feed/slices.ts";
import type { SnapshotReader } from "../../../src/feed/snapshot-reader.ts";
import { Timeline } from "../../../src/feed/timeline.ts";
import type { Turn } from "../../../src/feed/turn.ts";
import { canonicalFilter } from "../../../src/match/canonical-filter.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";
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

interface Doc {
  readonly _id: unknown;
  readonly [field: string]: unknown;
}

/** A write to one document of `db.things`, or of another collection of that database. */
export function eventOf(before: Doc | null, after: Doc | null, collection = "things"): ChangeEvent {
  return {
    operation: before === null ? "insert" : after === null ? "delete" : "update",
    namespace: `db.${collection}`,
    documentKey: docOf({ _id: (after ?? before)?._id }),
    before: before === null ? undefined : docOf(before),
    after: after === null ? undefined : docOf(after),
  };
}

export const insertOf = (document: Doc, collection = "things"): ChangeEvent =>
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

/** The live query of all documents of `db.things` that match. */
export function specOf(filter: object = {}, rest: Partial<LiveQuerySpec> = {}): LiveQuerySpec {
  const parsed = parseFilter(filter, { regex: "prefix" });
  return {
    key: `${canonicalFilter(parsed)} ${JSON.stringify([rest.sort, rest.limit])}`,
    database: "db",
    collectionName: "things",
    filter: parsed,
    projection: EVERYTHING,
    sort: null,
    limit: null,
    documents: "full",
    aggregate: null,
    requireIndex: false,
    ...rest,
  };
}

/** A feed that begins at `FROM`; the test accepts its commits, and answers its reads. */
export async function startFeed(
  reader: SnapshotReader,
  {
    limits = {},
    history = {},
    oplog = [],
    readOplog = readerOf(oplog),
    sliceClock,
    log = pino({ level: "silent" }),
  }: {
    readonly limits?: Partial<FeedLimits>;
    readonly history?: Partial<HistoryOptions>;
    /** The commits that the oplog holds. */
    readonly oplog?: readonly Commit[];
    /** Instead of `oplog`. */
    readonly readOplog?: OpenStream;
    readonly sliceClock?: SliceClock;
    readonly log?: Logger;
  } = {},
) {
  const metrics = createMetrics();
  const feed: Feed = new Feed({ ...HISTORY, ...history }, FeedLimits.parse(limits), {
    reader,
    deployment: { now: async () => feed.timeline.headTime },
    readOplog,
    idleAgeMs: 400,
    ...(sliceClock === undefined ? {} : { sliceClock }),
    log,
    metrics,
  });
  onTestFinished(() => feed.stop());
  await feed.begin(epochOf("0123abcd"), FROM);
  await feed.accept({ commits: [], through: FROM, ...NO_TOKEN });
  /** Accepts these commits as one batch. */
  const accept = (...commits: Commit[]) =>
    feed.accept({ commits, through: commits.at(-1)?.clusterTime ?? feed.timeline.headTime, ...NO_TOKEN });
  return { feed, metrics, accept };
}

const NO_TOKEN = { resumeToken: undefined, invalidated: undefined };

/** A stream whose first batch has all of these commits. */
function readerOf(oplog: readonly Commit[]): OpenStream {
  return async function* (from) {
    const commits = oplog.filter(({ clusterTime }) => clusterTime >= from);
    yield { commits, through: commits.at(-1)?.clusterTime ?? from, ...NO_TOKEN };
  };
}

/** Reads that need not wait for a turn. */
export const ALWAYS_FREE = { runShared: <T>(_turn: Turn, work: () => Promise<T>) => work() };

/** The interest of a feed whose stream contains all collections at any time. */
export const ALWAYS_READ = { ensure: () => undefined };

/** Lets everything happen that needs no clock and no input. */
export const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

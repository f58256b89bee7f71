/**
 * Computes the difference that a change of rights makes. When an edit of the rules or a write to a lookup changes what
 * a client may see, sending the whole result again would cost every client a snapshot, so only the documents that enter
 * or leave are sent.
 */
import { canonicalAggregate } from "../match/aggregate.ts";
import type { BsonValue } from "../match/bson-value.ts";
import { canonicalProjection, projectedEqual } from "../match/projection.ts";
import type { Projection } from "../match/projection-fields.ts";
import { projectedEqualInSteps } from "../match/projection-steps.ts";
import { SMALL_BYTES, StepPace, type Steps } from "../match/steps.ts";
import { filterToBson } from "../match/to-mongo.ts";
import { valueKey } from "../match/value-key.ts";
import { arrayOf, bytesOf, documentOf } from "../match/write-bson.ts";
import type { Cause } from "../protocol/messages.ts";
import type { StreamEvent } from "../source/change-event.ts";
import type { SnapshotQuery } from "../source/snapshot-cursor.ts";
import { type Change, idOf, UNKNOWN } from "./change.ts";
import type { HistoryEntry } from "./history.ts";
import type { LiveQuery } from "./live-query.ts";
import { type Pacer, paced } from "./pace.ts";
import type { WindowMember } from "./result-state.ts";
import type { Timeline } from "./timeline.ts";
import { type Touched, type TouchedDocument, windowChanges } from "./window-changes.ts";

/** The point at which rights changed: a commit, or the head of the stream for an edit of the rules. */
export interface GrantPoint {
  readonly entry: HistoryEntry | null;
  readonly clusterTime: bigint;
  readonly seq: number;
  /** The cursors that clients receive: for all but the last change of the difference, and for its end. */
  readonly published: { readonly before: string; readonly after: string };
}

/** The parts that `readGrantDiff` works with. */
export interface GrantDiffParts {
  readonly timeline: Timeline;
}

/** Reads documents, and charges them and the work of the comparison. */
export interface DiffReader extends Pacer {
  readAt(query: SnapshotQuery, clusterTime: bigint): Promise<Uint8Array[]>;
  /** Charges documents that the difference takes from commits, which the history may evict meanwhile. */
  keep(bytes: number): void;
}

/** Whether the difference can turn the state of one live query into that of another. */
export function canMove(from: LiveQuery, to: LiveQuery): boolean {
  return (
    from.namespace === to.namespace &&
    from.spec.documents === to.spec.documents &&
    hasSameProjection(from, to) &&
    hasSameWindow(from, to) &&
    hasSameGroups(from, to) &&
    from.state.visible !== null
  );
}

const hasSameProjection = ({ spec: a }: LiveQuery, { spec: b }: LiveQuery): boolean =>
  canonicalProjection(a.projection) === canonicalProjection(b.projection);

const hasSameGroups = ({ spec: a }: LiveQuery, { spec: b }: LiveQuery): boolean =>
  a.aggregate === null || b.aggregate === null
    ? a.aggregate === b.aggregate
    : canonicalAggregate(a.aggregate) === canonicalAggregate(b.aggregate);

const hasSameWindow = ({ spec: a }: LiveQuery, { spec: b }: LiveQuery): boolean =>
  a.limit === b.limit && JSON.stringify(a.sort) === JSON.stringify(b.sort);

/** A change of rights for a client that has the result of `from` and is to have that of `to`. */
export interface GrantMove {
  readonly from: LiveQuery;
  readonly to: LiveQuery;
  readonly at: GrantPoint;
  /** The state that the client has: the documents of a sorted live query in order, or the rows of an aggregate. */
  readonly held: readonly WindowMember[];
  /** The changes that a resuming client has missed since it had the state of `from`. */
  readonly missed?: Missed;
}

/**
 * The changes that a client missed while it was away. The commits are taken from the history when it is the turn of the
 * read, because the clients that wait would keep them in memory.
 */
export interface Missed {
  /** The client has the state at this entry. */
  readonly seq: number;
  /** A cluster time of that state; `null` if there is none. */
  readonly heldAt: bigint | null;
  /** Whether the client has documents, or only follows changes. */
  readonly wantsDocuments: boolean;
}

/**
 * Reads which documents become visible or invisible when rights change, exactly at the cluster time of the change. For
 * documents that the commit itself touched, their images decide: the state before it counts under the old rights, the
 * state after it under the new ones, so that no state in between becomes visible.
 * @returns `null` if the difference cannot be determined, or is larger than `most` documents.
 */
export async function readGrantDiff(
  reader: DiffReader,
  move: GrantMove,
  most: number,
  { timeline }: GrantDiffParts,
): Promise<Change[] | null> {
  if (move.to.spec.aggregate !== null) return readGroupDiff(reader, move, timeline);
  const commits = commitsOf(move, timeline);
  const touched = commits === null ? null : await paced(reader, touchedBy(move, commits));
  if (touched === null) return null;
  reader.keep(bytesOfTouched(touched));
  return move.to.spec.sort === null
    ? readResultDiff(reader, move, { touched, most })
    : readWindowDiff(reader, move, { touched, most, timeline });
}

/** The events of each commit that the difference covers; `null` if the history has evicted some of them. */
function commitsOf(
  { at, missed }: GrantMove,
  { history }: Timeline,
): readonly (readonly StreamEvent[])[] | null {
  if (missed === undefined) return at.entry === null ? [] : [at.entry.commit.events];
  const entries = history.entriesAfter(missed.seq);
  return entries?.slice(0, at.seq - missed.seq).map(({ commit }) => commit.events) ?? null;
}

function bytesOfTouched(touched: Touched): number {
  let bytes = 0;
  for (const { previous, document } of touched.values())
    bytes += (previous?.length ?? 0) + (document?.length ?? 0);
  return bytes;
}

async function readResultDiff(
  reader: DiffReader,
  { from, to, at, missed }: GrantMove,
  { touched, most }: Omit<Comparison, "timeline">,
): Promise<Change[] | null> {
  const causeOf = missed === undefined ? () => "grant" as const : causeOfMissed;
  const written = await paced(reader, touchedChanges(touched, causeOf));
  if (missed?.wantsDocuments === false) return written;
  const old = filterToBson(from.spec.filter);
  const now = filterToBson(to.spec.filter);
  const { database, collection, maxTimeMs } = to.snapshotQuery;
  const query = { database, collection, maxTimeMs, limit: most + 1 };
  const only = (wanted: BsonValue, unwanted: BsonValue) =>
    bytesOf(documentOf([["$and", arrayOf([wanted, documentOf([["$nor", arrayOf([unwanted])]])])]]));
  // One after the other, because both use one slot. One document more than allowed shows that there are too many.
  const left = await reader.readAt(
    { ...query, filter: only(old, now), projection: { _id: 1 } },
    at.clusterTime,
  );
  if (left.length > most) return null;
  const entered = await reader.readAt({ ...query, filter: only(now, old) }, at.clusterTime);
  if (entered.length > most) return null;
  const isUntouched = (document: Uint8Array) => !touched.has(valueKey(idOf(document)));
  return [
    ...left.filter(isUntouched).map((document): Change => removed(idOf(document))),
    ...written,
    ...entered.filter(isUntouched).map((document): Change => ({ type: "added", cause: "grant", document })),
  ];
}

/** The window as the client saw it last; `null` if it cannot be read. */
async function readHeld(
  reader: DiffReader,
  { snapshotQuery, spec }: LiveQuery,
  { heldAt }: Missed,
): Promise<WindowMember[] | null> {
  if (heldAt === null) return null;
  const documents = await reader.readAt(snapshotQuery, heldAt);
  return documents.slice(0, spec.limit ?? documents.length).map(memberOf);
}

function memberOf(document: Uint8Array): WindowMember & { readonly document: Uint8Array } {
  const idValue = idOf(document);
  return { id: valueKey(idValue), idValue, document };
}

interface Comparison {
  readonly touched: Touched;
  readonly most: number;
  readonly timeline: Timeline;
}

/** A sorted result is read completely, because its new state needs the same documents. */
async function readWindowDiff(
  reader: DiffReader,
  { from, to, at, held: known, missed }: GrantMove,
  { touched, most, timeline }: Comparison,
): Promise<Change[] | null> {
  const held = missed === undefined ? known : await readHeld(reader, from, missed);
  if (held === null) return null;
  const documents = await reader.readAt(to.snapshotQuery, at.clusterTime);
  const { limit } = to.spec;
  if (limit === null && documents.length > most) return null;
  await to.state.prepareLoad(documents);
  while (!timeline.isSettled) await timeline.settles;
  to.state.load(documents, at.clusterTime);
  const members = documents.slice(0, limit ?? documents.length).map(memberOf);
  return paced(
    reader,
    windowChanges(
      held,
      members,
      touched,
      ({ document }) => document,
      () => "grant",
    ),
  );
}

/** Computes the difference between two states of an aggregate. Rows are whole, so comparing the two states is enough. */
async function readGroupDiff(
  reader: DiffReader,
  { from, to, at, held: known, missed }: GrantMove,
  timeline: Timeline,
): Promise<Change[] | null> {
  let held = known;
  if (missed !== undefined) {
    const { heldAt } = missed;
    if (heldAt === null) return null;
    held = from.state.visibleIn(await reader.readAt(from.snapshotQuery, heldAt), heldAt);
  }
  const answers = await reader.readAt(to.snapshotQuery, at.clusterTime);
  const rows = to.state.visibleIn(answers, at.clusterTime);
  while (!timeline.isSettled) await timeline.settles;
  to.state.load(answers, at.clusterTime);
  const hasSameRights = from.spec.key === to.spec.key;
  return groupChanges(held, rows, hasSameRights ? "update" : "grant");
}

/** @param cause The cause of all changes, because the writes to the documents of a group in between are not known. */
function groupChanges(
  before: readonly WindowMember[],
  after: readonly WindowMember[],
  cause: Cause,
): Change[] {
  const isIn = new Set(after.map(({ id }) => id));
  const were = new Map(before.map(({ id, document }) => [id, document]));
  const left = before
    .filter(({ id }) => !isIn.has(id))
    .map(({ idValue }): Change => ({ type: "removed", cause, id: idValue }));
  const others = after.flatMap(({ id, document }): Change[] => {
    if (document === undefined) return [];
    const previous = were.get(id);
    if (previous === undefined) return [{ type: "added", cause, document }];
    return Buffer.compare(previous, document) === 0 ? [] : [{ type: "changed", cause, document, previous }];
  });
  return [...left, ...others];
}

const removed = (id: BsonValue): Change => ({ type: "removed", cause: "grant", id });

/**
 * The effect of the commits: from the old rights before them to the new rights after them.
 * @returns `null` if an image is missing.
 */
function* touchedBy(
  { from, to }: GrantMove,
  commits: readonly (readonly StreamEvent[])[],
): Steps<Touched | null> {
  const before = new Map<string, TouchedDocument>();
  const after = new Map<string, TouchedDocument>();
  for (const events of commits) {
    if ((yield* from.evaluation.touchedInSteps(events, before)) === UNKNOWN) return null;
    if ((yield* to.evaluation.touchedInSteps(events, after)) === UNKNOWN) return null;
  }
  const touched = new Map<string, TouchedDocument>();
  const pace = new StepPace();
  for (const id of new Set([...before.keys(), ...after.keys()])) {
    const { cause, documentKey } = after.get(id) ?? (before.get(id) as TouchedDocument); // the id comes from one of the two maps
    const previous = before.get(id)?.previous;
    const document = after.get(id)?.document;
    const isVisiblyChanged =
      previous === undefined ||
      document === undefined ||
      !(yield* areEqual(to.spec.projection, previous, document));
    touched.set(id, { cause, documentKey, previous, document, isVisiblyChanged });
    if (pace.isOver((previous?.length ?? 0) + (document?.length ?? 0))) yield;
  }
  return touched;
}

function* areEqual(projection: Projection, before: Uint8Array, after: Uint8Array): Steps<boolean> {
  if (before.length + after.length <= SMALL_BYTES) return projectedEqual(projection, before, after);
  return yield* projectedEqualInSteps(projection, before, after);
}

const causeOfMissed = (cause: Cause): Cause => cause;

function* touchedChanges(touched: Touched, causeOf: (cause: Cause) => Cause): Steps<Change[]> {
  const pace = new StepPace();
  const removals: Change[] = [];
  const changes: Change[] = [];
  for (const { cause, previous, document, isVisiblyChanged } of touched.values()) {
    if (previous !== undefined && document === undefined)
      removals.push({ type: "removed", cause: causeOf(cause), id: idOf(previous) });
    else if (previous === undefined && document !== undefined)
      changes.push({ type: "added", cause: causeOf(cause), document });
    else if (previous !== undefined && document !== undefined && isVisiblyChanged)
      changes.push({ type: "changed", cause, document, previous });
    if (pace.isOver(0)) yield;
  }
  // Removals first, so that a client with a limited window never has more documents than the limit.
  return [...removals.reverse(), ...changes];
}

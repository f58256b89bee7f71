/**
 * Computes the changes that turn one state of a limited, sorted result into the next. Clients apply them one after
 * another, so each must be correct at its place in the sequence, and a document that others merely pass must not be
 * sent again.
 */
import type { BsonValue } from "../match/bson-value.ts";
import { StepPace, type Steps } from "../match/steps.ts";
import type { Cause } from "../protocol/messages.ts";
import type { Change } from "./change.ts";
import type { WindowMember } from "./result-state.ts";

/** The effect of a commit on one document of the result. */
export interface TouchedDocument {
  readonly cause: Cause;
  readonly documentKey: Uint8Array;
  /** The document before the commit; `undefined` if it was not in the result. */
  readonly previous: Uint8Array | undefined;
  /** The document after the commit; `undefined` if it is not in the result any more. */
  readonly document: Uint8Array | undefined;
  /** Whether a visible field differs. */
  readonly isVisiblyChanged: boolean;
}

/** The documents that a commit touched, by the key of their `_id`. */
export type Touched = ReadonlyMap<string, TouchedDocument>;

/**
 * The cost of one member in a comparison, as bytes of a pace. It makes a pause possible after some hundreds of members.
 */
const MEMBER_STEP_BYTES = 256;

/**
 * Computes the changes between two states of a window. First come the documents that left. Then come those that entered
 * or moved, from the end of the window to its front, so that the document named by `before` is in its place already.
 * @param touched The documents written in between, by the key of the `_id`. All others have kept their order.
 * @param documentOf The content of a document that entered.
 * @param causeOf Why a document entered or left.
 */
export function* windowChanges<P extends WindowMember>(
  before: readonly WindowMember[],
  after: readonly P[],
  touched: Touched,
  documentOf: (member: P) => Uint8Array,
  causeOf: (id: string) => Cause,
): Steps<Change[]> {
  const pace = new StepPace();
  const isIn = yield* idsOf(after, pace);
  const was = yield* idsOf(before, pace);
  const changes: Change[] = [];
  for (const { id, idValue } of before) {
    if (!isIn.has(id)) changes.push({ type: "removed", cause: causeOf(id), id: idValue });
    if (pace.isOver(MEMBER_STEP_BYTES)) yield;
  }
  const moved = yield* movedIds({ before, after, touched, was }, pace);
  let next: BsonValue | null = null;
  for (const entry of after.toReversed()) {
    const touch = touched.get(entry.id);
    if (!was.has(entry.id)) {
      changes.push({ type: "added", cause: causeOf(entry.id), document: documentOf(entry), before: next });
    } else if (touch?.document !== undefined && (touch.isVisiblyChanged || moved.has(entry.id))) {
      const { cause, document, previous = document } = touch;
      changes.push({ type: "changed", cause, document, previous, before: next });
    }
    next = entry.idValue;
    if (pace.isOver(MEMBER_STEP_BYTES)) yield;
  }
  return changes;
}

function* idsOf(members: readonly WindowMember[], pace: StepPace): Steps<Set<string>> {
  const ids = new Set<string>();
  for (const { id } of members) {
    ids.add(id);
    if (pace.isOver(MEMBER_STEP_BYTES)) yield;
  }
  return ids;
}

/** Two states of a window, and what happened in between. */
interface Compared {
  readonly before: readonly WindowMember[];
  readonly after: readonly WindowMember[];
  readonly touched: ReadonlyMap<string, unknown>;
  /** The ids of the state before. */
  readonly was: ReadonlySet<string>;
}

/**
 * Finds the touched documents that have moved. Untouched ones keep their order among themselves, so a touched document
 * has not moved if it is still between the same two of them, together with the same touched ones.
 */
function* movedIds({ before, after, touched, was }: Compared, pace: StepPace): Steps<Set<string>> {
  const common = new Set<string>();
  for (const { id } of after) {
    if (was.has(id)) common.add(id);
    if (pace.isOver(MEMBER_STEP_BYTES)) yield;
  }
  const gapsBefore = yield* gapsOf(before, common, touched, pace);
  const gapsAfter = yield* gapsOf(after, common, touched, pace);
  const moved = new Set<string>();
  for (const [anchor, ids] of gapsAfter) {
    if (pace.isOver(ids.length * MEMBER_STEP_BYTES)) yield;
    const were = gapsBefore.get(anchor) ?? [];
    if (ids.length === were.length && ids.every((id, index) => id === were[index])) continue;
    for (const id of ids) moved.add(id);
  }
  return moved;
}

/** The touched documents of both states, grouped by the untouched one that they follow. */
function* gapsOf(
  members: readonly WindowMember[],
  common: ReadonlySet<string>,
  touched: ReadonlyMap<string, unknown>,
  pace: StepPace,
): Steps<Map<string | null, string[]>> {
  const gaps = new Map<string | null, string[]>();
  let anchor: string | null = null;
  for (const { id } of members) {
    if (pace.isOver(MEMBER_STEP_BYTES)) yield;
    if (!common.has(id)) continue;
    if (!touched.has(id)) {
      anchor = id;
      continue;
    }
    const ids = gaps.get(anchor);
    if (ids === undefined) gaps.set(anchor, [id]);
    else ids.push(id);
  }
  return gaps;
}

import type { BsonValue } from "../match/bson-value.ts";
import type { Cause } from "../protocol/messages.ts";
import type { Change } from "./change.ts";
import type { WindowMember } from "./result-state.ts";

/** The effect of a commit on one document of the result. */
export interface TouchedDocument {
  readonly cause: Cause;
  readonly documentKey: Uint8Array;
  /** Before the commit; absent where it was not in the result. */
  readonly previous: Uint8Array | undefined;
  /** After it; absent where it is not in the result any more. */
  readonly document: Uint8Array | undefined;
  /** A visible field differs. */
  readonly isVisiblyChanged: boolean;
}

/** The documents that a commit touched, by the key of their `_id`. */
export type Touched = ReadonlyMap<string, TouchedDocument>;

/**
 * The changes that turn one state of a window into another: first the documents that left, then, from the end to the
 * front, those that came or moved. So the document that each one is put before is there already.
 * @param touched The documents written in between, by the key of the `_id`; all others have kept their order.
 * @param documentOf The content of a document that came.
 * @param causeOf Why a document came or left.
 */
export function windowChanges<P extends WindowMember>(
  before: readonly WindowMember[],
  after: readonly P[],
  touched: Touched,
  documentOf: (member: P) => Uint8Array,
  causeOf: (id: string) => Cause,
): Change[] {
  const isIn = new Set(after.map(({ id }) => id));
  const was = new Set(before.map(({ id }) => id));
  const changes: Change[] = [];
  for (const { id, idValue } of before) {
    if (!isIn.has(id)) changes.push({ type: "removed", cause: causeOf(id), id: idValue });
  }
  const moved = movedIds(before, after, touched);
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
  }
  return changes;
}

/**
 * Which touched documents have moved. Untouched ones keep their order among themselves, so a touched document has not
 * moved if it still lies between the same two of them, together with the same touched ones.
 */
function movedIds(
  before: readonly WindowMember[],
  after: readonly WindowMember[],
  touched: ReadonlyMap<string, unknown>,
): Set<string> {
  const stays = new Set(before.map(({ id }) => id));
  const common = new Set(after.filter(({ id }) => stays.has(id)).map(({ id }) => id));
  const gapsBefore = gapsOf(before, common, touched);
  const gapsAfter = gapsOf(after, common, touched);
  const moved = new Set<string>();
  for (const [anchor, ids] of gapsAfter) {
    const were = gapsBefore.get(anchor) ?? [];
    if (ids.length === were.length && ids.every((id, index) => id === were[index])) continue;
    for (const id of ids) moved.add(id);
  }
  return moved;
}

/** The touched documents in common, by the untouched one that they follow. */
function gapsOf(
  members: readonly WindowMember[],
  common: ReadonlySet<string>,
  touched: ReadonlyMap<string, unknown>,
): Map<string | null, string[]> {
  const gaps = new Map<string | null, string[]>();
  let anchor: string | null = null;
  for (const { id } of members) {
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

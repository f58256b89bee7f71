import type { BsonValue } from "../match/bson-value.ts";
import type { Cause } from "../protocol/messages.ts";
import type { Change } from "./change.ts";
import type { WindowPlace } from "./result-state.ts";

/** What a commit did to one document of the result. */
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

export type Touched = ReadonlyMap<string, TouchedDocument>;

/**
 * What turns one state of a window into another: what left first, then, from the end to the front, what has come or
 * moved, so that the document each one is put before stands there already.
 * @param touched What was written in between, by the key of the `_id`; all else has kept its order.
 * @param documentOf A document that has come.
 * @param causeOf Why one has come or left.
 */
export function windowChanges<P extends WindowPlace>(
  before: readonly WindowPlace[],
  after: readonly P[],
  touched: Touched,
  documentOf: (place: P) => Uint8Array,
  causeOf: (id: string) => Cause,
): Change[] {
  const isIn = new Set(after.map(({ id }) => id));
  const was = new Set(before.map(({ id }) => id));
  const changes: Change[] = [];
  for (const { id, idValue } of before) {
    if (!isIn.has(id)) changes.push({ type: "removed", cause: causeOf(id), id: idValue });
  }
  const moved = movedIds(before, after, touched);
  let place: BsonValue | null = null;
  for (const entry of after.toReversed()) {
    const touch = touched.get(entry.id);
    if (!was.has(entry.id)) {
      changes.push({ type: "added", cause: causeOf(entry.id), document: documentOf(entry), place });
    } else if (touch?.document !== undefined && (touch.isVisiblyChanged || moved.has(entry.id))) {
      const { cause, document, previous = document } = touch;
      changes.push({ type: "changed", cause, document, previous, place });
    }
    place = entry.idValue;
  }
  return changes;
}

/**
 * Which touched documents have to be put in their place anew. Untouched ones keep their order among themselves,
 * so a touched one has stayed if it lies between the same two of them, in the same company.
 */
function movedIds(
  before: readonly WindowPlace[],
  after: readonly WindowPlace[],
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
  places: readonly WindowPlace[],
  common: ReadonlySet<string>,
  touched: ReadonlyMap<string, unknown>,
): Map<string | null, string[]> {
  const gaps = new Map<string | null, string[]>();
  let anchor: string | null = null;
  for (const { id } of places) {
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

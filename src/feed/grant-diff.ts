import type { MongoClient } from "mongodb";
import type { BsonValue } from "../match/bson-value.ts";
import { toMongo } from "../match/to-mongo.ts";
import { valueKey } from "../match/value-key.ts";
import { SnapshotCursor } from "../source/snapshot-cursor.ts";
import { type Change, idOf, UNKNOWN } from "./change.ts";
import type { HistoryEntry } from "./history.ts";
import type { LiveQuery } from "./live-query.ts";

/** The point at which rights changed: a commit, or the head of the stream for an edit of the rules. */
export interface GrantPoint {
  readonly entry: HistoryEntry | null;
  readonly clusterTime: bigint;
  readonly seq: number;
}

/** Whether the state of one live query can become that of another by telling the difference. */
export function canMove(from: LiveQuery, to: LiveQuery): boolean {
  return (
    from.namespace === to.namespace &&
    from.windowSpec === null &&
    to.windowSpec === null &&
    from.spec.documents === to.spec.documents &&
    from.hasSameProjection(to)
  );
}

/**
 * What comes into sight and what leaves it when rights change: read at the very cluster time of the change. The
 * documents that the commit itself touched are told from their images: the state before it was seen under the
 * old rights, the state after it is judged by the new ones alone, so that nothing in between shows.
 * @returns `null` where the difference can not be told, or is larger than `most` documents.
 */
export async function readGrantDiff(
  client: MongoClient,
  from: LiveQuery,
  to: LiveQuery,
  at: GrantPoint,
  most: number,
): Promise<Change[] | null> {
  const touched = touchedChanges(from, to, at.entry);
  if (touched === null) return null;
  const old = toMongo(from.spec.filter);
  const now = toMongo(to.spec.filter);
  const { database, collection } = to.snapshotQuery;
  const query = { database, collection, limit: most + 1 };
  const only = (wanted: object, unwanted: object) => ({ $and: [wanted, { $nor: [unwanted] }] });
  const [left, entered] = await Promise.all([
    SnapshotCursor.readAt(
      client,
      { ...query, filter: only(old, now), projection: { _id: 1 } },
      at.clusterTime,
    ),
    SnapshotCursor.readAt(client, { ...query, filter: only(now, old) }, at.clusterTime),
  ]);
  if (left.length > most || entered.length > most) return null;
  const isUntouched = (document: Uint8Array) => !touched.ids.has(valueKey(idOf(document)));
  return [
    ...left.filter(isUntouched).map((document): Change => removed(idOf(document))),
    ...touched.changes,
    ...entered.filter(isUntouched).map((document): Change => ({ type: "added", cause: "grant", document })),
  ];
}

const removed = (id: BsonValue): Change => ({ type: "removed", cause: "grant", id });

/** The documents of the commit that changed the rights, from what was seen before to what is seen after it. */
function touchedChanges(
  from: LiveQuery,
  to: LiveQuery,
  entry: HistoryEntry | null,
): { ids: Set<string>; changes: Change[] } | null {
  const events = entry?.commit.events ?? [];
  const before = from.touchedBy(events);
  const after = to.touchedBy(events);
  if (before === UNKNOWN || after === UNKNOWN) return null;
  const ids = new Set([...before.keys(), ...after.keys()]);
  const changes: Change[] = [];
  for (const id of ids) {
    const previous = before.get(id)?.previous;
    const document = after.get(id)?.document;
    if (previous !== undefined && document === undefined) changes.unshift(removed(idOf(previous)));
    else if (previous === undefined && document !== undefined)
      changes.push({ type: "added", cause: "grant", document });
    else if (previous !== undefined && document !== undefined && !to.looksEqual(previous, document)) {
      changes.push({ type: "changed", cause: after.get(id)?.cause ?? "grant", document, previous });
    }
  }
  return { ids, changes };
}

import { holderOf } from "../auth/subject.ts";
import { AFTER, BEFORE, epochOf, type Position } from "../feed/cursor.ts";
import type { StartRequest } from "../feed/delivery.ts";
import type { StartReason, SubscribeMessage } from "../protocol/messages.ts";
import type { EffectiveQuery } from "../rules/authorize.ts";
import type { Connection } from "./connection.ts";

/**
 * [3.3] A cursor counts only with a genuine ticket of this user, for the live query that the request comes to
 * now, from no later than the cursor. So nobody sees what a document held before they were allowed to see it.
 */
export async function toStartRequest(
  connection: Connection,
  { snapshot, cursor, ticket }: SubscribeMessage,
  query: EffectiveQuery,
): Promise<StartRequest> {
  const wanted = snapshot !== false;
  const refuse = (reason: StartReason) => ({ snapshot: wanted, resumeFrom: null, refused: reason });
  if (cursor === undefined) return { snapshot: wanted, resumeFrom: null, refused: null };
  const { feed, sealer } = connection.context;
  const position = feed.decode(cursor);
  if (position === "invalid" || ticket === undefined) return refuse("cursor-invalid");
  const opened = await sealer.open(ticket);
  // A replaced deployment may have other keys: there no ticket of before is genuine.
  if (opened === null) return refuse(position === "other-epoch" ? "history-lost" : "cursor-invalid");
  if (opened.holder !== holderOf(connection.identity)) return refuse("cursor-invalid");
  if (position === "other-epoch") {
    const isOfTicket = epochOf(cursor) === epochOf(opened.since);
    return refuse(isOfTicket ? "history-lost" : "cursor-invalid");
  }
  if (opened.key !== query.key) return refuse("rights-changed");
  const since = feed.decode(opened.since);
  if (typeof since === "string" || since.clusterTime > position.clusterTime) return refuse("cursor-invalid");
  // A watermark may name no more than the cluster time of the snapshot before it. What is held begins at
  // `since` in any case, and nothing before that is anybody's to see.
  return { snapshot: wanted, resumeFrom: isLater(since, position) ? since : position, refused: null };
}

/** Of one cluster time, whether `a` is certainly later. Two commits of it have no order to be told from them. */
function isLater(a: Position, b: Position): boolean {
  if (a.clusterTime !== b.clusterTime) return false;
  return b.within === BEFORE ? a.within !== BEFORE : a.within === AFTER && b.within !== AFTER;
}

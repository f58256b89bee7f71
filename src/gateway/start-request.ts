import { holderOf } from "../auth/subject.ts";
import { AFTER, epochOf, isLater, isStep, type Position } from "../feed/cursor.ts";
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
  const told = feed.decode(opened.told);
  if (typeof since === "string" || typeof told === "string") return refuse("cursor-invalid");
  if (cursor !== opened.told && !isAfterStart(position, { since, told }, feed.tellsExactly))
    return refuse("cursor-invalid");
  // A cursor may name an earlier point than the client holds, since clients receive the head in steps. What the client
  // holds begins at `since` in any case, and nothing before that may be shown.
  return { snapshot: wanted, resumeFrom: isLater(since, position) ? since : position, cursor, refused: null };
}

/**
 * Whether a position that a client knows is later than the start of its ticket. Steps and hidden positions are compared
 * by the clock: the answer must not tell whether anything was written in between.
 */
function isAfterStart(
  position: Position,
  { since, told }: { since: Position; told: Position },
  tellsExactly: boolean,
): boolean {
  if (tellsExactly) return position.clusterTime >= since.clusterTime;
  // A subscription has one snapshot: another cursor of this kind belongs to another subscription.
  if (position.step !== undefined) return told.step === undefined && position.step > told.clusterTime;
  if (isStep(position)) return position.clusterTime >= (told.step ?? told.clusterTime);
  if (since.within === AFTER) return position.clusterTime > since.clusterTime;
  return position.clusterTime >= since.clusterTime;
}

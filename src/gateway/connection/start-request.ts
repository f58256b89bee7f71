import { holderOf } from "../../auth/subject.ts";
import type { Identity } from "../../auth/verify-token.ts";
import { epochOf, isLater, type Position } from "../../feed/cursor.ts";
import type { StartRequest } from "../../feed/delivery.ts";
import type { Ticket } from "../../feed/ticket.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { StartReason, SubscribeMessage } from "../../protocol/messages.ts";
import {
  authorizeParsed,
  type EffectiveQuery,
  LookupsNeeded,
  type LookupValues,
} from "../../rules/authorize.ts";
import { hasEnded, isDueForRenewal, isSameToken } from "../rights/ticket-terms.ts";
import type { Connection } from "./connection.ts";
import { HeldLookups, type RightsOwner } from "./held-lookups.ts";
import type { Subscription } from "./subscriptions.ts";

/**
 * [3.3] A cursor counts only with a genuine ticket of this user, for the live query that the request comes to
 * now, from no later than the cursor. So nobody sees what a document held before they were allowed to see it.
 */
export async function toStartRequest(
  connection: Connection,
  { snapshot, cursor, ticket }: SubscribeMessage,
  subscription: Subscription,
): Promise<StartRequest & { readonly keptTicket?: string | null }> {
  const wanted = snapshot !== false;
  const refuse = (reason: StartReason) => ({ snapshot: wanted, resumeFrom: null, refused: reason });
  if (cursor === undefined) return { snapshot: wanted, resumeFrom: null, refused: null };
  const { identity } = connection;
  const { feed, sealer, ticketTerms } = connection.context;
  const nowMs = Date.now();
  const position = feed.timeline.codec.decode(cursor);
  if (position === "invalid" || ticket === undefined) return refuse("cursor-invalid");
  const opened = await sealer.open(ticket);
  // A replaced deployment may have other keys: there no ticket of before is genuine.
  if (opened === null) return refuse(position === "other-epoch" ? "history-lost" : "cursor-invalid");
  if (opened.holder !== holderOf(identity)) return refuse("cursor-invalid");
  if (position === "other-epoch") {
    const isOfTicket = epochOf(cursor) === epochOf(opened.since);
    return refuse(isOfTicket ? "history-lost" : "cursor-invalid");
  }
  if (hasEnded(opened.terms, identity, nowMs, ticketTerms)) return refuse("rights-changed");
  const held = await heldQuery(connection, subscription, opened);
  if (held === null) {
    noteLost(connection, identity, opened, subscription.request.collection);
    return refuse("rights-changed");
  }
  const since = feed.timeline.codec.decode(opened.since);
  const told = feed.timeline.codec.decode(opened.told);
  if (typeof since === "string" || typeof told === "string") return refuse("cursor-invalid");
  if (cursor !== opened.told && !isAfterStart(position, { since, told }, feed.cursors.tellsExactly))
    return refuse("cursor-invalid");
  if (
    await wasLostSince(connection, identity, opened, { collection: subscription.request.collection, since })
  )
    return refuse("rights-changed");
  // A cursor may name an earlier point than the client holds, since clients receive the head in steps. What the client
  // holds begins at `since` in any case, and nothing before that may be shown.
  const resumeFrom = isLater(since, position) ? since : position;
  const isSame = held.key === subscription.attachment.query.key;
  // After a difference the old ticket would stand for another live query.
  const mayBeKept =
    isSame && isSameToken(opened.terms, identity) && !isDueForRenewal(opened.terms, nowMs, ticketTerms);
  const keptTicket = mayBeKept && sealer.mayBeKept(ticket) ? ticket : null;
  return {
    snapshot: wanted,
    resumeFrom,
    cursor,
    keptTicket,
    refused: null,
    ...(isSame ? {} : { heldQuery: held }),
  };
}

/**
 * A request was refused although a ticket shows that its user had the right. Where the token is another one than that of
 * the ticket, the user has lost the right by it.
 */
export async function noteRefused(
  connection: Connection,
  { collection, ticket }: SubscribeMessage,
  error: unknown,
): Promise<void> {
  const isRefused =
    error instanceof TidewireError && (error.code === "forbidden" || error.code === "unknown-collection");
  if (!isRefused || ticket === undefined) return;
  const { identity } = connection;
  // Where the keys cannot be read just now, the ticket cannot be used either.
  const opened = await connection.context.sealer.open(ticket).catch(() => null);
  if (opened !== null && opened.holder === holderOf(identity))
    noteLost(connection, identity, opened, collection);
}

function noteLost(
  { context: { feed, lostRights } }: Connection,
  identity: Identity | null,
  { terms, holder }: Ticket,
  collection: string,
): void {
  if (!isSameToken(terms, identity)) lostRights.note(holder, collection, feed.timeline.headTime, Date.now());
}

/** Whether a token of this user was seen without the right after the subscription had begun. */
async function wasLostSince(
  { context: { lostRights } }: Connection,
  identity: Identity | null,
  { holder, terms }: Ticket,
  { collection, since }: { readonly collection: string; readonly since: Position },
): Promise<boolean> {
  // Under the very token of the ticket nothing can have been lost in between, as far as other nodes could know.
  const lostAt = isSameToken(terms, identity)
    ? lostRights.knownAt(holder, collection)
    : await lostRights.at(holder, collection);
  return lostAt !== null && since.clusterTime <= lostAt;
}

/**
 * The live query that a ticket was given for, if the request still comes to it; or if it did under another step of
 * `%%now`, everything else being equal. `null` for any other.
 */
async function heldQuery(
  connection: Connection,
  { attachment, request, lookups }: Subscription,
  { key, nowMs }: Ticket,
): Promise<EffectiveQuery | null> {
  const { query } = attachment;
  if (key === query.key) return query;
  if (nowMs === null || query.nowMs === null || nowMs === query.nowMs) return null;
  const { rules, feed } = connection.context;
  const temporary = new HeldLookups(feed, NOBODY);
  const values: LookupValues = (lookup) => lookups.values(lookup) ?? temporary.values(lookup);
  const judge = () => authorizeParsed(rules, connection.identity, request, nowMs, values);
  try {
    const then = await judgeWithLookups(judge, temporary);
    return then.key === key ? then : null;
  } catch (error) {
    if (error instanceof TidewireError && error.code !== "unavailable") return null;
    throw error;
  } finally {
    temporary.release();
  }
}

/** The sets are only looked at, and nothing follows from their changes. */
const NOBODY: RightsOwner = { rightsChanged: () => {}, rightsFailed: () => {} };

async function judgeWithLookups(judge: () => EffectiveQuery, lookups: HeldLookups): Promise<EffectiveQuery> {
  try {
    return judge();
  } catch (error) {
    if (!(error instanceof LookupsNeeded)) throw error;
    await lookups.acquire(error.lookups);
    return judge();
  }
}

/**
 * Whether a position that a client knows is later than the start of its ticket. Two hidden positions are compared by when
 * they were told: the answer must not tell whether anything was written in between.
 */
function isAfterStart(
  position: Position,
  { since, told }: { since: Position; told: Position },
  tellsExactly: boolean,
): boolean {
  if (tellsExactly) return position.clusterTime >= since.clusterTime;
  if (told.issuedMs === undefined) return position.clusterTime >= since.clusterTime;
  if (position.issuedMs !== undefined) return position.issuedMs >= told.issuedMs;
  return position.clusterTime > since.clusterTime;
}

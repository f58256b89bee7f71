/**
 * [3.3] Judges a cursor and its ticket, as pure functions of facts that were gathered before. A cursor counts only with
 * a genuine ticket of this user, for the live query that the request asks for now, from no later than the cursor. So no
 * client receives content that a document had before the user was allowed to read it.
 */
import { holderOf } from "../../auth/subject.ts";
import type { Identity } from "../../auth/verify-token.ts";
import { type DecodedCursor, epochOf, isLater, type Position } from "../../feed/cursor.ts";
import type { StartRequest } from "../../feed/delivery-opening.ts";
import type { Ticket } from "../../feed/ticket.ts";
import type { StartReason } from "../../protocol/messages.ts";
import type { EffectiveQuery } from "../../rules/authorize.ts";
import type { Loss } from "../rights/lost-rights.ts";
import { hasEnded, isDueForRenewal, isSameToken, type TermsOptions } from "../rights/ticket-terms.ts";

/** How a subscription starts, and the ticket that the client may keep. */
export interface ResumableStart extends StartRequest {
  readonly keptTicket: string | null;
}

/** The client that presents a cursor and a ticket, and the time at which it does so. */
export interface Presenter {
  readonly identity: Identity | null;
  readonly nowMs: number;
  readonly terms: TermsOptions;
}

/** The positions between which a ticket was sealed. */
export interface TicketStart {
  /** The start of the rights that the ticket proves. */
  readonly since: Position;
  /** The position that the client received with the ticket. */
  readonly lastSent: Position;
}

/** A start without a cursor, or with one that is refused for a reason. */
export const freshStart = (snapshot: boolean, refused: StartReason | null = null): ResumableStart => ({
  snapshot,
  resumeFrom: null,
  keptTicket: null,
  refused,
});

/**
 * Judges a cursor and a ticket by themselves, before the live query is known.
 * @param opened The content of the ticket; `null` if it is not genuine.
 * @returns The reason to refuse them, or `null`.
 */
export function refusalOfTicket(
  { cursor, position }: { readonly cursor: string; readonly position: DecodedCursor },
  opened: Ticket | null,
  { identity, nowMs, terms }: Presenter,
): StartReason | null {
  if (position === "invalid") return "cursor-invalid";
  // A replaced deployment may have other sealing keys, under which no earlier ticket is genuine.
  if (opened === null) return position === "other-epoch" ? "history-lost" : "cursor-invalid";
  if (opened.holder !== holderOf(identity)) return "cursor-invalid";
  if (position === "other-epoch") {
    const isOfTicket = epochOf(cursor) === epochOf(opened.since);
    return isOfTicket ? "history-lost" : "cursor-invalid";
  }
  if (hasEnded(opened.terms, identity, nowMs, terms)) return "rights-changed";
  // The version that sealed it recorded lost rights in another form, so it is unknown what the user lost since then.
  const isOfEarlierVersion = opened.collection === "";
  return isOfEarlierVersion && !isSameToken(opened.terms, identity) ? "rights-changed" : null;
}

/**
 * Judges a position against the start of a ticket.
 * @param isLastSent The cursor is exactly the one that the client received with the ticket.
 * @param isExact Clients receive exact positions, and not only the head in steps.
 */
export function isWithinTicket(
  position: Position,
  start: TicketStart,
  { isLastSent, isExact }: { readonly isLastSent: boolean; readonly isExact: boolean },
): boolean {
  return isLastSent || isAfterStart(position, start, isExact);
}

/**
 * Whether a token of this user was seen without the right after the rights of the ticket began.
 * @param lossMark The mark in the ticket. A ticket that was sealed with knowledge of the loss is not affected by it.
 */
export const wasLostSince = (since: Position, lossMark: string, loss: Loss | null): boolean =>
  loss !== null && loss.mark !== lossMark && since.clusterTime <= loss.at;

/**
 * The start from a cursor and a ticket that have passed every check.
 * @param held The live query of the ticket.
 * @param asked The live query that the request asks for now.
 * @param mayBeKept The service's keys allow the client to keep the ticket.
 */
export function resumedStart(
  {
    snapshot,
    cursor,
    ticket,
  }: { readonly snapshot: boolean; readonly cursor: string; readonly ticket: string },
  { position, since }: { readonly position: Position; readonly since: Position },
  { held, asked }: { readonly held: EffectiveQuery; readonly asked: EffectiveQuery },
  opened: Ticket,
  { identity, nowMs, terms }: Presenter,
  mayBeKept: boolean,
): ResumableStart {
  // A cursor may name an earlier point than the client's state, because clients receive the head in steps. The client's
  // documents begin at `since` in any case, and nothing from before that may be shown.
  const resumeFrom = isLater(since, position) ? since : position;
  const isSame = held.key === asked.key;
  // After a difference the old ticket would name another live query.
  const isCurrent =
    isSame && isSameToken(opened.terms, identity) && !isDueForRenewal(opened.terms, nowMs, terms);
  return {
    snapshot,
    resumeFrom,
    cursor,
    keptTicket: isCurrent && mayBeKept ? ticket : null,
    refused: null,
    ...(isSame ? {} : { heldQuery: held }),
  };
}

/**
 * Whether a position that a client knows is later than the start of its ticket. Two hidden positions are compared by
 * their time of issue, because the answer must not reveal whether anything was written in between.
 */
function isAfterStart(position: Position, { since, lastSent }: TicketStart, isExact: boolean): boolean {
  if (isExact) return position.clusterTime >= since.clusterTime;
  if (lastSent.issuedMs === undefined) return position.clusterTime >= since.clusterTime;
  if (position.issuedMs !== undefined) return position.issuedMs >= lastSent.issuedMs;
  return position.clusterTime > since.clusterTime;
}

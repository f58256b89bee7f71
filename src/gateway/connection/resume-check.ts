/**
 * Decides whether a client may resume from a cursor. The pure rules are in `start-request.ts`; this file gathers their
 * facts, some of which need MongoDB.
 */
import { holderOf } from "../../auth/subject.ts";
import type { Identity } from "../../auth/verify-token.ts";
import type { Ticket } from "../../feed/ticket.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { StartReason, SubscribeMessage } from "../../protocol/messages.ts";
import { authorizeParsed, type EffectiveQuery } from "../../rules/authorize.ts";
import { LookupsNeeded, type LookupValues } from "../../rules/bind-rule.ts";
import { collectionDigest } from "../rights/collection-digest.ts";
import type { Loss } from "../rights/lost-rights.ts";
import { isSameToken } from "../rights/ticket-terms.ts";
import { HeldLookups, type RightsOwner } from "./held-lookups.ts";
import {
  freshStart,
  isWithinTicket,
  type Presenter,
  type ResumableStart,
  refusalOfTicket,
  resumedStart,
  wasLostSince,
} from "./start-request.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionHost } from "./subscription-host.ts";

/**
 * [3.3] Gathers the facts that decide whether a subscription may resume, cheapest first: the ticket itself, then the
 * live query of the ticket, then the shared record of lost rights.
 */
export async function toStartRequest(
  connection: SubscriptionHost,
  { snapshot: wanted, cursor, ticket }: SubscribeMessage,
  subscription: Subscription,
): Promise<ResumableStart> {
  const snapshot = wanted !== false;
  if (cursor === undefined) return freshStart(snapshot);
  const refuse = (reason: StartReason) => freshStart(snapshot, reason);
  const { feed, sealer, ticketTerms } = connection.context;
  const presenter = { identity: connection.identity, nowMs: Date.now(), terms: ticketTerms };
  const position = feed.timeline.codec.decode(cursor);
  if (position === "invalid" || ticket === undefined) return refuse("cursor-invalid");
  const opened = await sealer.open(ticket);
  const refusal = refusalOfTicket({ cursor, position }, opened, presenter);
  if (refusal !== null) return refuse(refusal);
  // The two values were judged by `refusalOfTicket`. This line only narrows their types.
  if (opened === null || position === "other-epoch") return refuse("cursor-invalid");
  const held = await heldQuery(connection, subscription, opened);
  if (held === null) {
    noteLost(connection, presenter.identity, opened);
    return refuse("rights-changed");
  }
  const since = feed.timeline.codec.decode(opened.since);
  const lastSent = feed.timeline.codec.decode(opened.lastSent);
  if (typeof since === "string" || typeof lastSent === "string") return refuse("cursor-invalid");
  const { isExact } = feed.cursors;
  const isLastSent = cursor === opened.lastSent;
  if (!isWithinTicket(position, { since, lastSent }, { isLastSent, isExact }))
    return refuse("cursor-invalid");
  const loss = await lastLoss(connection, presenter, opened, held);
  if (wasLostSince(since, opened.lossMark, loss)) return refuse("rights-changed");
  const queries = { held, asked: subscription.attachment.query };
  const asked = { snapshot, cursor, ticket };
  return resumedStart(asked, { position, since }, queries, opened, presenter, sealer.mayBeKept(ticket));
}

/**
 * Records a lost right if a request was refused although a ticket proves that its user had the right. If the token
 * differs from that of the ticket, the user has lost the right by it. The ticket says in which collection: the name in
 * the request may name no collection any more, or another one.
 */
export async function noteRefused(
  connection: SubscriptionHost,
  { ticket }: SubscribeMessage,
  error: unknown,
): Promise<void> {
  const isRefused =
    error instanceof TidewireError && (error.code === "forbidden" || error.code === "unknown-collection");
  if (!isRefused || ticket === undefined) return;
  const { identity } = connection;
  // If the keys cannot be read at the moment, the ticket cannot be used either.
  const opened = await connection.context.sealer.open(ticket).catch(() => null);
  if (opened !== null && opened.holder === holderOf(identity)) noteLost(connection, identity, opened);
}

function noteLost(
  { context: { feed, lostRights } }: SubscriptionHost,
  identity: Identity | null,
  { terms, holder, collection }: Ticket,
): void {
  if (!isSameToken(terms, identity)) lostRights.note(holder, collection, feed.timeline.headTime, Date.now());
}

/** The last time that a token of this user was seen without the right; `null` if there was none. */
async function lastLoss(
  { context: { lostRights } }: SubscriptionHost,
  { identity, nowMs }: Presenter,
  { holder, terms }: Ticket,
  held: EffectiveQuery,
): Promise<Loss | null> {
  const collection = collectionDigest(held);
  // Under the very token of the ticket nothing can have been lost in between, as far as other nodes could know.
  return isSameToken(terms, identity)
    ? lostRights.known(holder, collection)
    : lostRights.last(holder, collection, nowMs);
}

/**
 * The live query for which a ticket was issued, if the request still asks for it, or asked for it under another step of
 * `%%now` with everything else equal.
 * @returns `null` for any other.
 */
async function heldQuery(
  connection: SubscriptionHost,
  { attachment, request, lookups }: Subscription,
  { key, nowMs }: Ticket,
): Promise<EffectiveQuery | null> {
  const { query } = attachment;
  if (key === query.key) return query;
  if (nowMs === null || query.nowMs === null || nowMs === query.nowMs) return null;
  const { rules, feed } = connection.context;
  const temporary = new HeldLookups(feed, NOBODY, connection.login.account);
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

/** The sets are only read here, and their changes have no effect. */
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

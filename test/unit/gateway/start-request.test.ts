import { expect, test } from "vitest";
import { holderOf, subjectOf } from "../../../src/auth/subject.ts";
import type { Identity } from "../../../src/auth/verify-token.ts";
import { AFTER, CursorCodec, type Position } from "../../../src/feed/cursor.ts";
import type { Ticket } from "../../../src/feed/ticket.ts";
import {
  freshStart,
  isWithinTicket,
  refusalOfTicket,
  resumedStart,
  wasLostSince,
} from "../../../src/gateway/connection/start-request.ts";
import { termsFor } from "../../../src/gateway/rights/ticket-terms.ts";
import type { EffectiveQuery } from "../../../src/rules/authorize.ts";

const NOW_MS = 1_700_000_000_000;
const terms = { maxAgeMs: 86_400_000, clockToleranceMs: 5_000 };

const user = (sub: string, more: Partial<Identity> = {}): Identity => ({
  claims: { sub },
  sub,
  subject: subjectOf({ sub }),
  signedBy: "key",
  issuedAtMs: NOW_MS,
  expiresAtMs: null,
  tokenId: null,
  ...more,
});

const ann = user("ann");
const codec = new CursorCodec({ id: "0123abcd", cursorKey: new Uint8Array(16).fill(7) });
const older = new CursorCodec({ id: "89abcdef", cursorKey: new Uint8Array(16).fill(8) });
const at = (clusterTime: bigint, issuedMs?: number): Position => ({
  clusterTime,
  within: AFTER,
  ...(issuedMs === undefined ? {} : { issuedMs }),
});
const since = at(10n);
const position = at(20n);
const cursor = codec.encode(position);

const ticketOf = (identity: Identity | null, more: Partial<Ticket> = {}): Ticket => ({
  key: "asked",
  since: codec.encode(since),
  lastSent: codec.encode(since),
  nowMs: null,
  holder: holderOf(identity),
  lossMark: "",
  collection: "shop.orders",
  terms: termsFor(identity, NOW_MS, terms),
  ...more,
});

const presenter = { identity: ann as Identity | null, nowMs: NOW_MS + 1_000, terms };
const query = (key: string) => ({ key }) as EffectiveQuery; // all that the start looks at

/** Judges a cursor of this epoch with a ticket of Ann, except as said. */
const refusal = (said: {
  position?: Parameters<typeof refusalOfTicket>[0]["position"];
  cursor?: string;
  ticket?: Ticket | null;
  presenter?: Partial<typeof presenter>;
}) =>
  refusalOfTicket(
    { cursor: said.cursor ?? cursor, position: said.position ?? position },
    said.ticket === undefined ? ticketOf(ann) : said.ticket,
    { ...presenter, ...said.presenter },
  );

test("[3.3] a cursor with a genuine ticket of the same user counts", () => {
  expect(refusal({})).toBeNull();
});

test("[3.3] a text that is no cursor is invalid, whatever the ticket", () => {
  expect(refusal({ position: "invalid" })).toBe("cursor-invalid");
  expect(refusal({ position: "invalid", ticket: null })).toBe("cursor-invalid");
});

test("[3.3] a cursor without a genuine ticket is invalid", () => {
  expect(refusal({ ticket: null })).toBe("cursor-invalid");
});

test("[3.3] a cursor of a replaced deployment, whose keys are gone, has lost its history", () => {
  expect(refusal({ position: "other-epoch", ticket: null })).toBe("history-lost");
});

test("[3.3] a ticket of another user does not count, nor does one of an anonymous user", () => {
  expect(refusal({ ticket: ticketOf(user("bob")) })).toBe("cursor-invalid");
  expect(refusal({ ticket: ticketOf(null) })).toBe("cursor-invalid");
  expect(refusal({ presenter: { identity: null } })).toBe("cursor-invalid");
  expect(refusal({ ticket: ticketOf(null), presenter: { identity: null } })).toBeNull();
});

test("[3.3] another user's ticket is invalid also where the epoch is another one", () => {
  const ticket = ticketOf(user("bob"), { since: older.encode(since) });
  expect(refusal({ position: "other-epoch", cursor: older.encode(position), ticket })).toBe("cursor-invalid");
});

test("[3.3] a cursor of an earlier epoch has lost its history where the ticket is of that epoch, too", () => {
  const earlier = { position: "other-epoch" as const, cursor: older.encode(position) };
  expect(refusal({ ...earlier, ticket: ticketOf(ann, { since: older.encode(since) }) })).toBe("history-lost");
  expect(refusal({ ...earlier, ticket: ticketOf(ann) })).toBe("cursor-invalid");
});

test("[3.3] a ticket that is too old shows no rights any more", () => {
  const ending = (afterMs: number) => refusal({ presenter: { nowMs: NOW_MS + afterMs } });
  expect(ending(terms.maxAgeMs - 1)).toBeNull();
  expect(ending(terms.maxAgeMs)).toBe("rights-changed");
});

test("[3.3] a gap between the token of the ticket and the present one shows no rights", () => {
  const expiring = user("ann", { expiresAtMs: NOW_MS, claims: { sub: "ann", n: 1 } });
  const next = (issuedAtMs: number) =>
    refusal({ ticket: ticketOf(expiring), presenter: { identity: user("ann", { issuedAtMs }) } });
  expect(next(NOW_MS + 5_000)).toBeNull();
  expect(next(NOW_MS + 5_001)).toBe("rights-changed");
});

test("[3.3] a ticket of an earlier version counts under its own token alone, because nobody knows of losses since", () => {
  const ticket = ticketOf(ann, { collection: "" });
  expect(refusal({ ticket })).toBeNull();
  const newer = user("ann", { claims: { sub: "ann", n: 1 } });
  expect(refusal({ ticket, presenter: { identity: newer } })).toBe("rights-changed");
  expect(refusal({ presenter: { identity: newer } })).toBeNull();
});

const within = (
  where: Position,
  lastSent: Position,
  { isLastSent = false, isExact = false, since: from = since } = {},
) => isWithinTicket(where, { since: from, lastSent }, { isLastSent, isExact });

test("[3.3] with exact cursors a cursor counts from the start of its ticket on", () => {
  expect(within(at(9n), since, { isExact: true })).toBe(false);
  expect(within(at(10n), since, { isExact: true })).toBe(true);
});

test("[3.3] the very cursor that came with the ticket counts, also where it is earlier than the start", () => {
  expect(within(at(9n), since, { isLastSent: true })).toBe(true);
});

test("[3.3] where the ticket came with a shown cursor, positions are compared by their cluster times", () => {
  expect(within(at(9n, 5_000), at(8n))).toBe(false);
  expect(within(at(10n, 1), at(8n))).toBe(true);
});

test("[3.3] two hidden cursors are compared by when they were issued, and not by what was written between", () => {
  expect(within(at(99n, 999), at(8n, 1_000))).toBe(false);
  expect(within(at(1n, 1_000), at(8n, 1_000))).toBe(true);
});

test("[3.3] the cursor of a change counts after a hidden start if it is later than the start", () => {
  expect(within(at(10n), at(8n, 1_000))).toBe(false);
  expect(within(at(11n), at(8n, 1_000))).toBe(true);
});

test("[3.3] a right that was lost at the start of the ticket or later does not resume", () => {
  const lostAt = (at: bigint) => wasLostSince(since, "", { at, mark: "loss" });
  expect(wasLostSince(since, "", null)).toBe(false);
  expect(lostAt(9n)).toBe(false);
  expect(lostAt(10n)).toBe(true);
  expect(lostAt(11n)).toBe(true);
});

test("[3.3] a ticket that was sealed after the loss resumes, also where nothing was written in between", () => {
  const loss = { at: 10n, mark: "second" };
  expect(wasLostSince(since, "second", loss)).toBe(false);
  expect(wasLostSince(since, "first", loss)).toBe(true);
});

const resumed = ({
  where = position,
  held = "asked",
  ticket = ticketOf(ann),
  nowMs = presenter.nowMs,
  identity = ann,
  mayBeKept = true,
  snapshot = true,
} = {}) =>
  resumedStart(
    { snapshot, cursor, ticket: "sealed" },
    { position: where, since },
    { held: query(held), asked: query("asked") },
    ticket,
    { ...presenter, nowMs, identity },
    mayBeKept,
  );

test("[3.3] a resumption continues from the cursor, and not from before the start of the ticket", () => {
  expect(resumed()).toMatchObject({ resumeFrom: position, cursor, refused: null, snapshot: true });
  expect(resumed({ where: at(9n) }).resumeFrom).toEqual(since);
  expect(resumed({ snapshot: false }).snapshot).toBe(false);
});

test("[3.3] a ticket is kept under its own token, before half of its time, while the keys allow it", () => {
  expect(resumed().keptTicket).toBe("sealed");
  expect(resumed({ mayBeKept: false }).keptTicket).toBeNull();
  expect(resumed({ nowMs: NOW_MS + terms.maxAgeMs / 2 - 1 }).keptTicket).toBe("sealed");
  expect(resumed({ nowMs: NOW_MS + terms.maxAgeMs / 2 }).keptTicket).toBeNull();
  expect(resumed({ identity: user("ann", { claims: { sub: "ann", n: 2 } }) }).keptTicket).toBeNull();
});

test("[3.3] a live query of an earlier step of time resumes by its difference, with a ticket of its own", () => {
  expect(resumed()).not.toHaveProperty("heldQuery");
  expect(resumed({ held: "before" })).toMatchObject({ heldQuery: { key: "before" }, keptTicket: null });
});

test("[3.3] a start without a cursor, or with a refused one, resumes nothing and keeps no ticket", () => {
  const fresh = { resumeFrom: null, keptTicket: null };
  expect(freshStart(true)).toEqual({ ...fresh, snapshot: true, refused: null });
  expect(freshStart(false, "cursor-invalid")).toEqual({
    ...fresh,
    snapshot: false,
    refused: "cursor-invalid",
  });
});

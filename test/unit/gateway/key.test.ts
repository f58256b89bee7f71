import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { holderOf, subjectOf } from "../../../src/auth/subject.ts";
import { SEALED, Sealer } from "../../../src/feed/sealer.ts";
import { TicketSealer } from "../../../src/feed/ticket.ts";
import { UrlKeys } from "../../../src/gateway/rights/key.ts";

const START_MS = 1_700_000_000_000;
const TERMS = { sealedAtMs: START_MS, token: "digest", untilMs: null };
const LIFETIME_MS = 30_000;
const TOLERANCE_MS = 5_000;

function setup(spend: (id: string, expiresAtMs: number) => Promise<boolean> = onceEach()) {
  const sealing = [{ id: 1, key: randomBytes(32) }];
  const sealer = new Sealer(sealing, async () => sealing);
  const tickets = new TicketSealer(sealer);
  const options = { lifetimeMs: LIFETIME_MS, clockToleranceMs: TOLERANCE_MS };
  return { sealer, tickets, keys: new UrlKeys(options, { sealer, tickets, spend }) };
}

function onceEach() {
  const spent = new Set<string>();
  return async (id: string) => {
    if (spent.has(id)) return false;
    spent.add(id);
    return true;
  };
}

const identity = (sub: string | null = "u1", expiresAtMs: number | null = START_MS + 3_600_000) => ({
  claims: { sub, roles: ["a"] },
  sub,
  subject: subjectOf({ sub: sub ?? undefined }),
  expiresAtMs,
  issuedAtMs: null,
  tokenId: null,
  signedBy: "key",
});
const refused = (reason: string) =>
  expect.objectContaining({ code: "unauthenticated", retry: "token", details: { reason } });

test("a key speaks for the user whose token it was made from", async () => {
  const { keys } = setup();
  const { key, expires } = keys.issue(identity(), START_MS);
  expect(expires).toBe(START_MS + LIFETIME_MS);
  expect(await keys.redeem(key, null, START_MS)).toEqual(identity());
});

test("a key opens a stream until its lifetime is over, and not a millisecond longer", async () => {
  const { keys } = setup();
  const give = () => keys.issue(identity(), START_MS).key;
  await keys.redeem(give(), null, START_MS + LIFETIME_MS - 1);
  await expect(keys.redeem(give(), null, START_MS + LIFETIME_MS)).rejects.toThrow(refused("expired"));
});

test("a key is taken once", async () => {
  const { keys } = setup();
  const { key } = keys.issue(identity(), START_MS);
  await keys.redeem(key, null, START_MS);
  await expect(keys.redeem(key, null, START_MS)).rejects.toThrow(refused("invalid"));
});

test("a spent key is taken again with an event id of its user until the token expires, clocks' difference included", async () => {
  const { keys, tickets } = setup();
  const { key } = keys.issue(identity(), START_MS);
  await keys.redeem(key, null, START_MS);
  const ticket = tickets.seal({
    terms: TERMS,
    key: "q",
    since: "c",
    lastSent: "c",
    nowMs: null,
    holder: holderOf(identity("u1")),
    lossMark: "",
  });
  const lastEventId = { mark: tickets.mark(ticket), ticket, cursor: "c" };
  const endMs = START_MS + 3_600_000 + TOLERANCE_MS;
  expect(await keys.redeem(key, lastEventId, endMs - 1)).toEqual(identity());
  await expect(keys.redeem(key, lastEventId, endMs)).rejects.toThrow(refused("expired"));
});

test("an event id of another user, or a ticket that was in no event, does not bring a spent key back", async () => {
  const { keys, tickets } = setup();
  const { key } = keys.issue(identity(), START_MS);
  await keys.redeem(key, null, START_MS);
  const theirs = tickets.seal({
    terms: TERMS,
    key: "q",
    since: "c",
    lastSent: "c",
    nowMs: null,
    holder: holderOf(identity("u2")),
    lossMark: "",
  });
  const mine = tickets.seal({
    terms: TERMS,
    key: "q",
    since: "c",
    lastSent: "c",
    nowMs: null,
    holder: holderOf(identity("u1")),
    lossMark: "",
  });
  const ids = [
    { mark: tickets.mark(theirs), ticket: theirs },
    { mark: tickets.mark(theirs), ticket: mine },
    { mark: "", ticket: mine },
    { mark: mine, ticket: mine },
    { mark: tickets.mark("invented"), ticket: "invented" },
  ];
  for (const id of ids) {
    await expect(keys.redeem(key, { ...id, cursor: "c" }, START_MS)).rejects.toThrow(refused("invalid"));
  }
});

test("an event id of another session does not stop a key that is still good", async () => {
  const { keys } = setup();
  const { key } = keys.issue(identity(), START_MS);
  expect(await keys.redeem(key, { mark: "m", ticket: "t", cursor: "c" }, START_MS)).toEqual(identity());
});

test("a key lives no longer than its token", async () => {
  const { keys } = setup();
  const { expires } = keys.issue(identity("u1", START_MS + 1_000), START_MS);
  expect(expires).toBe(START_MS + 1_000 + TOLERANCE_MS);
  expect(keys.issue(identity("u1", null), START_MS).expires).toBe(START_MS + LIFETIME_MS);
});

test("a token without an end, or without a user, makes a key as well", async () => {
  const { keys } = setup();
  const { key } = keys.issue(identity(null, null), START_MS);
  expect(await keys.redeem(key, null, START_MS)).toEqual(identity(null, null));
});

test("a used key is remembered longer than it could be used", async () => {
  let untilMs = 0;
  const { keys } = setup(async (_id, expiresAtMs) => {
    untilMs = expiresAtMs;
    return true;
  });
  await keys.redeem(keys.issue(identity(), START_MS).key, null, START_MS);
  expect(untilMs).toBeGreaterThan(START_MS + LIFETIME_MS);
  expect(untilMs).toBeLessThanOrEqual(START_MS + LIFETIME_MS + 60_000);
});

test("a key is refused if it is unknown whether it was used", async () => {
  const { keys } = setup(() => Promise.reject(new Error("no server")));
  const { key } = keys.issue(identity(), START_MS);
  await expect(keys.redeem(key, null, START_MS)).rejects.toMatchObject({
    code: "unavailable",
    retry: "later",
  });
});

test("a ticket is no key, an altered or invented key none either", async () => {
  const { keys, tickets, sealer } = setup();
  const { key } = keys.issue(identity(), START_MS);
  const bytes = Buffer.from(key, "base64url");
  const altered = [...bytes.keys()].map((at) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy.toString("base64url");
  });
  const ticket = tickets.seal({
    terms: TERMS,
    key: "q",
    since: "c",
    lastSent: "c",
    nowMs: null,
    holder: holderOf(identity("u1")),
    lossMark: "",
  });
  const asTicket = sealer.seal(
    SEALED.ticket,
    JSON.stringify({ id: "x", useByMs: START_MS * 2, identity: identity() }),
  );
  for (const given of ["", "invented", ticket, asTicket, `${key}A`, key.slice(1), ...altered]) {
    await expect(keys.redeem(given, null, START_MS)).rejects.toThrow(refused("invalid"));
  }
  expect(await tickets.open(key)).toBeNull();
});

test("a used key of a user without a sub is refused, because the user cannot be identified", async () => {
  const { keys, tickets } = setup();
  const { key } = keys.issue(identity(null), START_MS);
  await keys.redeem(key, null, START_MS);
  const ticket = tickets.seal({
    terms: TERMS,
    key: "q",
    since: "c",
    lastSent: "c",
    nowMs: null,
    holder: holderOf(identity(null)),
    lossMark: "",
  });
  const lastEventId = { mark: tickets.mark(ticket), ticket, cursor: "c" };
  await expect(keys.redeem(key, lastEventId, START_MS)).rejects.toThrow(refused("invalid"));
});

import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { holderOf, subjectOf } from "../../../src/auth/subject.ts";
import { Sealer } from "../../../src/feed/sealer.ts";
import { TicketSealer } from "../../../src/feed/ticket.ts";
import { type NewUrlKey, UrlKeys, type UrlKeysStore } from "../../../src/gateway/rights/url-keys.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";

const START_MS = 1_700_000_000_000;
const LIFETIME_MS = 30_000;
const TOLERANCE_MS = 5_000;
const MAX_AGE_MS = 86_400_000;
const MARGIN_MS = 60_000;
const HOUR_MS = 3_600_000;

type Saved = NewUrlKey & { isUsed: boolean; expiresAtMs: number };

/** A store of one node, in memory: the real one is tested on a real server (test/integration/source/url-key-store.test.ts). */
function inMemory() {
  const entries = new Map<string, Saved>();
  const store: UrlKeysStore = {
    async add(key, _nowMs, expiresAtMs) {
      entries.set(key.id, { ...key, isUsed: false, expiresAtMs });
      return 0;
    },
    find: async (id) => entries.get(id) ?? null,
    async spend(id, _nowMs, expiresAtMs) {
      const entry = entries.get(id);
      if (entry === undefined || entry.isUsed) return false;
      entries.set(id, { ...entry, isUsed: true, expiresAtMs });
      return true;
    },
    async keep(id, _nowMs, expiresAtMs) {
      const entry = entries.get(id);
      if (entry !== undefined) entries.set(id, { ...entry, expiresAtMs });
    },
  };
  return { store, entries };
}

function setup(overrides: Partial<UrlKeysStore> = {}) {
  const sealing = [{ id: 1, key: randomBytes(32) }];
  const sealer = new Sealer(sealing, async () => sealing);
  const tickets = new TicketSealer(sealer);
  const { store, entries } = inMemory();
  const metrics = createMetrics();
  const options = {
    lifetimeMs: LIFETIME_MS,
    perUser: 3,
    maxAgeMs: MAX_AGE_MS,
    clockToleranceMs: TOLERANCE_MS,
  };
  const keys = new UrlKeys(options, { sealer, tickets, store: { ...store, ...overrides }, metrics });
  const only = () => {
    const [entry, ...more] = entries.values();
    if (entry === undefined || more.length > 0) throw new Error(`${entries.size} entries`);
    return entry;
  };
  const outcomes = async () =>
    Object.fromEntries(
      (await metrics.urlKeys.get()).values.map(({ labels, value }) => [labels["outcome"], value]),
    );
  return { tickets, keys, entries, only, outcomes };
}

const identity = (sub: string | null = "u1", expiresAtMs: number | null = START_MS + HOUR_MS) => ({
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

/** The id of an event that a stream of this user has received. */
function eventIdOf(tickets: TicketSealer, user: ReturnType<typeof identity>) {
  const ticket = ticketOf(tickets, user);
  return { mark: tickets.mark(ticket), ticket, cursor: "c" };
}

const ticketOf = (tickets: TicketSealer, user: ReturnType<typeof identity>) =>
  tickets.seal({
    terms: { sealedAtMs: START_MS, token: "digest", untilMs: null },
    key: "q",
    since: "c",
    lastSent: "c",
    nowMs: null,
    holder: holderOf(user),
    lossMark: "",
    collection: "shop.orders",
  });

test("a key speaks for the user whose token it was made from", async () => {
  const { keys, outcomes } = setup();
  const { key, expires } = await keys.issue(identity(), START_MS);
  expect(expires).toBe(START_MS + LIFETIME_MS);
  expect(await keys.redeem(key, null, START_MS)).toEqual(identity());
  expect(await outcomes()).toMatchObject({ issued: 1, used: 1 });
});

test("a key has 43 characters, however large the claims are, and differs each time", async () => {
  const { keys } = setup();
  const large = { ...identity(), claims: { sub: "u1", groups: "x".repeat(30_000) } };
  const issued = [await keys.issue(identity(), START_MS), await keys.issue(large, START_MS)];
  for (const { key } of issued) expect(key).toMatch(/^[\w-]{43}$/);
  expect(issued[0]?.key).not.toBe(issued[1]?.key);
  expect(await keys.redeem(issued[1]?.key ?? "", null, START_MS)).toEqual(large);
});

test("the saved key reveals neither the claims nor the key", async () => {
  const { keys, only } = setup();
  const { key } = await keys.issue(identity("a-secret-name"), START_MS);
  const { id, user, sealed } = only();
  for (const text of [id, user, sealed]) {
    expect(text).not.toContain(key);
    expect(Buffer.from(text, "base64url").toString("latin1")).not.toContain("a-secret-name");
  }
  await expect(keys.redeem(id, null, START_MS)).rejects.toThrow(refused("invalid"));
});

test("an entry under another key does not open, because the identity is sealed under its own", async () => {
  const { keys, entries } = setup();
  const admin = await keys.issue(identity("admin"), START_MS);
  const [stolen] = entries.values();
  const mine = await keys.issue(identity("u1"), START_MS);
  const id = [...entries.keys()].find((other) => other !== stolen?.id) ?? "";
  if (stolen !== undefined) entries.set(id, { ...stolen, id });
  await expect(keys.redeem(mine.key, null, START_MS)).rejects.toThrow(refused("invalid"));
  expect(await keys.redeem(admin.key, null, START_MS)).toEqual(identity("admin"));
});

test("a key opens a stream until its lifetime is over, and not a millisecond longer", async () => {
  const { keys } = setup();
  const give = async () => (await keys.issue(identity(), START_MS)).key;
  await keys.redeem(await give(), null, START_MS + LIFETIME_MS - 1);
  await expect(keys.redeem(await give(), null, START_MS + LIFETIME_MS)).rejects.toThrow(refused("expired"));
});

test("a key is taken once", async () => {
  const { keys, outcomes } = setup();
  const { key } = await keys.issue(identity(), START_MS);
  await keys.redeem(key, null, START_MS);
  await expect(keys.redeem(key, null, START_MS)).rejects.toThrow(refused("invalid"));
  expect(await outcomes()).toMatchObject({ issued: 1, used: 1, refused: 1 });
});

test("a key that another node takes between the two steps is refused here", async () => {
  const { keys } = setup({ spend: async () => false });
  const { key } = await keys.issue(identity(), START_MS);
  await expect(keys.redeem(key, null, START_MS)).rejects.toThrow(refused("invalid"));
});

test("a used key is taken again with an event id of its user until the token expires, clocks' difference included", async () => {
  const { keys, tickets, outcomes } = setup();
  const { key } = await keys.issue(identity(), START_MS);
  await keys.redeem(key, null, START_MS);
  const lastEventId = eventIdOf(tickets, identity("u1"));
  const endMs = START_MS + HOUR_MS + TOLERANCE_MS;
  expect(await keys.redeem(key, lastEventId, endMs - 1)).toEqual(identity());
  await expect(keys.redeem(key, lastEventId, endMs)).rejects.toThrow(refused("expired"));
  expect(await outcomes()).toMatchObject({ "used-again": 1, refused: 1 });
});

test("an event id does not bring an unused key back once it is too old", async () => {
  const { keys, tickets } = setup();
  const { key } = await keys.issue(identity(), START_MS);
  const id = eventIdOf(tickets, identity("u1"));
  await expect(keys.redeem(key, id, START_MS + LIFETIME_MS)).rejects.toThrow(refused("expired"));
});

test("an event id of another user, or a ticket that was in no event, does not bring a used key back", async () => {
  const { keys, tickets } = setup();
  const { key } = await keys.issue(identity(), START_MS);
  await keys.redeem(key, null, START_MS);
  const [theirs, mine] = [ticketOf(tickets, identity("u2")), ticketOf(tickets, identity("u1"))];
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
  const { key } = await keys.issue(identity(), START_MS);
  expect(await keys.redeem(key, { mark: "m", ticket: "t", cursor: "c" }, START_MS)).toEqual(identity());
});

test("a key lives no longer than its token", async () => {
  const { keys } = setup();
  const { expires } = await keys.issue(identity("u1", START_MS + 1_000), START_MS);
  expect(expires).toBe(START_MS + 1_000 + TOLERANCE_MS);
  expect((await keys.issue(identity("u1", null), START_MS)).expires).toBe(START_MS + LIFETIME_MS);
});

test("a token without an end, or without a user, makes a key as well", async () => {
  const { keys } = setup();
  const { key } = await keys.issue(identity(null, null), START_MS);
  expect(await keys.redeem(key, null, START_MS)).toEqual(identity(null, null));
});

test("an unused key is saved for its lifetime, a used one until its token expires", async () => {
  const { keys, only } = setup();
  const { key } = await keys.issue(identity(), START_MS);
  expect(only().expiresAtMs).toBe(START_MS + LIFETIME_MS + MARGIN_MS);
  await keys.redeem(key, null, START_MS);
  expect(only().expiresAtMs).toBe(START_MS + HOUR_MS + TOLERANCE_MS + MARGIN_MS);
});

test("a used key of a token without an end is saved for as long as a ticket counts after its last use", async () => {
  const { keys, tickets, only } = setup();
  const forever = identity("u1", null);
  const { key } = await keys.issue(forever, START_MS);
  await keys.redeem(key, null, START_MS);
  expect(only().expiresAtMs).toBe(START_MS + MAX_AGE_MS + MARGIN_MS);
  await keys.redeem(key, eventIdOf(tickets, forever), START_MS + HOUR_MS);
  expect(only().expiresAtMs).toBe(START_MS + HOUR_MS + MAX_AGE_MS + MARGIN_MS);
});

test("the latest end that a token can have is a date", async () => {
  const { keys, only } = setup();
  const { key } = await keys.issue(identity("u1", 8.64e15), START_MS);
  await keys.redeem(key, null, START_MS);
  expect(new Date(only().expiresAtMs).getTime()).toBe(8.64e15);
});

test("evicted keys are counted", async () => {
  const limits: number[] = [];
  const { keys, outcomes } = setup({
    add: async (_key, _nowMs, _expiresAtMs, limit) => {
      limits.push(limit);
      return 2;
    },
  });
  await keys.issue(identity(), START_MS);
  expect(limits).toEqual([3]);
  expect(await outcomes()).toMatchObject({ issued: 1, evicted: 2 });
});

const away = () => Promise.reject(new Error("no server"));
const unavailable = { code: "unavailable", retry: "later", message: expect.stringContaining("MongoDB") };

test("no key is issued that could not be saved", async () => {
  const { keys } = setup({ add: away });
  await expect(keys.issue(identity(), START_MS)).rejects.toMatchObject(unavailable);
});

test.each(["find", "spend"] as const)("a key is refused if the store fails to %s it", async (step) => {
  const { keys } = setup({ [step]: away });
  const { key } = await keys.issue(identity(), START_MS);
  await expect(keys.redeem(key, null, START_MS)).rejects.toMatchObject(unavailable);
});

test("a ticket is no key, an altered or invented key none either", async () => {
  const { keys, tickets } = setup();
  const { key } = await keys.issue(identity(), START_MS);
  const bytes = Buffer.from(key, "base64url");
  const altered = [...bytes.keys()].map((at) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy.toString("base64url");
  });
  const ticket = ticketOf(tickets, identity("u1"));
  // The same 32 bytes, spelled differently: the last character has two bits to spare.
  const respelled = key.slice(0, -1) + String.fromCharCode(key.charCodeAt(42) + 1);
  for (const given of ["", "invented", ticket, `${key}A`, key.slice(1), respelled, ...altered]) {
    await expect(keys.redeem(given, null, START_MS)).rejects.toThrow(refused("invalid"));
  }
  expect(await tickets.open(key)).toBeNull();
  expect(await keys.redeem(key, null, START_MS)).toEqual(identity());
});

test("a used key of a user without a sub is refused, because the user cannot be identified", async () => {
  const { keys, tickets } = setup();
  const { key } = await keys.issue(identity(null), START_MS);
  await keys.redeem(key, null, START_MS);
  const lastEventId = eventIdOf(tickets, identity(null));
  await expect(keys.redeem(key, lastEventId, START_MS)).rejects.toThrow(refused("invalid"));
});

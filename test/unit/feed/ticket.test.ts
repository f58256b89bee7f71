import { expect, test } from "vitest";
import { SEALED, Sealer } from "../../../src/feed/sealer.ts";
import { TicketSealer } from "../../../src/feed/ticket.ts";

const keys = [{ id: 3, key: new Uint8Array(32).fill(1) }];
const sealer = new TicketSealer(new Sealer(keys, async () => keys));
const terms = { sealedAtMs: 1_700_000_000_000, token: "digest", untilMs: 1_700_000_600_000 };
const ticket = {
  key: "live-query",
  since: "cursor",
  lastSent: "earlier",
  nowMs: 60_000,
  holder: "u1",
  lossMark: "",
  collection: "shop.orders",
  terms,
};

test.each([
  ticket,
  { ...ticket, holder: "" },
  { ...ticket, lossMark: "mark" },
  { ...ticket, terms: { ...terms, token: "", untilMs: null } },
  { ...ticket, holder: "null" },
  { ...ticket, holder: '"],["\ud83d\ude00' },
])("opens a sealed ticket with its original content: %j", async (given) => {
  expect(await sealer.open(sealer.seal(given))).toEqual(given);
});

test("opens a ticket of an earlier version, which names no collection", async () => {
  const { key, since, holder, lastSent, nowMs, lossMark } = ticket;
  const { sealedAtMs, token, untilMs } = terms;
  const parts = [key, since, holder, lastSent, nowMs, sealedAtMs, token, untilMs, lossMark];
  const sealed = new Sealer(keys, async () => keys).seal(SEALED.ticket, JSON.stringify(parts));
  expect(await sealer.open(sealed)).toEqual({ ...ticket, collection: "" });
});

test("two tickets of the same are not alike, and neither shows what is in it", () => {
  // Long enough that random bytes do not contain it by chance.
  const given = { ...ticket, holder: "the-holder" };
  const [one, two] = [sealer.seal(given), sealer.seal(given)];
  expect(one).not.toBe(two);
  expect(Buffer.from(one, "base64url").toString("latin1")).not.toMatch(/live-query|cursor|the-holder/);
});

test("anonymous clients that ask for the same share a ticket, until its key is no longer the newest", async () => {
  const loaded = { keys };
  const inner = new Sealer(keys, async () => loaded.keys);
  const own = new TicketSealer(inner);
  const anonymous = { ...ticket, holder: "", terms: { ...terms, token: "", untilMs: null } };
  const first = own.seal(anonymous);
  expect(own.seal({ ...anonymous })).toBe(first);
  expect(own.seal({ ...anonymous, since: "other" })).not.toBe(first);
  loaded.keys = [{ id: 4, key: new Uint8Array(32).fill(2) }, ...keys];
  await inner.reload();
  expect(own.seal(anonymous)).not.toBe(first);
  expect(await own.open(first)).toEqual(anonymous);
});

test("refuses a ticket in which one bit was changed", async () => {
  const bytes = Buffer.from(sealer.seal(ticket), "base64url");
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const altered = Buffer.from(bytes);
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(await sealer.open(altered.toString("base64url")), `bit ${bit}`).toBeNull();
  }
});

test("a ticket cut short, made longer or spelt otherwise is not genuine", async () => {
  const sealed = sealer.seal(ticket);
  for (const text of [
    "",
    "A",
    sealed.slice(0, -1),
    sealed.slice(1),
    `${sealed}A`,
    `${sealed}=`,
    `${sealed}\n`,
    sealed.repeat(2),
  ]) {
    expect(await sealer.open(text), JSON.stringify(text)).toBeNull();
  }
});

test("a ticket of other keys is not genuine, though the number of the key be the same", async () => {
  const others = [{ id: 3, key: new Uint8Array(32).fill(2) }];
  const other = new TicketSealer(new Sealer(others, async () => others));
  expect(await sealer.open(other.seal(ticket))).toBeNull();
});

test("a ticket need not be replaced while its key is the newest", async () => {
  const old = sealer.seal(ticket);
  expect(sealer.mayBeKept(old)).toBe(true);
  const rotated = [{ id: 4, key: new Uint8Array(32).fill(3) }, ...keys];
  const later = new TicketSealer(new Sealer(rotated, async () => rotated));
  expect(await later.open(old)).toEqual(ticket);
  expect(later.mayBeKept(old)).toBe(false);
  expect(later.mayBeKept(later.seal(ticket))).toBe(true);
});

import { expect, test } from "vitest";
import { type AffectedUser, AffectedUsers } from "../../../src/gateway/affected-users.ts";

const user = (sub: string | null, more: Partial<AffectedUser> = {}): AffectedUser => ({
  sub,
  isAnonymous: sub === null,
  collection: "orders",
  effect: "loses",
  from: "staff",
  to: "customer",
  ...more,
});

function sampleOf(users: Iterable<AffectedUser>): readonly AffectedUser[] {
  const affected = new AffectedUsers();
  for (const each of users) affected.add(each);
  return affected.sample();
}

const many = (count: number, more: Partial<AffectedUser> = {}) =>
  Array.from({ length: count }, (_, index) => user(`u${index}`, more));

test("holds 20 users, and not one more", () => {
  expect(sampleOf([])).toEqual([]);
  expect(sampleOf(many(20))).toEqual(many(20));
  expect(sampleOf(many(21))).toEqual(many(20));
});

test("names a user once, however many of their subscriptions have the same effect", () => {
  expect(sampleOf([user("ada"), user("ben"), user("ada")])).toEqual([user("ada"), user("ben")]);
  expect(sampleOf([user("ada"), user("ada", { collection: "news" })])).toHaveLength(2);
});

test("keeps anonymous users apart from tokens without a sub", () => {
  const nameless = user(null, { isAnonymous: false });
  expect(sampleOf([user(null), nameless, user(null)])).toEqual([user(null), nameless]);
});

test("shows every effect, collection and pair of rules before a second user of one of them", () => {
  const ends = { effect: "ends", to: null } as const;
  const sample = sampleOf([
    ...many(30, { effect: "gains" }),
    ...many(30),
    user("ben", { ...ends, collection: "news" }),
    user("cyd", ends),
  ]);
  // The most serious effect is first.
  expect(sample.slice(0, 2)).toEqual([user("ben", { ...ends, collection: "news" }), user("cyd", ends)]);
  expect(sample.slice(2)).toEqual([...many(9), ...many(9, { effect: "gains" })]);
});

test("prefers serious effects if there are more kinds than places", () => {
  const kinds = (effect: AffectedUser["effect"]) =>
    Array.from({ length: 30 }, (_, index) => user("ada", { effect, to: `rule ${index}` }));
  expect(sampleOf([...kinds("unknown"), ...kinds("ends")])).toEqual(kinds("ends").slice(0, 20));
});

test("cuts a sub of more than 200 characters, and never within a character", () => {
  const [longest, cut] = ["a".repeat(200), `${"a".repeat(199)}…`];
  expect(sampleOf([user(longest)])).toEqual([user(longest)]);
  expect(sampleOf([user(`${longest}b`)])).toEqual([user(cut)]);
  expect(sampleOf([user(`${"a".repeat(198)}😀bb`)])).toEqual([user(`${"a".repeat(198)}…`)]);
  // The sample of a worker is sampled again.
  expect(sampleOf(sampleOf([user(`${longest}b`)]))).toEqual([user(cut)]);
});

/** Long lists of values, such as the rooms of a user: their cost is paid once, and not by each subscription. */

import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { Collections, Limits } from "../../../src/config/config-schema.ts";
import { chooseAnchors } from "../../../src/feed/anchors.ts";
import { LookupSet } from "../../../src/feed/lookup-set.ts";
import { type BsonValue, fromJs } from "../../../src/match/bson-value.ts";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { runThrough } from "../../../src/match/steps.ts";
import { authorizeParsed, parseRequest } from "../../../src/rules/authorize.ts";
import type { LookupValues } from "../../../src/rules/bind-rule.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";

const rulesOf = (filter: object) =>
  compileRules({
    mongodb: { database: "chat" },
    collections: Collections.parse({
      messages: {
        lookups: { rooms: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } },
        rules: [{ name: "member", filter }],
      },
    }),
    limits: Limits.parse({}),
  });

const RULES = rulesOf({ room: { $in: "%%lookup.rooms" } });
const namesOf = (count: number) => Array.from({ length: count }, (_, i) => `room ${i}`);
const listOf = (names: readonly string[]) => names.map((name) => fromJs(name));

/** A list that counts how often a value in it is looked at. */
function counted(count: number) {
  let reads = 0;
  const list = listOf(namesOf(count)).map(
    (value): BsonValue => ({
      ...value,
      get bytes() {
        reads++;
        return value.bytes;
      },
    }),
  );
  return { list, reads: () => reads };
}

/** Asks as one user. */
function ask(list: readonly BsonValue[], filter: Record<string, unknown> = {}, rules = RULES, sub = "ada") {
  const values: LookupValues = () => list;
  const request = parseRequest({ collection: "messages", filter }, rules.limits);
  return authorizeParsed(rules, { claims: { sub } }, request, 0, values);
}

test.each([200, 1_000])(
  "the values of a list of %i are looked at for one subscription, and not again for a hundred others",
  (count) => {
    const { list, reads } = counted(count);
    const follow = (n: number, sub: string) => {
      const { filter } = ask(list, { n }, RULES, sub);
      chooseAnchors(filter, () => 1);
      expect(compileFilter(filter)(BSON.serialize({ n, room: "none" }))).toBe(false);
    };
    follow(0, "ada");
    const once = reads();
    expect(once).toBeGreaterThan(0);
    for (let n = 1; n <= 100; n++) follow(n, n % 2 === 0 ? "ada" : "bob");
    // A document is compared with a few values each time.
    expect(reads() - once).toBeLessThan(100 * 64);
  },
);

test("subscriptions to whom a rule with a lookup grants the same share its filter, until the set changes", () => {
  const [list, other] = [listOf(namesOf(100)), listOf(namesOf(101))];
  const request = parseRequest({ collection: "messages" }, RULES.limits);
  const claims = { sub: "ada" };
  const grantUnder = (values: readonly BsonValue[] | null) =>
    authorizeParsed(RULES, { claims }, request, 0, () => values);
  const before = grantUnder(list);
  expect(grantUnder(list).filter).toBe(before.filter);
  expect(grantUnder(other).key).not.toBe(before.key);
  expect(() => grantUnder(null)).toThrow("a lookup has to be read first");
  expect(grantUnder(list).key).toBe(before.key);
});

test("other claims never receive the filter of the claims before, although the sets are the same", () => {
  const rules = rulesOf({ room: { $in: "%%lookup.rooms" }, owner: "%%user.sub" });
  const list = listOf(namesOf(100));
  const [ada, bob] = [ask(list, {}, rules, "ada"), ask(list, {}, rules, "bob")];
  expect(ada.key).not.toBe(bob.key);
  expect(ada.lookups[0]?.key).not.toBe(bob.lookups[0]?.key);
});

test("queries with different long lists have different keys, and equal lists give one key in any order", () => {
  const names = namesOf(300);
  const lists = [names, names.slice(1), [...names, "one more"], names.map((name) => `${name},`)];
  const keys = lists.map((list) => ask(listOf(list)).key);
  expect(new Set(keys).size).toBe(lists.length);
  expect(ask(listOf([...names, ...names].reverse())).key).toBe(keys[0]);
  // The operator is part of the key, and so is the path.
  const forms = ["$in", "$nin", "$all"].flatMap((op) => [
    { room: { [op]: names } },
    { other: { [op]: names } },
  ]);
  const few = listOf(["a"]);
  expect(new Set([...forms.map((filter) => ask(few, filter).key), ...keys]).size).toBe(10);
});

test("a client cannot write the short form of another user's list as a value", () => {
  const names = namesOf(300);
  const key = ask(listOf(names)).key;
  const rules = rulesOf({});
  for (const text of ["$in#", `$in#${key}`, '$in#"'])
    expect(ask([], { room: text }, rules).key).not.toBe(key);
});

test("a set gives one array of its values until they change", () => {
  const set = new LookupSet({
    key: "rooms",
    database: "chat",
    collectionName: "members",
    filter: parseFilter({}, { regex: "prefix" }),
    value: "room",
  });
  runThrough(set.loadInSteps([BSON.serialize({ _id: 1, room: "a" })], 1n));
  const { values } = set;
  expect(set.values).toBe(values);
  const key = { value: fromJs("b"), by: 1 };
  expect(set.advance(new Map([["b", key]]), 2n)).toBe(true);
  expect(set.values).not.toBe(values);
  expect([values, set.values].map(({ length }) => length)).toEqual([1, 2]);
  const again = set.values;
  expect(set.advance(new Map([["b", key]]), 3n)).toBe(false);
  expect(set.values).toBe(again);
});

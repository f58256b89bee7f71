/** The parts of a try: made-up documents for lookups, drafts that are kept, and the entries of the audit. */
import { describe, expect, test } from "vitest";
import { Repeats } from "../../../src/admin/api/repeats.ts";
import { givenDocuments } from "../../../src/admin/given-documents.ts";
import { userOf } from "../../../src/admin/tried-user.ts";
import { TryDrafts } from "../../../src/admin/try-drafts.ts";
import type { Identity } from "../../../src/auth/verify-token.ts";
import { fromJs } from "../../../src/match/bson-value.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import type { RuleSet } from "../../../src/rules/compile-rules.ts";

const LIMITS = { regex: "prefix", maxDepth: 10, maxPredicates: 10, maxValues: 10 } as const;

const lookup = (filter: Record<string, unknown>, value = "shop") => ({
  key: "",
  database: "db",
  collectionName: "members",
  filter: parseFilter(filter, LIMITS),
  value,
});

describe("documents from which a lookup reads the same", () => {
  test("have the equal fields of its filter and one of its values each", () => {
    const values = [fromJs("a"), fromJs(7)];
    expect(givenDocuments([[lookup({ user: "ada", "team.id": 1 }, "team.shop"), values]])).toEqual({
      members: [
        { user: "ada", team: { id: 1, shop: "a" } },
        { user: "ada", team: { id: 1, shop: 7 } },
      ],
    });
    expect(givenDocuments([[lookup({}), []]])).toEqual({ members: [] });
    expect(givenDocuments([])).toEqual({});
  });

  test("cannot be made up for other conditions, for contradictions, and for more than 20 values", () => {
    const many = (length: number) => Array.from({ length }, (_, n) => fromJs(n));
    expect(givenDocuments([[lookup({ age: { $gt: 3 } }), many(1)]])).toBeNull();
    expect(givenDocuments([[lookup({ $or: [{ a: 1 }, { b: 1 }] }), many(1)]])).toBeNull();
    expect(givenDocuments([[lookup({ shop: "other" }), many(1)]])).toBeNull();
    expect(givenDocuments([[lookup({ a: 1 }), many(20)]])?.["members"]).toHaveLength(20);
    expect(givenDocuments([[lookup({ a: 1 }), many(21)]])).toBeNull();
  });
});

describe("the user of a try", () => {
  const claims = { sub: "ada", email: "secret" };
  const found = (identity: Identity | null | undefined, sub: string | null, mayReadClaims = false) =>
    userOf(() => identity, { connection: "n.1", sub }, mayReadClaims);
  const ada = { claims, sub: "ada" } as unknown as Identity;

  test("has the claims of the connection, which only admins with the right receive", () => {
    expect(found(ada, "ada")).toEqual({
      subject: { claims },
      user: { sub: "ada", claims: null, redacted: true },
    });
    expect(found(ada, "ada", true)).toEqual({
      subject: { claims },
      user: { sub: "ada", claims, redacted: false },
    });
    expect(found(null, null, true)).toEqual({
      subject: null,
      user: { sub: null, claims: null, redacted: false },
    });
  });

  test("is nobody if the connection has ended, or has another user than the audit names", () => {
    expect(found(undefined, null)).toBeNull();
    expect(found(ada, "ben")).toBeNull();
    expect(found(ada, null)).toBeNull();
    expect(found(null, "ada")).toBeNull();
  });

  test("is the one of the claims that the admin gives, who knows them", () => {
    const never = () => expect.fail("no connection is asked for");
    expect(userOf(never, { subject: { claims } }, false)).toEqual({ subject: { claims }, user: null });
  });
});

test("a draft is compiled once as long as neither it nor the rules in force change; others wait for their turn", async () => {
  const rules = () => ({ collections: new Map() }) as unknown as RuleSet;
  const [inForce, later] = [rules(), rules()];
  const compiled: string[] = [];
  let finish = (_: RuleSet) => {};
  const turn = new Promise<RuleSet>((resolve) => {
    finish = resolve;
  });
  const drafts = new TryDrafts((text) => {
    compiled.push(text);
    return turn;
  });
  const first = drafts.compiled("a", inForce);
  expect(drafts.compiled("a", inForce)).toBe(first);
  expect(drafts.compiled("b", inForce)).toBeNull();
  finish(rules());
  await first;
  await drafts.compiled("a", inForce);
  expect(compiled).toEqual(["a"]);
  await drafts.compiled("a", later);
  await drafts.compiled("b", later);
  expect(compiled).toEqual(["a", "a", "b"]);
});

test("a draft that could not be compiled because of an error is compiled again", async () => {
  let attempts = 0;
  const drafts = new TryDrafts(async () => {
    attempts++;
    throw new Error("no thread");
  });
  const inForce = { collections: new Map() } as unknown as RuleSet;
  await expect(drafts.compiled("a", inForce)).rejects.toThrow("no thread");
  await expect(drafts.compiled("a", inForce)).rejects.toThrow("no thread");
  expect(attempts).toBe(2);
});

test("a repeated request needs no entry for 10 minutes, and the latest 1,000 are remembered", () => {
  const repeats = new Repeats();
  expect(repeats.has("a", 0)).toBe(false);
  repeats.note("a", 0);
  expect([repeats.has("a", 599_999), repeats.has("a", 600_000), repeats.has("b", 0)]).toEqual([
    true,
    false,
    false,
  ]);
  for (let n = 0; n < 999; n++) repeats.note(String(n), 1);
  expect(repeats.has("a", 1)).toBe(true);
  repeats.note("one more", 1);
  expect([repeats.has("a", 1), repeats.has("0", 1)]).toEqual([false, true]);
});

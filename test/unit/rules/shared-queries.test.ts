import { expect, test } from "vitest";
import { Collections, Limits } from "../../../src/config/config-schema.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { authorizeParsed, parseRequest, type QueryRequest } from "../../../src/rules/authorize.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";

const rulesOf = (...rules: object[]) =>
  compileRules({
    mongodb: { database: "shop" },
    collections: Collections.parse({ orders: { rules } }),
    limits: Limits.parse({}),
  });

const EVERYBODY = {
  name: "everybody",
  when: { "%%user.sub": { $exists: true } },
  filter: { isPublic: true },
};

/** Asks as several users, with one parsed request that they share. */
function sharing(request: Partial<QueryRequest> = {}) {
  const parsed = parseRequest({ collection: "orders", ...request }, rulesOf(EVERYBODY).limits);
  return (rules: ReturnType<typeof rulesOf>, sub: string | null, nowMs = 0) =>
    authorizeParsed(rules, sub === null ? null : { claims: { sub } }, parsed, nowMs, () => null);
}

test("users to whom a rule without placeholders grants the same request share one query", () => {
  const ask = sharing({ filter: { status: "open" } });
  const rules = rulesOf(EVERYBODY);
  const query = ask(rules, "a");
  expect(ask(rules, "b")).toBe(query);
  expect(ask(rules, "b", 86_400_000)).toBe(query);
});

test("a condition is evaluated for each user, whatever is shared", () => {
  const ask = sharing();
  const rules = rulesOf({ ...EVERYBODY, when: { "%%user.sub": "a" } });
  ask(rules, "a");
  for (const user of ["b", null]) expect(() => ask(rules, user)).toThrow(TidewireError);
});

test("an edit of the rules shares nothing with the rules before", () => {
  const ask = sharing();
  const before = ask(rulesOf(EVERYBODY), "a");
  const after = ask(rulesOf({ ...EVERYBODY, filter: { isPublic: false } }), "a");
  expect(after.key).not.toBe(before.key);
  expect(() => ask(rulesOf({ ...EVERYBODY, allow: { snapshot: false, documents: false } }), "a")).toThrow(
    TidewireError,
  );
});

test("users to whom different rules grant the same request share nothing", () => {
  const ask = sharing();
  const rules = rulesOf(
    { name: "admin", when: { "%%user.sub": "a" } },
    { name: "others", when: { "%%user.sub": { $exists: true } }, filter: { isPublic: true } },
  );
  const [admin, other] = [ask(rules, "a"), ask(rules, "b")];
  expect([admin.rule, other.rule, ask(rules, "a").rule]).toEqual(["admin", "others", "admin"]);
  expect(admin.key).not.toBe(other.key);
});

test("a rule with a claim, or with the time, grants each user and each time a query of its own", () => {
  const ask = sharing();
  const byClaim = rulesOf({ ...EVERYBODY, filter: { owner: "%%user.sub" } });
  expect(ask(byClaim, "a").key).not.toBe(ask(byClaim, "b").key);
  const byTime = rulesOf({ ...EVERYBODY, filter: { until: { $gt: "%%now" } } });
  expect(ask(byTime, "a", 0).key).not.toBe(ask(byTime, "a", 86_400_000).key);
});

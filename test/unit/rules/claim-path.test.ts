import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { Collections, Limits } from "../../../src/config/config-schema.ts";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { authorize } from "../../../src/rules/authorize.ts";
import { readClaimPath, writeClaimParts } from "../../../src/rules/claim-path.ts";
import { compileRules, RulesRefused } from "../../../src/rules/compile-rules.ts";
import { explainAuthorization } from "../../../src/rules/explain-authorization.ts";

const rulesOf = (...rules: object[]) =>
  compileRules({
    mongodb: { database: "shop" },
    collections: Collections.parse({
      orders: { rules: rules.map((rule, index) => ({ name: `r${index}`, ...rule })) },
    }),
    limits: Limits.parse({}),
  });

type Claims = Record<string, unknown>;

/** Whether users with these claims see a document; `forbidden` where they may not ask. */
function sees(rule: object, claims: Claims, document: object = {}): boolean | "forbidden" {
  try {
    const { filter } = authorize(rulesOf(rule), { claims }, { collection: "orders" }, 0);
    return compileFilter(filter)(BSON.serialize(document));
  } catch (error) {
    if (error instanceof TidewireError && error.code === "forbidden") return "forbidden";
    throw error;
  }
}

/** The texts with which rules are refused. */
function refusals(rule: object): string[] {
  try {
    rulesOf(rule);
    return [];
  } catch (error) {
    if (error instanceof RulesRefused) return error.problems.map(({ message }) => message);
    throw error;
  }
}

const ROLES = "https://example.com/roles";

test.each([
  ["%%user.a.b", undefined, ["a", "b"]],
  ["%%oid:user.a", "oid", ["a"]],
  ['%%user["https://example.com/roles"].0', undefined, [ROLES, "0"]],
  ['%%words:user["a.b"]["c\\"d"].e', "words", ["a.b", 'c"d', "e"]],
  ["%%user.a[0]", undefined, ["a[0]"]],
  ["%%user.with space", undefined, ["with space"]],
])("%s is a claim", (text, conversion, parts) => {
  expect(readClaimPath(text)).toEqual({ conversion, parts });
});

test.each([
  "%%user",
  "%%user.",
  "%%user..a",
  "%%int:user.a",
  '%%user["a.b"',
  '%%user[""]',
  'x%%user["a"]',
  '%%user["\\x"]',
])("%s is none", (text) => {
  expect(readClaimPath(text)).toBeUndefined();
});

test("a name is quoted where it has to be, and read back as it was", () => {
  for (const parts of [["a", "b"], [ROLES, "0"], ["a", 'x["y'], ["with space"]]) {
    expect(readClaimPath(`%%user${writeClaimParts(parts)}`)?.parts).toEqual(parts);
  }
  expect(writeClaimParts(["a", ROLES])).toBe('.a["https://example.com/roles"]');
});

test("a claim with dots in its name is a value of a filter, whole or one of its items", () => {
  const claims = { sub: "u1", [ROLES]: ["admin", "support"] };
  expect(sees({ filter: { role: `%%user["${ROLES}"].0` } }, claims, { role: "admin" })).toBe(true);
  expect(sees({ filter: { role: `%%user["${ROLES}"].0` } }, claims, { role: "support" })).toBe(false);
  expect(sees({ filter: { role: `%%user["${ROLES}"].7` } }, claims, { role: "admin" })).toBe("forbidden");
  expect(sees({ filter: { role: { $in: `%%user["${ROLES}"]` } } }, claims, { role: "support" })).toBe(true);
});

test("a claim with dots in its name decides in a when, and never one that only looks like it", () => {
  const rule = { when: { [`%%user["${ROLES}"]`]: "admin" } };
  expect(sees(rule, { [ROLES]: ["admin"] })).toBe(true);
  expect(sees(rule, { [ROLES]: ["guest"] })).toBe("forbidden");
  expect(sees(rule, { "https://example": { "com/roles": ["admin"] } })).toBe("forbidden");
  expect(sees({ when: { "%%user.a.b": 1 } }, { "a.b": 1 })).toBe("forbidden");
  expect(sees({ when: { "%%user.a.b": 1 } }, { a: { b: 1 } })).toBe(true);
  // A name may contain the escape sequence of a dot.
  expect(sees({ when: { '%%user["a.b"]': 1 } }, { "a\u0001db": 1 })).toBe("forbidden");
  expect(sees({ when: { "%%user.a\u0001db": 1 } }, { "a\u0001db": 1 })).toBe(true);
});

test("one word of a space-separated claim decides, and nothing that only contains it", () => {
  const rule = { when: { "%%words:user.scope": "orders:read" } };
  expect(sees(rule, { scope: "profile orders:read  email" })).toBe(true);
  expect(sees(rule, { scope: "orders:read" })).toBe(true);
  expect(sees(rule, { scope: "orders:readwrite" })).toBe("forbidden");
  expect(sees(rule, { scope: "" })).toBe("forbidden");
  expect(sees(rule, {})).toBe("forbidden");
  const either = { when: { "%%words:user.scope": { $in: ["a", "b"] }, "%%user.scope": { $exists: true } } };
  expect(sees(either, { scope: "x b" })).toBe(true);
});

test("the words of a claim are a list for an operator that takes one", () => {
  const rule = { filter: { topic: { $in: "%%words:user.topics" } } };
  expect(sees(rule, { topics: "tea coffee" }, { topic: "coffee" })).toBe(true);
  expect(sees(rule, { topics: "tea coffee" }, { topic: "tea coffee" })).toBe(false);
  expect(sees(rule, { topics: ["tea"] }, { topic: "tea" })).toBe("forbidden");
  expect(sees({ filter: { topic: "%%words:user.topics" } }, { topics: "tea" }, { topic: "tea" })).toBe(
    "forbidden",
  );
});

test("a name that no token can have is refused with what was meant", () => {
  const [url] = refusals({ when: { "%%user.https://example.com/roles": "admin" } });
  expect(url).toContain('Write %%user["https://example.com/roles"]');
  const [value] = refusals({ filter: { role: { $in: "%%user.https://example.com/roles" } } });
  expect(value).toContain('Write %%user["https://example.com/roles"]');
  expect(refusals({ filter: { owner: "%%user.sub.id" } })).toEqual([
    "the claim sub is one value (RFC 7519, section 4.1) and has no members. Write %%user.sub",
  ]);
  expect(refusals({ when: { "%%user.exp.at": 1 } })[0]).toContain("Write %%user.exp");
  expect(
    refusals({ when: { '%%user["https://example.com/roles"].0': "admin", "%%user.aud.0": "x" } }),
  ).toEqual([]);
});

test("a when refuses conversions that it does not need, and objects whose names have dots", () => {
  expect(refusals({ when: { "%%oid:user.a": 1 } })[0]).toContain("%%words:user");
  expect(refusals({ when: { "%%user.a": { "b.c": 1 } } })[0]).toContain(
    "Write the member itself on the left",
  );
});

test("an explanation names claims as the rules do", () => {
  const rules = rulesOf(
    { when: { [`%%user["${ROLES}"].0`]: "admin" } },
    { when: { "%%words:user.scope": "orders:read" } },
  );
  const { rules: explained } = explainAuthorization(
    rules,
    { claims: { scope: "x" } },
    { collection: "orders" },
    0,
  );
  expect(explained.map(({ because }) => because)).toEqual([
    'when {"%%user[\\"https://example.com/roles\\"].0":"admin"} does not hold',
    'when {"%%words:user.scope":"orders:read"} does not hold',
  ]);
});

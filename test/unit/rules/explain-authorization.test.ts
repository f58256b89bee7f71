import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { Collections, Limits } from "../../../src/config/config-schema.ts";
import type { QueryRequest } from "../../../src/rules/authorize.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";
import { redactedText } from "../../../src/rules/deciding-predicate.ts";
import { describeProjection } from "../../../src/rules/describe-projection.ts";
import { explainAuthorization } from "../../../src/rules/explain-authorization.ts";

const rules = compileRules({
  mongodb: { database: "shop" },
  limits: Limits.parse({}),
  collections: Collections.parse({
    orders: {
      rules: [
        { name: "staff", when: { "%%user.roles": { $in: ["admin"] }, "%%user.active": true } },
        {
          name: "customer",
          when: { "%%user.sub": { $exists: true } },
          filter: { customerId: "%%user.sub", region: { $in: "%%user.regions" } },
          fields: { exclude: ["margin", "notes.internal"] },
        },
        { name: "rest" },
      ],
    },
  }),
});

const explain = (
  claims: Record<string, unknown> | null,
  document?: object,
  request: Partial<QueryRequest> = {},
) =>
  explainAuthorization(
    rules,
    claims && { claims },
    { collection: "orders", ...request },
    0,
    document && BSON.serialize(document),
  );

const user = { sub: "u1", regions: ["eu"] };

test("says why each rule applies or does not, by the predicate that decides", () => {
  expect(explain(user).rules).toEqual([
    {
      name: "staff",
      applies: false,
      because: 'when {"%%user.roles":{"$in":["admin"]}} does not hold',
    },
    { name: "customer", applies: true, because: 'when {"%%user.sub":{"$exists":true}} holds' },
    { name: "rest", applies: false, because: "not asked: customer applies already" },
  ]);
  expect(explain({ roles: ["admin"] }).rules[0]?.because).toBe('when {"%%user.active":true} does not hold');
});

test("with redacted text no reason holds a value of a claim, of the rule or of the document", () => {
  const request = { collection: "orders", filter: { region: "secret-filter" } };
  const secret = { sub: "secret-sub", regions: ["secret-region"], roles: ["secret-role"], active: true };
  const document = BSON.serialize({ customerId: "secret-other", region: "secret-filter" });
  const explanation = explainAuthorization(
    rules,
    { claims: secret },
    request,
    0,
    document,
    () => [],
    redactedText,
  );
  const { query: _, ...texts } = explanation;
  expect(JSON.stringify(texts)).not.toContain("secret");
  expect(texts.rules[0]?.because).toBe('when {"%%user.roles":{"$in":"…"}} does not hold');
  expect(texts.document).toMatchObject({ visible: false, because: '{"customerId":"…"} does not hold' });
});

test("says which claim is missing, and that later rules are not tried", () => {
  const { outcome, reason, query } = explain({ sub: "u1" });
  expect({ outcome, query }).toEqual({ outcome: "forbidden", query: null });
  expect(reason).toBe('rule customer applies, but the claim "regions" is missing; later rules are not tried');
  expect(explain({ sub: "u1", regions: "eu" }).reason).toContain('"regions" is not a list');
});

test("explains the answer that an anonymous client receives, and its reason", () => {
  const { outcome, reason, rules: explained } = explain(null);
  expect({ outcome, reason }).toEqual({ outcome: "unknown-collection", reason: "no rule applies" });
  expect(explained[0]?.because).toContain("anonymous: true");
});

test("names the parts of a request that exceed the rights", () => {
  expect(explain(user, undefined, { filter: { margin: 1 } })).toMatchObject({
    outcome: "forbidden",
    reason: "the filter uses a field that you may not see",
  });
  expect(explain(user, undefined, { collection: "nothing" })).toMatchObject({
    outcome: "unknown-collection",
    rules: [],
  });
});

test("judges a document by the predicate that decides, and shows what is seen of it", () => {
  expect(explain(user, { customerId: "u2", region: "eu" }).document).toEqual({
    visible: false,
    because: '{"customerId":"u1"} does not hold',
    path: "customerId",
    shown: null,
  });
  expect(explain(user, { customerId: "u1", region: "us" }).document?.because).toBe(
    '{"region":{"$in":["eu"]}} does not hold',
  );
  const seen = explain(user, {
    _id: 1,
    customerId: "u1",
    region: "eu",
    margin: 5,
    notes: { internal: "x", a: 1 },
  }).document;
  expect(seen?.visible).toBe(true);
  expect(JSON.parse(seen?.shown ?? "")).toEqual({ _id: 1, customerId: "u1", region: "eu", notes: { a: 1 } });
});

test("reports which branch of a disjunction decides", () => {
  const filter = { $or: [{ a: 1 }, { b: 2 }], $nor: [{ c: 3 }] };
  const because = (rest: object) =>
    explain(user, { customerId: "u1", region: "eu", ...rest }, { filter }).document?.because;
  expect(because({ a: 2 })).toContain("no branch of $or holds");
  expect(because({ a: 1, c: 3 })).toBe('{"c":3} holds, which $nor forbids');
});

test("describes the visible fields in words", () => {
  const fieldsOf = (claims: Record<string, unknown>, fields?: string[]) =>
    describeProjection(explain(claims, undefined, fields ? { fields } : {}).query!.projection);
  expect(fieldsOf({ roles: ["admin"], active: true })).toBe("all fields");
  expect(fieldsOf(user)).toBe("all but margin, notes.internal");
  expect(fieldsOf(user, ["status"])).toMatch(/^only (status, _id|_id, status)$/);
  expect(fieldsOf(user, ["notes"])).toContain("notes (all but internal)");
});

import { BSON, Long, ObjectId } from "mongodb";
import { describe, expect, test } from "vitest";
import { Collections, Limits } from "../../../src/config/config-schema.ts";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { encodeDocument } from "../../../src/match/encode.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import {
  authorize,
  authorizeParsed,
  type EffectiveQuery,
  parseRequest,
  type QueryRequest,
} from "../../../src/rules/authorize.ts";
import { compileRules, type RulesSource } from "../../../src/rules/compile-rules.ts";
import { plainFilter } from "../../support/plain-filter.ts";

const nowMs = Date.parse("2025-03-01T12:34:56.789Z");

/** Rules of one collection, `orders`, as the file would say them. */
function rulesOf(...rules: object[]) {
  return setOf({ orders: { rules: rules.map((rule, index) => ({ name: `r${index}`, ...rule })) } });
}

function setOf(collections: object) {
  const source: RulesSource = {
    mongodb: { database: "shop" },
    collections: Collections.parse(collections),
    limits: Limits.parse({}),
  };
  return compileRules(source);
}

type Claims = Record<string, unknown>;
const ask = (rules: ReturnType<typeof rulesOf>, claims: Claims | null, request: Partial<QueryRequest> = {}) =>
  authorize(rules, claims && { claims }, { collection: "orders", ...request }, nowMs);

function errorOf(act: () => unknown): TidewireError {
  try {
    act();
  } catch (error) {
    if (error instanceof TidewireError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}
const codeOf = (act: () => unknown) => errorOf(act).code;

/** Whether a document is in what the claims may see. */
const sees = (rules: ReturnType<typeof rulesOf>, claims: Claims | null, document: object, request = {}) =>
  compileFilter(ask(rules, claims, request).filter)(BSON.serialize(document));

describe("choosing the rule", () => {
  const rules = rulesOf(
    { name: "staff", when: { "%%user.roles": { $in: ["admin", "support"] } } },
    { name: "customer", when: { "%%user.sub": { $exists: true } }, filter: { customerId: "%%user.sub" } },
  );

  test("the first rule whose when holds applies, alone", () => {
    expect(ask(rules, { sub: "u1", roles: ["admin"] }).rule).toBe("staff");
    expect(ask(rules, { sub: "u1", roles: ["guest"] }).rule).toBe("customer");
    expect(sees(rules, { sub: "u1", roles: ["admin"] }, { customerId: "u2" })).toBe(true);
    expect(sees(rules, { sub: "u1" }, { customerId: "u2" })).toBe(false);
  });

  test("a request to which no rule applies is forbidden", () => {
    expect(codeOf(() => ask(rules, {}))).toBe("forbidden");
  });

  test("a rule without a when serves any user, but no anonymous one", () => {
    expect(ask(rulesOf({}), {}).rule).toBe("r0");
    expect(codeOf(() => ask(rulesOf({}), null))).toBe("unknown-collection");
  });

  test("anonymous: true serves anonymous users as well as the others", () => {
    const open = rulesOf({ anonymous: true, filter: { public: true } });
    expect(ask(open, null).rule).toBe("r0");
    expect(ask(open, { sub: "u1" }).rule).toBe("r0");
  });

  test("a when sees no claims of an anonymous user", () => {
    const open = rulesOf({ anonymous: true, when: { "%%user.sub": { $exists: true } } }, { anonymous: true });
    expect(ask(open, null).rule).toBe("r1");
  });

  test("a when compares dotted claims, lists and negations as find does", () => {
    const one = (when: object, claims: Claims) => {
      try {
        return ask(rulesOf({ when }), claims).rule === "r0";
      } catch {
        return false;
      }
    };
    expect(one({ "%%user.org.id": 5 }, { org: { id: 5 } })).toBe(true);
    expect(one({ "%%user.org.id": 5 }, { "org.id": 5 })).toBe(false);
    expect(one({ "%%user.org": { id: 5 } }, { org: { id: 5 } })).toBe(true);
    expect(one({ "%%user.roles": { $nin: ["banned"] } }, {})).toBe(true);
    expect(one({ "%%user.roles": { $nin: ["banned"] } }, { roles: ["x", "banned"] })).toBe(false);
    expect(one({ $or: [{ "%%user.a": 1 }, { "%%user.b": 1 }] }, { b: 1 })).toBe(true);
    expect(
      one({ "%%user.groups": { $elemMatch: { id: 1, role: "x" } } }, { groups: [{ id: 1, role: "x" }] }),
    ).toBe(true);
  });

  test("a claim cannot pose as a BSON type or as an operator in a when", () => {
    const rules = rulesOf({ when: { "%%user.id": { $type: "objectId" } } });
    const claims = JSON.parse(
      '{"id":{"_bsontype":"ObjectId","id":"abcdefghijkl"},"a":{"$ne":null}}',
    ) as Claims;
    expect(codeOf(() => ask(rules, claims))).toBe("forbidden");
  });
});

describe("claims in a filter", () => {
  const byClaim = (placeholder: unknown) => rulesOf({ filter: { owner: placeholder } });
  const filled = (placeholder: unknown, claims: Claims) =>
    plainFilter(ask(byClaim(placeholder), claims).filter);

  test("claims keep their type in a filter", () => {
    expect(filled("%%user.id", { id: "7" })).toEqual({ owner: { $eq: "7" } });
    expect(sees(byClaim("%%user.id"), { id: 7 }, { owner: 7 })).toBe(true);
    expect(sees(byClaim("%%user.id"), { id: 7 }, { owner: "7" })).toBe(false);
    expect(sees(byClaim("%%user.id"), { id: true }, { owner: true })).toBe(true);
    expect(sees(byClaim("%%user.id"), { id: 1.5 }, { owner: 1.5 })).toBe(true);
    expect(sees(byClaim("%%user.id"), { id: 2 ** 40 }, { owner: Long.fromNumber(2 ** 40) })).toBe(true);
  });

  test("a dotted path reaches claims through objects and positions of lists", () => {
    expect(sees(byClaim("%%user.org.id"), { org: { id: "a" } }, { owner: "a" })).toBe(true);
    expect(sees(byClaim("%%user.orgs.0"), { orgs: ["a"] }, { owner: "a" })).toBe(true);
    expect(codeOf(() => ask(byClaim("%%user.orgs.1"), { orgs: ["a"] }))).toBe("forbidden");
    expect(codeOf(() => ask(byClaim("%%user.orgs.length"), { orgs: ["a"] }))).toBe("forbidden");
    expect(codeOf(() => ask(byClaim("%%user.name.length"), { name: "abc" }))).toBe("forbidden");
  });

  test.each([
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "__proto__.polluted",
    "constructor.name",
  ])("the inherited %s is no claim", (path) =>
    expect(codeOf(() => ask(byClaim(`%%user.${path}`), { sub: "u1" }))).toBe("forbidden"),
  );

  test("treats a claim named __proto__ as an ordinary claim", () => {
    const claims = JSON.parse('{"__proto__":"a"}') as Claims;
    expect(sees(byClaim("%%user.__proto__"), claims, { owner: "a" })).toBe(true);
  });

  test.each<[string, unknown, Claims]>([
    ["missing", "%%user.id", {}],
    ["null", "%%user.id", { id: null }],
    ["an object", "%%user.id", { id: { $ne: null } }],
    ["an empty object", "%%user.id", { id: {} }],
    ["a list where one value stands", "%%user.id", { id: ["a"] }],
    ["an empty list where one value stands", "%%user.id", { id: [] }],
    ["one value in $in", { $in: "%%user.id" }, { id: "a" }],
    ["one value in $nin", { $nin: "%%user.id" }, { id: "a" }],
    ["one value in $all", { $all: "%%user.id" }, { id: "a" }],
    ["an object in $in", { $in: "%%user.id" }, { id: { 0: "a", length: 1 } }],
    ["a list that holds null", { $in: "%%user.id" }, { id: ["a", null] }],
    ["a list that holds an object", { $in: "%%user.id" }, { id: [{ $regex: "." }] }],
    ["a list that holds a list", { $in: "%%user.id" }, { id: [["a"]] }],
    ["a list beside values in $in", { $in: ["b", "%%user.id"] }, { id: ["a"] }],
    ["a list in $ne", { $ne: "%%user.id" }, { id: ["a"] }],
    ["missing under $ne", { $ne: "%%user.id" }, {}],
    ["missing under $nin", { $nin: "%%user.id" }, {}],
    ["a number that lost digits", "%%user.id", { id: 2 ** 53 }],
    ["no ObjectId", "%%oid:user.id", { id: "xyz" }],
    ["a number as an ObjectId", "%%oid:user.id", { id: 7 }],
    ["twelve characters, which some libraries take as an ObjectId", "%%oid:user.id", { id: "abcdefghijkl" }],
    ["no date", "%%date:user.id", { id: "tomorrow" }],
    ["a date without its zone", "%%date:user.id", { id: "2025-01-01T00:00:00" }],
    ["a date beyond all dates", "%%date:user.id", { id: 1e300 }],
  ])("a claim that is %s is forbidden, never null and never the next rule", (_name, placeholder, claims) => {
    const rules = rulesOf({ filter: { owner: placeholder } }, { name: "open" });
    expect(codeOf(() => ask(rules, claims))).toBe("forbidden");
  });

  test("a missing claim deep inside of a filter is forbidden too", () => {
    const rules = rulesOf({
      filter: { $or: [{ public: true }, { a: { $elemMatch: { b: { $not: { $eq: "%%user.x" } } } } }] },
    });
    expect(codeOf(() => ask(rules, {}))).toBe("forbidden");
  });

  test("a list claim is allowed in $in, $nin and $all; an empty one finds nothing", () => {
    expect(sees(byClaim({ $in: "%%user.ids" }), { ids: ["a", "b"] }, { owner: "b" })).toBe(true);
    expect(sees(byClaim({ $in: "%%user.ids" }), { ids: ["a", "b"] }, { owner: "c" })).toBe(false);
    expect(sees(byClaim({ $nin: "%%user.ids" }), { ids: ["a"] }, { owner: "b" })).toBe(true);
    expect(sees(byClaim({ $all: "%%user.ids" }), { ids: ["a", "b"] }, { owner: ["b", "a"] })).toBe(true);
    expect(sees(byClaim({ $in: "%%user.ids" }), { ids: [] }, { owner: null })).toBe(false);
    expect(sees(byClaim({ $in: ["public", "%%user.id"] }), { id: "a" }, { owner: "public" })).toBe(true);
  });

  test("a text that looks like an operator, a pattern or a placeholder is only a text", () => {
    expect(filled("%%user.id", { id: "$where" })).toEqual({ owner: { $eq: "$where" } });
    expect(filled("%%user.id", { id: "%%user.sub" })).toEqual({ owner: { $eq: "%%user.sub" } });
    expect(sees(byClaim("%%user.id"), { id: ".*" }, { owner: "anything" })).toBe(false);
  });

  test("%%oid and %%date convert a claim to an ObjectId and a date", () => {
    const id = "65f0a1b2c3d4e5f607182930";
    expect(sees(byClaim("%%oid:user.id"), { id }, { owner: new ObjectId(id) })).toBe(true);
    expect(sees(byClaim("%%oid:user.id"), { id }, { owner: id })).toBe(false);
    expect(sees(byClaim({ $in: "%%oid:user.ids" }), { ids: [id] }, { owner: new ObjectId(id) })).toBe(true);
    const seconds = 1_700_000_000;
    expect(sees(byClaim("%%date:user.at"), { at: seconds }, { owner: new Date(seconds * 1_000) })).toBe(true);
    expect(
      sees(byClaim("%%date:user.at"), { at: "2025-01-01T00:00:00Z" }, { owner: new Date("2025-01-01") }),
    ).toBe(true);
  });

  test("%%now is the grant's time floored to the minute, so that equal grants share a live query", () => {
    const rules = byClaim({ $lte: "%%now" });
    expect(plainFilter(ask(rules, {}).filter)).toEqual({
      owner: { $lte: new Date("2025-03-01T12:34:00.000Z") },
    });
    const at = (ms: number) => authorize(rules, { claims: {} }, { collection: "orders" }, ms).key;
    expect(at(60_000)).toBe(at(119_999));
    expect(at(60_000)).not.toBe(at(120_000));
  });

  test("%%now is rounded down to rules.nowStep, in lookups as well, and a query says whether it depends on it", () => {
    const members = { collection: "members", filter: { until: { $gt: "%%now" } }, value: "room" };
    const collections = {
      offers: { rules: [{ name: "valid", filter: { until: { $gt: "%%now" } } }] },
      orders: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] },
      rooms: {
        lookups: { mine: members, others: { collection: "others", filter: {}, value: "room" } },
        rules: [
          { name: "guest", when: { "%%user.guest": true }, filter: { room: { $in: "%%lookup.others" } } },
          { name: "member", filter: { room: { $in: "%%lookup.mine" } } },
        ],
      },
    };
    for (const nowStepMs of [1_000, 60_000, 3_600_000]) {
      const rules = compileRules({
        mongodb: { database: "shop" },
        rules: { nowStepMs },
        collections: Collections.parse(collections),
        limits: Limits.parse({}),
      });
      const of = (collection: string, claims: Claims, ms = nowMs) =>
        authorize(rules, { claims }, { collection }, ms, () => []);
      const rounded = Math.floor(nowMs / nowStepMs) * nowStepMs;
      expect(plainFilter(of("offers", {}).filter)).toEqual({ until: { $gt: new Date(rounded) } });
      expect(of("offers", {}, rounded + nowStepMs - 1).key).toBe(of("offers", {}).key);
      expect(of("offers", {}, rounded + nowStepMs).key).not.toBe(of("offers", {}).key);
      expect(of("rooms", {}, rounded + nowStepMs).lookups[0]?.key).not.toBe(of("rooms", {}).lookups[0]?.key);
      expect([of("offers", {}).nowMs, of("rooms", {}).nowMs]).toEqual([rounded, rounded]);
      expect([of("orders", { sub: "u1" }).nowMs, of("rooms", { guest: true }).nowMs]).toEqual([null, null]);
    }
  });

  test("what a client writes is never filled in", () => {
    const query = ask(rulesOf({}), { sub: "u1" }, { filter: { owner: "%%user.sub" } });
    expect(plainFilter(query.filter)).toEqual({ owner: { $eq: "%%user.sub" } });
  });
});

describe("the client's own filter and fields", () => {
  const rules = rulesOf({
    filter: { owner: "%%user.sub" },
    fields: { exclude: ["margin", "notes.internal"] },
  });
  const user = { sub: "u1" };

  test("the client's filter is ANDed with the filter of the rule, whatever it contains", () => {
    const filters = [
      {},
      { owner: "u2" },
      { $or: [{ owner: "u2" }, { x: { $exists: false } }] },
      { $nor: [{ owner: "u1" }] },
      { owner: { $ne: "u1" } },
    ];
    for (const filter of filters) expect(sees(rules, user, { owner: "u2" }, { filter })).toBe(false);
    expect(sees(rules, user, { owner: "u1", status: "open" }, { filter: { status: "open" } })).toBe(true);
    expect(sees(rules, user, { owner: "u1", status: "done" }, { filter: { status: "open" } })).toBe(false);
  });

  test.each<[string, object]>([
    ["on it", { margin: { $gt: 5 } }],
    ["below it", { "margin.net": 1 }],
    ["on its parent", { notes: { $exists: true } }],
    ["on it, nested", { "notes.internal": "x" }],
    ["through an index", { "notes.0.internal": "x" }],
    ["in $elemMatch", { notes: { $elemMatch: { internal: "x" } } }],
    ["in a branch of $or", { $or: [{ status: "open" }, { margin: 1 }] }],
    ["under $not", { margin: { $not: { $gt: 5 } } }],
    ["by $exists", { margin: { $exists: false } }],
    ["in an object", { notes: { internal: "x" } }],
  ])("a filter on a hidden field is forbidden: %s", (_name, filter) => {
    expect(codeOf(() => ask(rules, user, { filter: filter as Record<string, unknown> }))).toBe("forbidden");
  });

  test("where a rule includes fields, every other one is hidden from filters", () => {
    const including = rulesOf({ fields: { include: ["status"] } });
    expect(codeOf(() => ask(including, user, { filter: { owner: "u1" } }))).toBe("forbidden");
    expect(ask(including, user, { filter: { status: "open", _id: 1 } }).rule).toBe("r0");
  });

  test("a filter on a field beside a hidden one is allowed", () => {
    expect(ask(rules, user, { filter: { "notes.public": "x" } }).rule).toBe("r0");
  });

  test("fields are intersected, and can bring back nothing that the rule hides", () => {
    const document = BSON.serialize({
      _id: 1,
      owner: "u1",
      margin: 3,
      notes: { internal: "x", public: "y" },
    });
    const shown = (fields?: string[]) =>
      JSON.parse(
        encodeDocument(document, ask(rules, user, fields ? { fields } : {}).projection, "json"),
      ) as unknown;
    expect(shown()).toEqual({ _id: 1, owner: "u1", notes: { public: "y" } });
    expect(shown(["margin", "notes"])).toEqual({ _id: 1, notes: { public: "y" } });
    expect(shown(["notes.internal"])).toEqual({ _id: 1, notes: {} });
  });

  test.each<[string, object, string]>([
    ["an unknown operator", { a: { $foo: 1 } }, "$foo"],
    ["$where", { $where: "1" }, "$where"],
    ["$expr", { $expr: {} }, "$expr"],
    ["a regular expression that is no prefix", { a: { $regex: "x" } }, "regular expression"],
  ])("%s is bad-filter and named", (_name, filter, named) => {
    const error = errorOf(() => ask(rules, user, { filter: filter as Record<string, unknown> }));
    expect(error.code).toBe("bad-filter");
    expect(error.message).toContain(named);
  });

  test("depth, predicates and values are bounded on both sides", () => {
    const deep = (levels: number): Record<string, unknown> =>
      levels === 0 ? { a: 1 } : { $or: [deep(levels - 1)] };
    const wide = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, 1]));
    const long = (count: number) => ({ a: { $in: Array.from({ length: count }, (_, i) => i) } });
    const open = rulesOf({});
    for (const [good, bad] of [
      [deep(5), deep(6)],
      [wide(50), wide(51)],
      [long(1_000), long(1_001)],
    ]) {
      expect(ask(open, {}, { filter: good! }).rule).toBe("r0");
      expect(codeOf(() => ask(open, {}, { filter: bad! }))).toBe("bad-filter");
    }
  });
});

describe("allow.* and limits", () => {
  test("allow.snapshot: false leaves only changes", () => {
    const rules = rulesOf({ allow: { snapshot: false } });
    expect(codeOf(() => ask(rules, {}))).toBe("forbidden");
    expect(codeOf(() => ask(rules, {}, { snapshot: true }))).toBe("forbidden");
    expect(ask(rules, {}, { snapshot: false }).snapshotAllowed).toBe(false);
  });

  test("a sort on a hidden field is forbidden, whatever the direction", () => {
    const rules = rulesOf({ fields: { exclude: ["margin"] } });
    expect(codeOf(() => ask(rules, {}, { sort: [["margin", 1]] }))).toBe("forbidden");
    expect(
      codeOf(() =>
        ask(
          rules,
          {},
          {
            sort: [
              ["a", 1],
              ["margin.net", -1],
            ],
          },
        ),
      ),
    ).toBe("forbidden");
    expect(ask(rules, {}, { sort: [["a", -1]] }).sort).toEqual([["a", -1]]);
  });

  test("allow.sort names the paths that may be sorted by; ties by _id are always allowed", () => {
    const rules = rulesOf({ allow: { sort: ["at"] } });
    expect(
      ask(
        rules,
        {},
        {
          sort: [
            ["at", 1],
            ["_id", 1],
          ],
        },
      ).rule,
    ).toBe("r0");
    expect(
      codeOf(() =>
        ask(
          rules,
          {},
          {
            sort: [
              ["at", 1],
              ["by", 1],
            ],
          },
        ),
      ),
    ).toBe("forbidden");
    expect(codeOf(() => ask(rulesOf({ allow: { sort: [] } }), {}, { sort: [["at", 1]] }))).toBe("forbidden");
  });

  test("allow.maxLimit bounds the limit, and no limit at all is more than any", () => {
    const rules = rulesOf({ allow: { maxLimit: 20 } });
    const limited = (limit: number) => ask(rules, {}, { sort: [["at", 1]], limit });
    expect(limited(20).limit).toBe(20);
    expect(codeOf(() => limited(21))).toBe("forbidden");
    expect(codeOf(() => ask(rules, {}))).toBe("forbidden");
    expect(codeOf(() => ask(rules, {}, { sort: [["at", 1]] }))).toBe("forbidden");
  });

  test("limit is a whole number up to windowSize, with a sort and a snapshot", () => {
    const limited = (limit: number, more: Partial<QueryRequest> = { sort: [["at", 1]] }) =>
      ask(rulesOf({}), {}, { limit, ...more });
    expect(limited(1_000).limit).toBe(1_000);
    for (const limit of [0, -1, 1.5, 1_001, Number.NaN])
      expect(codeOf(() => limited(limit))).toBe("bad-request");
    expect(codeOf(() => limited(5, {}))).toBe("bad-request");
    expect(codeOf(() => limited(5, { sort: [["at", 1]], snapshot: false }))).toBe("bad-request");
  });
});

describe("the content of a refusal", () => {
  const rules = setOf({
    orders: {
      rules: [{ name: "secret-rule", when: { "%%user.tier": "gold" }, filter: { owner: "%%user.sub" } }],
    },
    board: { rules: [{ name: "open", anonymous: true, filter: { owner: "%%user.sub" } }] },
  });
  const told = (error: TidewireError) =>
    JSON.stringify([error.code, error.message, error.details, error.retry, error.retryAfterMs]);
  const refused = (collection: string, claims: Claims | null, request: object = {}) =>
    errorOf(() => authorize(rules, claims && { claims }, { collection, ...request }, nowMs));

  test("anonymous users cannot distinguish a forbidden collection from one that does not exist", () => {
    for (const request of [
      {},
      { filter: { a: 1 } },
      { filter: { $bad: 1 } },
      { sort: [["a", 1]] },
      { fields: ["a", ""] },
    ]) {
      const forbidden = told(refused("orders", null, request));
      expect(forbidden.replaceAll("orders", "nothing")).toBe(told(refused("nothing", null, request)));
    }
    expect(refused("orders", null).code).toBe("unknown-collection");
  });

  test("an anonymous user whom a rule serves, but whose claim is missing, learns no more", () => {
    expect(told(refused("board", null)).replaceAll("board", "x")).toBe(told(refused("x", null)));
  });

  test("an authenticated user gets forbidden where a collection exists, and no word about rule or claim", () => {
    for (const claims of [{}, { tier: "gold" }]) {
      const error = refused("orders", claims);
      expect(error.code).toBe("forbidden");
      expect(told(error)).not.toMatch(/secret-rule|tier|gold|owner|sub/);
    }
    expect(told(refused("orders", {}))).toBe(told(refused("orders", { tier: "gold" })));
    expect(refused("nothing", {}).code).toBe("unknown-collection");
  });

  test.each(["__proto__", "constructor", "toString"])("%s is an unknown collection", (name) => {
    expect(refused(name, { sub: "u1" }).code).toBe("unknown-collection");
  });
});

describe("the key of a live query", () => {
  const rules = setOf({
    orders: { rules: [{ name: "r", filter: { owner: "%%user.sub" }, fields: { exclude: ["margin"] } }] },
    alias: {
      collection: "orders",
      rules: [{ name: "x", filter: { owner: "%%user.sub" }, fields: { exclude: ["margin"] } }],
    },
    elsewhere: {
      database: "other",
      collection: "orders",
      rules: [{ name: "r", filter: { owner: "%%user.sub" }, fields: { exclude: ["margin"] } }],
    },
  });
  const key = (sub: string, request: Partial<QueryRequest> = {}) =>
    authorize(rules, { claims: { sub } }, { collection: "orders", ...request }, nowMs).key;

  test("the key is a SHA-256 in base64url, the same on every node and at any time", () => {
    expect(key("u1")).toMatch(/^[\w-]{43}$/);
    expect(key("u1")).toBe(key("u1"));
    expect(key("u1", { collection: "alias" })).toBe(key("u1"));
  });

  test("the key does not depend on the notation of the request", () => {
    expect(key("u1", { filter: { a: 1, b: { $in: [1, 2] } } })).toBe(
      key("u1", { filter: { b: { $in: [2, 1] }, a: { $eq: 1 } } }),
    );
    expect(key("u1", { fields: ["a", "b"] })).toBe(key("u1", { fields: ["b", "a"] }));
    expect(key("u1", { filter: {} })).toBe(key("u1"));
    expect(key("u1", { documents: "full", snapshot: false })).toBe(key("u1"));
  });

  test("the key differs if any visible part of the result differs", () => {
    const keys = [
      key("u1"),
      key("u2"),
      key("u1", { filter: { a: 1 } }),
      key("u1", { filter: { a: "1" } }),
      key("u1", { fields: ["a"] }),
      key("u1", { collection: "elsewhere" }),
      key("u1", { sort: [["a", 1]] }),
      key("u1", { sort: [["a", -1]] }),
      key("u1", { sort: [["a", 1]], limit: 5 }),
      key("u1", { sort: [["a", 1]], limit: 6 }),
      key("u1", { documents: "delta" }),
    ];
    expect(new Set(keys).size).toBe(keys.length);
  });
});

describe("a rule that cannot be evaluated", () => {
  // No issuer's token gets here with such claims: they stand for any bug in a matcher.
  const broken = { sub: "u1", "a\0b": 1 };

  test("a rule that cannot be evaluated does not hold, and later rules are not tried, because it might have applied", () => {
    const rules = rulesOf({ when: { "%%user.banned": true }, filter: { no: "document" } }, {});
    expect(ask(rules, { sub: "u1" }).rule).toBe("r1");
    const error = errorOf(() => ask(rules, broken));
    expect(error).toMatchObject({ code: "forbidden", message: "no rule allows this" });
    expect(error.cause).toMatchObject({ name: "RuleFailure", message: expect.stringContaining("r0") });
  });

  test("a rule that cannot be evaluated is not tried if an earlier rule applies", () => {
    expect(ask(rulesOf({}, { when: { "%%user.x": 1 } }), broken).rule).toBe("r0");
  });

  test.each([
    ["a list that is read as it is bound", { roles: new Proxy([], { get: () => raise() }) }],
    [
      "an object behind a getter",
      Object.defineProperty({}, "roles", { get: () => raise(), enumerable: true }),
    ],
  ])("refuses whatever throws while its filter is made: %s", (_name, claims) => {
    const error = errorOf(() => ask(rulesOf({ filter: { role: { $in: "%%user.roles" } } }), claims));
    expect(error).toMatchObject({ code: "forbidden", cause: { name: "RuleFailure" } });
  });
});

function raise(): never {
  throw new Error("injected");
}

test("an equal grant returns the same query object, and another grant returns another one", () => {
  const rules = rulesOf({ filter: { owner: "%%user.sub" }, fields: { exclude: ["secret"] } });
  const request = parseRequest({ collection: "orders", filter: { status: "open" } }, rules.limits);
  const as = (claims: Claims, known?: EffectiveQuery) =>
    authorizeParsed(rules, { claims }, request, nowMs, () => null, known);
  const known = as({ sub: "u1", iat: 1 });
  expect(as({ sub: "u1", iat: 2 }, known).filter).toBe(known.filter);
  expect(as({ sub: "u1", iat: 2 }, known)).toEqual(as({ sub: "u1", iat: 2 }));
  expect(as({ sub: "u2" }, known)).toEqual(as({ sub: "u2" }));
  expect(as({ sub: "u2" }, known).key).not.toBe(known.key);
});

describe("counts and groups", () => {
  const own = { filter: { owner: "%%user.sub" }, fields: { exclude: ["margin", "customer.tax"] } };
  const rules = rulesOf(own);
  const ada = { sub: "ada" };
  const count = (aggregate: object, more: Partial<QueryRequest> = {}) =>
    ask(rules, ada, { aggregate, ...more });

  test("a request keeps the rule's filter, shows all of its rows, and shares its live query with equal requests", () => {
    const query = count({ by: "status" });
    expect(plainFilter(query.filter)).toEqual(plainFilter(ask(rules, ada).filter));
    expect(query.projection).toMatchObject({ keepsRest: true });
    expect(query.aggregate).toEqual({
      by: "status",
      values: [{ name: "count", operator: "count", path: null }],
    });
    expect(count({ by: "status", values: { count: { count: true } } }).key).toBe(query.key);
    const others = [
      {},
      { by: ["status"] },
      { by: "state" },
      { by: "status", values: { n: { count: true } } },
    ];
    expect(
      new Set([query, ask(rules, ada), ...others.map((other) => count(other))].map(({ key }) => key)).size,
    ).toBe(6);
  });

  test.each([
    { by: "margin" },
    { by: ["status", "margin"] },
    { by: "margin.deep" },
    { by: "customer" },
    { values: { x: { sum: "margin" } } },
    { values: { x: { avg: "customer.tax" } } },
    { values: { x: { min: "customer" } } },
    { values: { n: { count: true }, x: { max: "customer.0.tax" } } },
  ])("%j is forbidden, because it names a hidden field", (aggregate) => {
    expect(errorOf(() => count(aggregate))).toMatchObject({
      code: "forbidden",
      details: { part: "aggregate" },
    });
  });

  test.each([
    [{ sort: [["a", 1]] }, "sort"],
    [{ fields: ["a"] }, "fields"],
    [{ documents: "delta" }, "documents"],
  ] as const)("%j does not go with an aggregate", (more, path) => {
    expect(errorOf(() => count({}, more))).toMatchObject({ code: "bad-request", details: { path } });
  });

  test("whole documents and changes only may be asked for with an aggregate", () => {
    expect(count({}, { documents: "full", snapshot: false }).aggregate).not.toBeNull();
  });

  test("allow.documents: false gives aggregates alone, and no _id in any of their parts", () => {
    const counting = rulesOf({ ...own, allow: { documents: false } });
    expect(ask(counting, ada, { aggregate: { by: "status" } }).aggregate).not.toBeNull();
    expect(errorOf(() => ask(counting, ada))).toMatchObject({
      code: "forbidden",
      details: { part: "documents" },
    });
    for (const aggregate of [{ by: "_id" }, { by: ["a", "_id.b"] }, { values: { x: { min: "_id" } } }])
      expect(errorOf(() => ask(counting, ada, { aggregate }))).toMatchObject({
        details: { part: "aggregate", path: expect.stringMatching(/^_id/) },
      });
    for (const filter of [{ _id: 1 }, { $nor: [{ "_id.a": 1 }] }])
      expect(errorOf(() => ask(counting, ada, { aggregate: {}, filter }))).toMatchObject({
        details: { part: "filter" },
      });
    // Without that, an _id is a field like others.
    expect(count({ by: "_id" }, { filter: { _id: 1 } }).aggregate).not.toBeNull();
  });

  test("allow.aggregate: false gives documents alone; both together are a mistake in the file", () => {
    const plain = rulesOf({ ...own, allow: { aggregate: false } });
    expect(ask(plain, ada).aggregate).toBeNull();
    expect(errorOf(() => ask(plain, ada, { aggregate: {} }))).toMatchObject({
      code: "forbidden",
      details: { part: "aggregate" },
    });
    expect(() => rulesOf({ ...own, allow: { aggregate: false, documents: false } })).toThrow(
      /allows nothing/,
    );
  });

  test("a limit that a rule requires concerns documents alone", () => {
    expect(ask(rulesOf({ allow: { maxLimit: 5 } }), ada, { aggregate: {} }).aggregate).not.toBeNull();
    expect(codeOf(() => ask(rulesOf({ allow: { maxLimit: 5 } }), ada))).toBe("forbidden");
  });

  test("a rule without the new options has the identity that it had before them", () => {
    const identity = (allow: object) => rulesOf({ allow }).collections.get("orders")?.rules[0]?.identity;
    expect(identity({})).toBe("vGYW6eZTR15jUk6zKij6iW2_IFAR5P8V5cwNcr7Apm4");
    expect(identity({ aggregate: false })).not.toBe(identity({}));
  });
});

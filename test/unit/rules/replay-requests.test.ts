import { expect, test } from "vitest";
import { fromJs } from "../../../src/match/bson-value.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { authorize, type QueryRequest } from "../../../src/rules/authorize.ts";
import { claimsReadBy, isRecorded, onlyClaims } from "../../../src/rules/claims-read.ts";
import { compileRules, type RuleSet } from "../../../src/rules/compile-rules.ts";
import {
  type RecordedRequest,
  type ReplayedEffect,
  replayRequests,
} from "../../../src/rules/replay-requests.ts";
import { rightsEffect } from "../../../src/rules/rights-effect.ts";
import { Random } from "../../support/random.ts";
import { testConfig, toConfig } from "../../support/service.ts";

const rulesOf = (...rules: object[]) =>
  compileRules(toConfig(testConfig("mongodb://127.0.0.1", "shop", { collections: { items: { rules } } })));

const OWN = { name: "own", filter: { owner: "%%user.sub" } };
const STAFF = { name: "staff", when: { "%%user.realm.roles": "staff" } };

test("names the claims that conditions, filters and lookups read", () => {
  const config = toConfig(
    testConfig("mongodb://127.0.0.1", "shop", {
      collections: {
        items: {
          lookups: { rooms: { collection: "members", filter: { user: "%%oid:user.id" }, value: "room" } },
          rules: [
            { name: "a", when: { "%%words:user.scope": "read", '%%user["https://x.y/roles"].0': "admin" } },
            { name: "b", filter: { a: "%%user.sub", room: { $in: "%%lookup.rooms" }, at: { $lt: "%%now" } } },
          ],
        },
      },
    }),
  );
  const [items] = compileRules(config).collections.values();
  const paths = items === undefined ? [] : claimsReadBy(items);
  expect(paths).toEqual([["scope"], ["https://x.y/roles", "0"], ["sub"], ["id"]]);
});

test("keeps of the claims only those on the paths, and lists whole", () => {
  const claims = {
    sub: "ada",
    email: "a@b",
    realm: { roles: ["staff"], secret: 1 },
    list: [{ a: 1 }],
    ["__proto__"]: 1,
  };
  expect(
    JSON.stringify(onlyClaims(claims, [["sub"], ["realm", "roles"], ["list", "0", "a"], ["missing", "x"]])),
  ).toBe('{"sub":"ada","realm":{"roles":["staff"]},"list":[{"a":1}]}');
  expect(JSON.stringify(onlyClaims(claims, [["realm"], ["realm", "roles"]]))).toBe(
    '{"realm":{"roles":["staff"],"secret":1}}',
  );
  expect(isRecorded(["realm", "roles"], [["realm"]])).toBe(true);
  expect(isRecorded(["realm"], [["realm", "roles"]])).toBe(false);
});

const recorded = (claims: RecordedRequest["claims"], filter?: object): RecordedRequest => ({
  request: {
    collection: "items",
    ...(filter === undefined ? {} : { filter: filter as Record<string, unknown> }),
  },
  claims,
  reads: [["sub"], ["realm", "roles"]],
});

test("counts what a draft refuses, and what gains, loses, changes and stays, and says where a claim is missing", async () => {
  const inForce = rulesOf(STAFF, OWN);
  const requests = [
    recorded({ sub: "ada", realm: { roles: ["staff"] } }),
    recorded({ sub: "ben" }),
    recorded(null),
  ];
  const effects = async (...draft: object[]) =>
    (await replayRequests(requests, inForce, rulesOf(...draft), 0)).effects;
  expect(await effects(STAFF, OWN)).toMatchObject({ unchanged: 3 });
  expect(await effects(OWN)).toMatchObject({ unchanged: 2, loses: 1 });
  expect(await effects(STAFF)).toMatchObject({ unchanged: 2, refused: 1 });
  expect(await effects({ name: "all" })).toMatchObject({ unchanged: 2, gains: 1 });
  expect(await effects({ name: "all", anonymous: true })).toMatchObject({
    unchanged: 1,
    gains: 1,
    allowed: 1,
  });
  expect(await effects({ name: "team", filter: { team: "%%user.team" } })).toMatchObject({
    unknown: 2,
    unchanged: 1,
  });
  const { samples } = await replayRequests(requests, inForce, rulesOf(STAFF), 0);
  expect(samples).toEqual([{ effect: "refused", request: { collection: "items" }, claims: { sub: "ben" } }]);
});

/** The effect of one request by itself: authorization under both sets, and a comparison of the two queries. */
function effectAlone({ request, claims }: RecordedRequest, inForce: RuleSet, draft: RuleSet): ReplayedEffect {
  const under = (rules: RuleSet) => {
    try {
      const values = (lookup: { readonly key: string }) => [fromJs(`the values of ${lookup.key}`)];
      return authorize(rules, claims === null ? null : { claims }, request, 0, values);
    } catch (error) {
      if (error instanceof TidewireError) return null;
      throw error;
    }
  };
  const [before, after] = [under(inForce), under(draft)];
  if (before === null) return after === null ? "unchanged" : "allowed";
  return after === null ? "refused" : rightsEffect(before, after);
}

const READS = [["sub"], ["team"], ["realm", "roles"]];
const RULES = [
  STAFF,
  OWN,
  { name: "team", when: { "%%user.team": { $exists: true } }, filter: { team: "%%user.team" } },
  { name: "rooms", filter: { room: { $in: "%%lookup.rooms" } }, fields: { exclude: ["secret"] } },
  { name: "recent", filter: { at: { $lt: "%%now" }, owner: { $ne: "%%user.sub" } } },
  { name: "open", anonymous: true, filter: { status: "open" }, fields: { include: ["status", "owner"] } },
  { name: "windows", allow: { maxLimit: 10, sort: ["at"] }, filter: { owner: { $in: ["u1", "u2"] } } },
  { name: "counts", allow: { documents: false } },
];
const REQUESTS: readonly Partial<QueryRequest>[] = [
  {},
  { filter: { owner: "u1" } },
  { filter: { status: { $in: ["open", "late"] } }, fields: ["status"] },
  { filter: { secret: 1 } },
  { sort: [["at", 1]], limit: 5 },
  { sort: [["at", 1]], limit: 2_000 },
  { filter: { at: { $bad: 1 } } },
  { aggregate: { by: "status" } },
];

test("gives each request the effect that it has alone, however many users and requests have parts in common", async () => {
  const random = new Random(20_261_130);
  const lookups = { rooms: { collection: "members", filter: { user: "%%user.sub" }, value: "room" } };
  const randomRules = () => {
    const collection = () => ({
      lookups,
      rules: [...random.some(RULES), { name: "last", filter: { _id: 0 } }],
    });
    const collections = { items: collection(), ...(random.chance(0.9) ? { others: collection() } : {}) };
    return compileRules(toConfig(testConfig("mongodb://127.0.0.1", "shop", { collections })));
  };
  const randomRequest = (): RecordedRequest => ({
    request: { collection: random.pick(["items", "others"]), ...random.pick(REQUESTS) },
    claims: random.chance(0.1)
      ? null
      : {
          sub: `u${random.int(0, 3)}`,
          ...(random.chance(0.3) ? { team: random.pick(["red", "u1"]) } : {}),
          realm: { roles: random.chance(0.2) ? ["staff"] : [] },
        },
    reads: READS,
  });
  const seen = new Set<string>();
  for (let round = 0; round < 10; round++) {
    const [inForce, draft] = [randomRules(), randomRules()];
    const requests = Array.from({ length: 200 }, randomRequest);
    const expected: Record<string, number> = {};
    for (const each of requests) {
      const effect = effectAlone(each, inForce, draft);
      expected[effect] = (expected[effect] ?? 0) + 1;
      seen.add(effect);
    }
    const { effects } = await replayRequests(requests, inForce, draft, 0);
    expect(effects).toMatchObject(expected);
  }
  expect([...seen].sort()).toEqual(["allowed", "changes", "gains", "loses", "refused", "unchanged"]);
});

test("replays more distinct users and requests than it keeps in memory", async () => {
  const requests = Array.from({ length: 3_000 }, (_, n) =>
    recorded(
      { sub: `u${n % 2_100}`, realm: { roles: n % 7 === 0 ? ["staff"] : [] } },
      { status: { $in: ["open", `s${n}`] }, total: { $gt: n } },
    ),
  );
  const { effects } = await replayRequests(requests, rulesOf(STAFF, OWN), rulesOf(OWN), 0);
  expect(effects).toMatchObject({ loses: 429, unchanged: 2_571 });
});

import { expect, test } from "vitest";
import { claimsReadBy, isRecorded, onlyClaims } from "../../../src/rules/claims-read.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";
import { type RecordedRequest, replayRequests } from "../../../src/rules/replay-requests.ts";
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

test("replays 10,000 distinct requests in about a second", async () => {
  const requests = Array.from({ length: 10_000 }, (_, n) =>
    recorded(
      { sub: `u${n % 500}`, realm: { roles: n % 7 === 0 ? ["staff"] : [] } },
      { status: { $in: ["open", `s${n}`] }, total: { $gt: n } },
    ),
  );
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  const { effects } = await replayRequests(requests, rulesOf(STAFF, OWN), rulesOf(OWN), 0);
  const tookMs = performance.now() - startedMs;
  const usedMs = process.cpuUsage(cpu).user / 1_000;
  console.log(
    `replay: 10,000 requests in ${Math.round(tookMs)} ms, ${Math.round(usedMs)} ms of processor time`,
  );
  expect(effects).toMatchObject({ loses: 1_429, unchanged: 8_571 });
  // A busy machine takes a multiple.
  expect(tookMs).toBeLessThan(10_000);
});

import { expect, test, vi } from "vitest";
import { Collections, Limits } from "../../../src/config/config-schema.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import type { Connection } from "../../../src/gateway/connection/connection.ts";
import { handleRefresh } from "../../../src/gateway/connection/handlers/refresh.ts";
import { Login } from "../../../src/gateway/connection/login.ts";
import { collectionDigest } from "../../../src/gateway/rights/collection-digest.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";
import { grantOf } from "../../../src/rules/grant.ts";

const RULES = compileRules({
  mongodb: { database: "shop" },
  collections: Collections.parse({ items: { rules: [{ name: "wide", when: { "%%user.token": "wide" } }] } }),
  limits: Limits.parse({}),
});

const ITEMS = { database: "shop", collectionName: "items" };

/** The parts of a connection that a refresh needs. The test decides when tokens are verified. */
function connect(chargeChange = () => {}) {
  const verified = new Map(["narrow", "wide", "bad"].map((token) => [token, deferred()]));
  const taken: unknown[] = [];
  const retired = new Set<string>();
  const sent: unknown[] = [];
  const lost: unknown[] = [];
  const { key } = grantOf(RULES, { claims: { token: "wide" } }, "items", 0, () => null);
  const subscription = {
    id: "a",
    request: { collection: "items" },
    lookups: { values: () => null },
    query: { grant: key },
    attachment: { query: ITEMS, serves: () => true, isUndecided: () => false },
  };
  const subscriptions: unknown[] = [];
  const login = new Login(0);
  vi.spyOn(login, "replace").mockImplementation(({ claims }) => taken.push(claims["token"]));
  const connection = {
    context: {
      rules: RULES,
      clock: { nowMs: 0 },
      lostRights: { note: (...[, collection, at]: unknown[]) => lost.push([collection, at]) },
      feed: { timeline: { isSettled: true, headTime: 7n } },
      trust: {
        verify: async (token: string) => {
          await verified.get(token)?.promise;
          return { sub: "u", subject: "digest of u", claims: { token }, expiresAtMs: null };
        },
        refusalOf: ({ claims }: { claims: { token: string } }) =>
          retired.has(claims.token) ? new TidewireError("unauthenticated", "retired") : null,
      },
    },
    identity: { sub: "u", subject: "digest of u", claims: {}, expiresAtMs: null },
    login,
    send: ({ type }: { type: string }) => sent.push(type),
    subscriptions,
  } as unknown as Connection;
  const refresh = (token: string) => handleRefresh(connection, { type: "refresh", token }, chargeChange);
  return { refresh, verified, taken, sent, retired, lost, follow: () => subscriptions.push(subscription) };
}

test("[3.1] a token that takes longer to verify does not undo a newer one, and is answered all the same", async () => {
  const { refresh, verified, taken, sent } = connect();
  const first = refresh("wide");
  const second = refresh("narrow");
  verified.get("narrow")?.resolve();
  await second;
  verified.get("wide")?.resolve();
  await first;
  expect(taken).toEqual(["narrow"]);
  expect(sent).toEqual(["refreshed", "refreshed"]);
});

test("[3.3] a token without a right that is overtaken by one that gives it is remembered as a loss of that right", async () => {
  const { refresh, verified, taken, lost, follow } = connect();
  const without = refresh("narrow");
  const within = refresh("wide");
  verified.get("wide")?.resolve();
  await within;
  follow();
  verified.get("narrow")?.resolve();
  await without;
  expect(taken).toEqual(["wide"]);
  expect(lost).toEqual([[collectionDigest(ITEMS), 7n]]);
});

test("[3.1] a newer token that is refused leaves the older one its turn", async () => {
  const { refresh, verified, taken } = connect();
  const first = refresh("wide");
  const second = refresh("bad");
  verified.get("bad")?.reject(new Error("not genuine"));
  await expect(second).rejects.toThrow("not genuine");
  verified.get("wide")?.resolve();
  await first;
  expect(taken).toEqual(["wide"]);
});

test("[3.1] a token that loses its trust while it is being verified does not take effect", async () => {
  const { refresh, verified, taken, sent, retired } = connect();
  const refreshed = refresh("wide");
  verified.get("wide")?.resolve();
  retired.add("wide");
  await expect(refreshed).rejects.toThrow("retired");
  expect([taken, sent]).toEqual([[], []]);
});

test("[3.1] a token that changes rights too often does not take effect, and is remembered as a loss of the right", async () => {
  const charge = vi.fn(() => {
    throw new TidewireError("too-many-requests", "slow down");
  });
  const { refresh, verified, taken, sent, lost, follow } = connect(charge);
  for (const token of ["wide", "narrow"]) verified.get(token)?.resolve();
  await refresh("wide");
  expect(charge).not.toHaveBeenCalled();
  follow();
  await expect(refresh("narrow")).rejects.toThrow("slow down");
  expect([taken, sent]).toEqual([["wide"], ["refreshed"]]);
  expect(lost).toEqual([[collectionDigest(ITEMS), 7n]]);
});

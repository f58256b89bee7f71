import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import type { Connection } from "../../../src/gateway/connection/connection.ts";
import { handleRefresh } from "../../../src/gateway/connection/handlers/refresh.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";

/** What a refresh needs of a connection; tokens are verified when the test says so. */
function connect() {
  const verified = new Map(["narrow", "wide", "bad"].map((token) => [token, deferred()]));
  const taken: unknown[] = [];
  const retired = new Set<string>();
  const sent: unknown[] = [];
  const connection = {
    context: {
      feed: { isSettled: true },
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
    refreshes: { asked: 0, taken: 0 },
    replaceIdentity: ({ claims }: { claims: { token: string } }) => taken.push(claims.token),
    send: ({ type }: { type: string }) => sent.push(type),
    subscriptions: [],
  } as unknown as Connection;
  const refresh = (token: string) => handleRefresh(connection, { type: "refresh", token });
  return { refresh, verified, taken, sent, retired };
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

import { pino } from "pino";
import { expect, test } from "vitest";
import { Revocations } from "../../../src/gateway/rights/revocations.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";

const NOW_MS = 1_700_000_000_000;

test("keeps no revocations while they do not fit and no token is accepted, and the right ones afterwards", async () => {
  const parts = { metrics: createMetrics(), log: pino({ level: "silent" }) };
  const revocations = new Revocations(async () => [], parts);
  const identity = (sub: string) => ({
    claims: { sub },
    sub,
    subject: sub,
    expiresAtMs: null,
    issuedAtMs: NOW_MS,
    tokenId: null,
    signedBy: "",
  });
  const revoked = (sub: string) => ({
    sub,
    iss: null,
    jti: null,
    issuedBeforeMs: NOW_MS,
    expiresAtMs: NOW_MS + 1_000,
  });
  const codeOf = (sub: string) => revocations.refusalOf(identity(sub), NOW_MS)?.code;
  revocations.reloaded([revoked("ada")]);
  expect(["ada", "bob"].map(codeOf)).toEqual(["unauthenticated", undefined]);
  revocations.uncertain("too-large");
  revocations.entered(revoked("bob"));
  expect(["ada", "bob", "eve"].map(codeOf)).toEqual(["unauthenticated", "unauthenticated", "unavailable"]);
  revocations.unenforceable();
  revocations.entered(revoked("eve"));
  // All are refused, and for none it is known why: nothing is kept.
  expect(["ada", "bob", "eve"].map(codeOf)).toEqual(["unavailable", "unavailable", "unavailable"]);
  expect(revocations.endOf(identity("zoe"), NOW_MS)?.code).toBe("unavailable");
  revocations.reloaded([revoked("eve")]);
  expect(["ada", "bob", "eve"].map(codeOf)).toEqual([undefined, undefined, "unauthenticated"]);
});

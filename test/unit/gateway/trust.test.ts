import { SignJWT } from "jose";
import { pino } from "pino";
import { expect, test } from "vitest";
import { JwtOptions } from "../../../src/auth/options.ts";
import { Trust } from "../../../src/gateway/rights/trust.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const TOLERANCE_MS = 5_000;

test("a token that expires between its verification and its effect is refused at the moment at which it expires", async () => {
  const jwt = [JwtOptions.parse({ algorithms: ["HS256"], secret: SECRET, clockToleranceMs: TOLERANCE_MS })];
  const trust = new Trust(jwt, null, { metrics: createMetrics(), log: pino({ level: "silent" }) });
  const exp = Math.floor(Date.now() / 1_000) + 60;
  const sign = (claims: Record<string, unknown>) =>
    new SignJWT({ sub: "u1", ...claims })
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(SECRET));
  const identity = await trust.verify(await sign({ exp }));
  const endMs = exp * 1_000 + TOLERANCE_MS;
  expect(trust.refusalOf(identity, endMs - 1)).toBeNull();
  expect(trust.refusalOf(identity, endMs)).toMatchObject({
    code: "unauthenticated",
    details: { reason: "expired" },
    retry: "token",
  });
});

import { importJWK, jwtVerify } from "jose";
import { expect, test } from "vitest";
import { newVapidKeys, Vapid, vapidProblem } from "../../../src/push/vapid.ts";

const SUBJECT = "mailto:ops@example.com";
const URL_A = new URL("https://push.example.com/send/abc");

async function claimsOf(header: string, publicKey: string) {
  const [, token = "", key] = /^vapid t=([^,]+), k=(.+)$/.exec(header) ?? [];
  expect(key).toBe(publicKey);
  const point = Buffer.from(publicKey, "base64url");
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString("base64url"));
  const verifier = await importJWK({ kty: "EC", crv: "P-256", x: String(x), y: String(y) }, "ES256");
  return (await jwtVerify(token, verifier, { audience: "https://push.example.com" })).payload;
}

test("signs a token for the origin of the push service, with an end within 24 hours", async () => {
  const keys = newVapidKeys();
  const nowMs = Date.now();
  const payload = await claimsOf(
    new Vapid({ subject: SUBJECT, ...keys }).headerFor(URL_A, nowMs),
    keys.publicKey,
  );
  expect(payload).toEqual({ aud: "https://push.example.com", sub: SUBJECT, exp: expect.any(Number) });
  expect(Number(payload.exp) * 1_000 - nowMs).toBeLessThan(24 * 3_600_000);
});

test("signs once for many pushes, and again before the token ends", () => {
  const vapid = new Vapid({ subject: SUBJECT, ...newVapidKeys() });
  const first = vapid.headerFor(URL_A, 0);
  expect(vapid.headerFor(new URL("https://push.example.com/send/other"), 5 * 3_600_000)).toBe(first);
  expect(vapid.headerFor(URL_A, 6 * 3_600_000)).not.toBe(first);
  expect(vapid.headerFor(new URL("https://other.example.com/"), 0)).not.toBe(first);
});

test("the keys of a pair belong together, whatever their leading zeros", () => {
  for (let round = 0; round < 600; round++) {
    const keys = newVapidKeys();
    expect(vapidProblem(keys)).toBeNull();
    expect([keys.publicKey.length, keys.privateKey.length]).toEqual([87, 43]);
  }
});

test("names the key that is wrong, and repeats none", () => {
  const keys = newVapidKeys();
  const other = newVapidKeys();
  const problems = [
    vapidProblem({ ...keys, publicKey: other.publicKey }),
    vapidProblem({ ...keys, publicKey: "abc" }),
    vapidProblem({ ...keys, privateKey: "abc" }),
    vapidProblem({ ...keys, privateKey: Buffer.alloc(32).toString("base64url") }),
  ];
  expect(problems.map((problem) => problem?.path)).toEqual([
    "publicKey",
    "publicKey",
    "privateKey",
    "privateKey",
  ]);
  expect(JSON.stringify(problems)).not.toContain(keys.privateKey);
});

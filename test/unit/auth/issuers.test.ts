import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import { expect, onTestFinished, test } from "vitest";
import { createVerifiers } from "../../../src/auth/issuers.ts";
import { AuthOptions, JwtOptions } from "../../../src/auth/options.ts";

const SECRETS = { old: "o".repeat(40), other: "p".repeat(40) };
const nowMs = Date.parse("2026-01-01T00:00:00Z");
const key = (secret: string) => new TextEncoder().encode(secret);
const refused = (reason: string) => expect.objectContaining({ code: "unauthenticated", details: { reason } });

const sign = (claims: object, by: Uint8Array | KeyObject, alg = "HS256", kid?: string) =>
  new SignJWT({ sub: "u1", exp: nowMs / 1_000 + 60, ...claims })
    .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
    .sign(by);

const OLD = JwtOptions.parse({ algorithms: ["HS256"], secret: SECRETS.old, issuer: "https://old.example" });
const OTHER = JwtOptions.parse({
  algorithms: ["HS256"],
  secret: SECRETS.other,
  issuer: ["https://a.example", "https://b.example"],
});

test("a token is verified by the entry of its own issuer", async () => {
  const { verify } = verifierParts(createVerifiers([OLD, OTHER]));
  await expect(
    verify(await sign({ iss: "https://old.example" }, key(SECRETS.old)), nowMs),
  ).resolves.toMatchObject({ sub: "u1" });
  for (const iss of ["https://a.example", "https://b.example"])
    await expect(verify(await sign({ iss }, key(SECRETS.other)), nowMs)).resolves.toMatchObject({
      sub: "u1",
    });
});

test("no entry vouches for the issuer of another, and none for an issuer that no entry names", async () => {
  const { verify } = verifierParts(createVerifiers([OLD, OTHER]));
  const forged = [
    await sign({ iss: "https://old.example" }, key(SECRETS.other)),
    await sign({ iss: "https://a.example" }, key(SECRETS.old)),
    await sign({ iss: "https://c.example" }, key(SECRETS.old)),
    await sign({}, key(SECRETS.old)),
    await sign({ iss: ["https://old.example"] }, key(SECRETS.old)),
    "x.y.z",
    `${"e30"}.${Buffer.from("[".repeat(50_000)).toString("base64url")}.x`,
  ];
  for (const token of forged) await expect(verify(token, nowMs)).rejects.toEqual(refused("invalid"));
  await expect(verify("", nowMs)).rejects.toEqual(refused("missing"));
});

test("HS256 of one issuer stands beside fetched keys of another, and neither passes as the other", async () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const set = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k" }] });
  const http = createServer((_request, response) => response.end(set));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void http.close());
  const { port } = http.address() as AddressInfo; // it listens, so its address is one of TCP
  const fetched = JwtOptions.parse({
    algorithms: ["ES256"],
    jwksUri: `http://127.0.0.1:${port}/jwks`,
    issuer: "https://new.example",
  });
  const { verify, isTrusted, ensureKeys, keysAgeMs } = verifierParts(createVerifiers([OLD, fetched]));
  const [old, fresh] = [
    await sign({ iss: "https://old.example" }, key(SECRETS.old)),
    await sign({ iss: "https://new.example" }, privateKey, "ES256", "k"),
  ];
  const identities = [await verify(old, nowMs), await verify(fresh, nowMs)];
  expect(identities.map(({ signedBy }) => isTrusted(signedBy))).toEqual([true, true]);
  expect(keysAgeMs(nowMs + 5)).toBe(5);
  await expect(verify(await sign({ iss: "https://new.example" }, key(SECRETS.old)), nowMs)).rejects.toEqual(
    refused("invalid"),
  );
  await expect(
    verify(await sign({ iss: "https://old.example" }, privateKey, "ES256", "k"), nowMs),
  ).rejects.toEqual(refused("invalid"));
  // Another node, with the entries in another order, while the server of keys is down: its users wait for nobody else's keys.
  http.close();
  const other = verifierParts(createVerifiers([fetched, OLD]));
  const [byOld, byNew] = identities;
  await ensureKeys(byOld?.signedBy ?? "", nowMs);
  await other.ensureKeys(byOld?.signedBy ?? "", nowMs);
  expect([other.isTrusted(byOld?.signedBy ?? ""), other.isTrusted(byNew?.signedBy ?? "")]).toEqual([
    true,
    false,
  ]);
  await expect(other.ensureKeys(byNew?.signedBy ?? "", nowMs)).rejects.toMatchObject({ code: "unavailable" });
});

/** The methods, to be called without their object. */
function verifierParts(verifier: ReturnType<typeof createVerifiers>) {
  return {
    verify: verifier.verify.bind(verifier),
    isTrusted: verifier.isTrusted.bind(verifier),
    ensureKeys: verifier.ensureKeys.bind(verifier),
    keysAgeMs: verifier.keysAgeMs.bind(verifier),
  };
}

test("a key that two issuers share is retired for one of them alone", async () => {
  const shared = JwtOptions.parse({
    algorithms: ["HS256"],
    secret: SECRETS.old,
    issuer: "https://b.example",
  });
  const { signedBy } = await createVerifiers([OLD, shared]).verify(
    await sign({ iss: "https://b.example" }, key(SECRETS.old)),
    nowMs,
  );
  expect(createVerifiers([OLD, { ...shared, secret: SECRETS.other }]).isTrusted(signedBy)).toBe(false);
  expect(createVerifiers([OLD, shared]).isTrusted(signedBy)).toBe(true);
});

test("each entry of a list names its own issuers, and all have one tolerance", () => {
  const entry = (more: object) => ({ algorithms: ["HS256"], secret: SECRETS.old, ...more });
  const problems = (...jwt: object[]) =>
    AuthOptions.safeParse({ jwt }).error?.issues.map(
      ({ path, message }) => `${path.join(".")}: ${message}`,
    ) ?? [];
  expect(problems(entry({}))).toEqual([]);
  expect(problems(entry({ issuer: "a" }), entry({ issuer: ["b", "c"] }))).toEqual([]);
  expect(problems(entry({ issuer: "a" }), entry({}))[0]).toMatch(/^jwt\.1: .*Add issuer/);
  expect(problems(entry({ issuer: "a" }), entry({ issuer: ["b", "a"] }))[0]).toMatch(
    /^jwt\.1\.issuer: .*one entry only/,
  );
  expect(problems(entry({ issuer: "a" }), entry({ issuer: "b", clockToleranceMs: 0 }))[0]).toMatch(
    /^jwt\.1\.clockToleranceMs: .*the same value/,
  );
});

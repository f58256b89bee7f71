import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JWTHeaderParameters, SignJWT } from "jose";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Algorithm } from "../../../src/auth/algorithms.ts";
import { createVerifiers } from "../../../src/auth/issuers.ts";
import { JwtOptions } from "../../../src/auth/options.ts";
import { createVerifier, type TokenReason, tokenRefusal } from "../../../src/auth/verify-token.ts";

const nowMs = 1_700_000_000_000;
const now = nowMs / 1_000;
const SECRET = "0123456789abcdef0123456789abcdef";
const hs = JwtOptions.parse({ algorithms: ["HS256"], secret: SECRET });
const verifier = createVerifier(hs);

const keyOf = (secret: string) => new TextEncoder().encode(secret);
const sign = (
  claims: object,
  secret: Uint8Array | KeyObject = keyOf(SECRET),
  header: Partial<JWTHeaderParameters> = {},
) =>
  new SignJWT({ sub: "u1", exp: now + 60, ...claims })
    .setProtectedHeader({ alg: "HS256", ...header })
    .sign(secret);

const refused = (reason: string) => expect.objectContaining({ code: "unauthenticated", details: { reason } });
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
/** A token as nobody's library would make it, genuinely signed. */
function forge(header: unknown, payload: unknown, secret = SECRET): string {
  const head = `${part(header)}.${typeof payload === "string" ? Buffer.from(payload).toString("base64url") : part(payload)}`;
  return `${head}.${createHmac("sha256", secret).update(head).digest("base64url")}`;
}
const good = { sub: "u1", exp: now + 60 };

async function fileWith(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-key-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "key"), text);
  return join(folder, "key");
}

test("gives claims, sub and expiry of a genuine token", async () => {
  const identity = await verifier.verify(await sign({ roles: ["a"] }), nowMs);
  expect(identity).toMatchObject({
    sub: "u1",
    expiresAtMs: (now + 60) * 1_000,
    claims: { sub: "u1", roles: ["a"] },
  });
});

test("distinguishes users by issuer and sub, and gives the token's own iat and jti", async () => {
  const of = async (claims: object) => verifier.verify(await sign(claims), nowMs);
  const ada = await of({ iss: "https://a", sub: "ada", iat: now, jti: "t1" });
  expect(ada).toMatchObject({ sub: "ada", issuedAtMs: nowMs, tokenId: "t1" });
  expect((await of({ iss: "https://a", sub: "ada", jti: 7 as never })).subject).toBe(ada.subject);
  expect((await of({ iss: "https://b", sub: "ada" })).subject).not.toBe(ada.subject);
  expect(await of({ jti: 7 as never })).toMatchObject({ issuedAtMs: null, tokenId: "7" });
  expect(await verifier.verify(forge({ alg: "HS256" }, { exp: now + 60 }), nowMs)).toMatchObject({
    sub: null,
    subject: null,
    tokenId: null,
  });
});

describe("time", () => {
  test("allows exactly clockTolerance past the expiry, the first time and from the cache", async () => {
    for (const { verify } of [verifier, createVerifier({ ...hs, tokenCache: 0 })]) {
      const token = await sign({ exp: now });
      await expect(verify(token, nowMs + 4_999)).resolves.toMatchObject({ expiresAtMs: nowMs });
      await expect(verify(token, nowMs + 5_000)).rejects.toEqual(refused("expired"));
    }
  });

  test("allows exactly clockTolerance before nbf", async () => {
    const token = await sign({ nbf: now + 5 });
    await expect(verifier.verify(token, nowMs)).resolves.toBeDefined();
    await expect(verifier.verify(await sign({ nbf: now + 6 }), nowMs)).rejects.toEqual(
      refused("not-yet-valid"),
    );
  });

  test("asks for exp, unless the configuration says otherwise", async () => {
    const token = await sign({ exp: undefined });
    await expect(verifier.verify(token, nowMs)).rejects.toEqual(refused("invalid"));
    const lax = createVerifier({ ...hs, requireExpiry: false });
    await expect(lax.verify(token, nowMs)).resolves.toMatchObject({ expiresAtMs: null });
  });

  test.each(["1e300", "1e400", "9007199254740993"])(
    "an exp of %s is a time that a Date can hold",
    async (exp) => {
      const token = forge({ alg: "HS256" }, `{"sub":"u1","exp":${exp}}`);
      const { expiresAtMs } = await verifier.verify(token, nowMs);
      expect(new Date(expiresAtMs!).getTime()).toBe(expiresAtMs);
      expect(expiresAtMs).toBeGreaterThan(nowMs);
    },
  );

  test.each([
    ["a text", `"${now + 60}"`],
    ["null", "null"],
    ["a list", `[${now + 60}]`],
    ["true", "true"],
  ])("refuses an exp that is %s", async (_name, exp) => {
    const token = forge({ alg: "HS256" }, `{"sub":"u1","exp":${exp}}`);
    await expect(verifier.verify(token, nowMs)).rejects.toEqual(refused("invalid"));
  });
});

describe("what is not genuine is invalid, and nothing says why", () => {
  const cases: [string, () => string | Promise<string>][] = [
    ["another key", () => sign({}, keyOf("another-secret-of-thirty-two-bytes"))],
    ["an algorithm that is not listed", () => sign({}, keyOf(SECRET.repeat(2)), { alg: "HS512" })],
    ["alg none", () => `${part({ alg: "none" })}.${part(good)}.`],
    ["alg None", () => `${part({ alg: "None" })}.${part(good)}.`],
    ["no alg", () => forge({}, good)],
    ["an alg that is no text", () => forge({ alg: ["HS256"] }, good)],
    ["no signature", async () => `${(await sign({})).split(".").slice(0, 2).join(".")}.`],
    [
      "an altered payload",
      async () => (await sign({})).replace(/\.[^.]+\./, `.${part({ ...good, sub: "root" })}.`),
    ],
    ["an unknown crit", () => forge({ alg: "HS256", crit: ["x"], x: 1 }, good)],
    ["an empty crit", () => forge({ alg: "HS256", crit: [] }, good)],
    ["an unencoded payload", () => forge({ alg: "HS256", crit: ["b64"], b64: false }, good)],
    ["a payload that is a text", () => forge({ alg: "HS256" }, '"u1"')],
    ["a payload that is a list", () => forge({ alg: "HS256" }, "[]")],
    ["a payload that is null", () => forge({ alg: "HS256" }, "null")],
    ["a payload that is no JSON", () => forge({ alg: "HS256" }, "{")],
    ["a sub that is a number", () => sign({ sub: 5 as never })],
    ["a sub that is null", () => forge({ alg: "HS256" }, { ...good, sub: null })],
    ["a sub that is an object", () => forge({ alg: "HS256" }, { ...good, sub: { $ne: "" } })],
    ["an iss that is an object", () => sign({ iss: {} as never })],
    ["a jti that is a list", () => sign({ jti: [] as never })],
    ["an iat that is a text", () => sign({ iat: "1" as never })],
    ["five parts", () => "a.b.c.d.e"],
    ["no parts", () => "garbage"],
    [
      "a key of its own in the header",
      () => forge({ alg: "HS256", jwk: { kty: "oct", k: part("x") } }, good, "x"),
    ],
    ["a kid that is a path", () => forge({ alg: "HS256", kid: "../../../../dev/null" }, good, "")],
  ];
  test.each(cases)("%s", async (_name, make) => {
    const token = await make();
    const error: unknown = await verifier.verify(token, nowMs).catch((cause: unknown) => cause);
    expect(error).toEqual(refused("invalid"));
    expect(String(error)).toBe("TidewireError: the token is not genuine or not meant for this service");
    expect(error).toHaveProperty("retry", "never");
  });

  test("an expired token of another key is only invalid: claims are not looked at before the signature", async () => {
    const token = await sign({ exp: 1 }, keyOf("another-secret-of-thirty-two-bytes"));
    await expect(verifier.verify(token, nowMs)).rejects.toEqual(refused("invalid"));
  });

  test("no token is missing", async () => {
    await expect(verifier.verify("", nowMs)).rejects.toEqual(refused("missing"));
  });

  test("without auth.jwt no token is genuine", async () => {
    await expect(createVerifiers(undefined).verify(await sign({}), nowMs)).rejects.toEqual(
      refused("invalid"),
    );
  });
});

describe("issuer and audience", () => {
  const strict = createVerifier({ ...hs, issuer: ["a", "b"], audience: "shop" });
  test.each<[string, object, boolean]>([
    ["the right ones", { iss: "b", aud: "shop" }, true],
    ["one audience of several", { iss: "a", aud: ["x", "shop"] }, true],
    ["no issuer", { aud: "shop" }, false],
    ["another issuer", { iss: "c", aud: "shop" }, false],
    ["a list of issuers", { iss: ["a"], aud: "shop" }, false],
    ["no audience", { iss: "a" }, false],
    ["another audience", { iss: "a", aud: ["x"] }, false],
  ])("%s", async (_name, claims, taken) => {
    const verified = strict.verify(await sign(claims), nowMs);
    await (taken
      ? expect(verified).resolves.toBeDefined()
      : expect(verified).rejects.toEqual(refused("invalid")));
  });
});

describe("asymmetric keys", () => {
  let pairs: Record<string, { publicKey: KeyObject; privateKey: KeyObject }>;
  beforeAll(() => {
    const ec = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    pairs = {
      rsa,
      weak: generateKeyPairSync("rsa", { modulusLength: 1024 }),
      p256: ec("P-256"),
      p384: ec("P-384"),
      ed: generateKeyPairSync("ed25519"),
    };
  });
  const pem = (name: string) => pairs[name]!.publicKey.export({ type: "spki", format: "pem" }).toString();
  const optionsFor = async (algorithm: Algorithm, text: string) =>
    JwtOptions.parse({ algorithms: [algorithm], publicKey: await fileWith(text) });

  test.each<[Algorithm, string]>([
    ["RS256", "rsa"],
    ["PS256", "rsa"],
    ["ES256", "p256"],
    ["ES384", "p384"],
    ["EdDSA", "ed"],
    ["Ed25519", "ed"],
  ])(
    "%s verifies with its key as PEM and as JWK, and not with another's signature",
    async (algorithm, name) => {
      const jwk = JSON.stringify(pairs[name]!.publicKey.export({ format: "jwk" }));
      for (const text of [pem(name), jwk, `\uFEFF${jwk}`]) {
        const { verify } = createVerifier(await optionsFor(algorithm, text));
        const token = await sign({}, pairs[name]!.privateKey, { alg: algorithm });
        await expect(verify(token, nowMs)).resolves.toMatchObject({ sub: "u1" });
        await expect(verify(`${token.slice(0, -8)}AAAAAAAA`, nowMs)).rejects.toEqual(refused("invalid"));
      }
    },
  );

  test("the public key does not pass as an HS256 secret", async () => {
    const { verify } = createVerifier(await optionsFor("RS256", pem("rsa")));
    await expect(verify(await sign({}, keyOf(pem("rsa"))), nowMs)).rejects.toEqual(refused("invalid"));
  });

  test("one key serves one family", async () => {
    const { verify } = createVerifier(await optionsFor("RS256", pem("rsa")));
    const token = await sign({}, pairs["rsa"]!.privateKey, { alg: "PS256" });
    await expect(verify(token, nowMs)).rejects.toEqual(refused("invalid"));
  });

  test.each<[string, Algorithm, () => string, RegExp]>([
    [
      "a private key as PEM",
      "RS256",
      () => pairs["rsa"]!.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      /private key; name the public one/,
    ],
    [
      "a private key as JWK",
      "RS256",
      () => JSON.stringify(pairs["rsa"]!.privateKey.export({ format: "jwk" })),
      /private key/,
    ],
    ["a symmetric JWK", "RS256", () => '{"kty":"oct","k":"c2VjcmV0"}', /symmetric/],
    [
      "a JWK for encryption",
      "RS256",
      () => JSON.stringify({ ...pairs["rsa"]!.publicKey.export({ format: "jwk" }), use: "enc" }),
      /not for signatures/,
    ],
    ["a key of another kind", "RS256", () => pem("p256"), /type ec, not rsa/],
    ["a key on another curve", "ES256", () => pem("p384"), /curve is secp384r1, not prime256v1/],
    ["an RSA key that is too short", "RS256", () => pem("weak"), /less than 2048 bits/],
    ["a key set", "RS256", () => '{"keys":[]}', /jwksUri: file/],
    ["garbage", "RS256", () => "hello", /not a public key or certificate/],
  ])("refuses %s", async (_name, algorithm, text, expected) => {
    const options = await optionsFor(algorithm, text());
    expect(() => createVerifier(options)).toThrow(expected);
  });

  test("says what to do if the file is missing or is the key itself", () => {
    const options = (publicKey: string) =>
      ({ ...hs, algorithms: ["RS256" as const], secret: undefined, publicKey }) as unknown as JwtOptions;
    expect(() => createVerifier(options("/nowhere/key"))).toThrow(/cannot be read; check its path/);
    expect(() => createVerifier(options(pem("rsa")))).toThrow(/put the key into a file/);
  });
});

describe("the cache of verified tokens", () => {
  test("holds no more than its limit, and forgets the least recently used first", async () => {
    const { TokenCache } = await import("../../../src/auth/token-cache.ts");
    const cache = new TokenCache<number>(2);
    cache.set("a", 1);
    cache.set("b", 2);
    expect(cache.get("a")).toBe(1);
    cache.set("c", 3);
    expect([cache.get("a"), cache.get("b"), cache.get("c"), cache.size]).toEqual([1, undefined, 3, 2]);
    const none = new TokenCache<number>(0);
    none.set("a", 1);
    expect(none.size).toBe(0);
  });

  test("takes nothing that was worked out before it was cleared: the key may be retired by now", async () => {
    const { TokenCache } = await import("../../../src/auth/token-cache.ts");
    const cache = new TokenCache<number>(2);
    const { generation } = cache;
    cache.clear();
    cache.set("a", 1, generation);
    expect(cache.get("a")).toBeUndefined();
    cache.set("a", 2, cache.generation);
    expect(cache.get("a")).toBe(2);
  });

  test("a refused token is not remembered as a good one, nor a good one as another", async () => {
    const token = await sign({});
    await verifier.verify(token, nowMs);
    const altered = token.replace(/\.[^.]+\./, `.${part({ ...good, sub: "root" })}.`);
    await expect(verifier.verify(altered, nowMs)).rejects.toEqual(refused("invalid"));
    await expect(verifier.verify(altered, nowMs)).rejects.toEqual(refused("invalid"));
  });
});

test("an identity is trusted under the configured key, and under no other key or algorithm", async () => {
  const { signedBy } = await verifier.verify(await sign({}), nowMs);
  expect(verifier.isTrusted(signedBy)).toBe(true);
  expect(signedBy).not.toContain(SECRET);
  for (const changed of [
    { ...hs, secret: `${SECRET}x` },
    { ...hs, algorithms: ["HS384" as const], secret: SECRET.padEnd(48, "x") },
  ]) {
    expect(createVerifier(changed).isTrusted(signedBy)).toBe(false);
  }
  expect(createVerifiers(undefined).isTrusted(signedBy)).toBe(false);
});

describe("claims that rules could not be asked about", () => {
  const header = { alg: "HS256" };
  const payload = (claims: string) => `{"sub":"u1","exp":${now + 60},${claims}}`;
  const limits = JwtOptions.parse({ ...hs, claimsBytes: 300, claimsDepth: 3, claimsValues: 20 });
  const { verify } = createVerifier(limits);

  test.each([
    ["claims-bytes", '"a":"x"', `"a":"${"x".repeat(300)}"`],
    ["claims-depth", '"a":[[1]]', '"a":[[[]]]'],
    ["claims-values", `"a":[${Array(17).fill(1)}]`, `"a":[${Array(18).fill(1)}]`],
    ["claims-unusable", '"a":"\\u0000"', '"a\\u0000":1'],
  ])("are refused for ever, as %s, and those within the limit are taken", async (reason, taken, over) => {
    await expect(verify(forge(header, payload(taken)), nowMs)).resolves.toMatchObject({ sub: "u1" });
    for (let time = 0; time < 2; time++) {
      await expect(verify(forge(header, payload(over)), nowMs)).rejects.toMatchObject({
        code: "unauthenticated",
        retry: "never",
        details: { reason },
      });
    }
  });

  test("a list of thousands in each other is refused, not a crash", async () => {
    const deep = payload(`"a":${"[".repeat(5_000)}${"]".repeat(5_000)}`);
    await expect(createVerifier(hs).verify(forge(header, deep), nowMs)).rejects.toEqual(
      refused("claims-depth"),
    );
  });

  test("claims of a token that is not genuine are not looked at", async () => {
    const token = forge(header, payload('"a\\u0000":1'), "another-secret-of-thirty-two-bytes");
    await expect(verify(token, nowMs)).rejects.toEqual(refused("invalid"));
  });
});

test("another token may help wherever this one was good once, or will be", () => {
  const advice = (reason: TokenReason) => tokenRefusal(reason).retry;
  for (const reason of ["expired", "not-yet-valid", "key-unknown", "revoked"] as const)
    expect(advice(reason)).toBe("token");
  for (const reason of ["missing", "invalid", "claims-bytes"] as const) expect(advice(reason)).toBe("never");
});

import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { SignJWT } from "jose";
import { expect, onTestFinished, test } from "vitest";
import type { KeysEvent } from "../../../src/auth/jwks-keys.ts";
import { JwtOptions } from "../../../src/auth/options.ts";
import { createVerifier } from "../../../src/auth/verify-token.ts";

const nowMs = 1_700_000_000_000;
const COOLDOWN = 30_000;
const MAX_AGE = 600_000;
const STALE_MAX = 86_400_000;

const pair = (kid: string) => ({ kid, ...generateKeyPairSync("ec", { namedCurve: "P-256" }) });
type Pair = ReturnType<typeof pair>;
const [a, b, c] = [pair("a"), pair("b"), pair("c")];
const jwk = ({ kid, publicKey }: Pair, more: object = {}) => ({
  ...publicKey.export({ format: "jwk" }),
  kid,
  use: "sig",
  ...more,
});

const token = ({ kid, privateKey }: Pair, header: object = { kid }, atMs = nowMs) =>
  new SignJWT({ sub: "u1", exp: atMs / 1_000 + 3_600 })
    .setProtectedHeader({ alg: "ES256", ...header })
    .sign(privateKey);

const refused = (reason: string) => expect.objectContaining({ code: "unauthenticated", details: { reason } });

/** A key server whose answer can be changed, and which counts what it is asked. */
async function keyServer(...keys: object[]) {
  const server = {
    keys,
    requests: 0,
    listener: undefined as RequestListener | undefined,
    paths: [] as string[],
  };
  const http = createServer((request, response) => {
    server.requests++;
    server.paths.push(request.url ?? "");
    if (server.listener !== undefined) server.listener(request, response);
    else response.end(JSON.stringify({ keys: server.keys }));
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  // The server listens, so its address is one of TCP.
  const { port } = http.address() as AddressInfo;
  onTestFinished(async () => {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  });
  return Object.assign(server, { uri: `http://127.0.0.1:${port}/jwks` });
}

function verifierFor(uri: string, more: object = {}) {
  const events: KeysEvent[] = [];
  const options = JwtOptions.parse({
    algorithms: ["ES256", "RS256"],
    jwksUri: uri,
    // Long enough for a busy machine.
    jwksTimeoutMs: 20_000,
    ...more,
  });
  return { ...createVerifier(options, (event) => events.push(event)), events };
}

test("fetches the keys once for many tokens at the same time", async () => {
  const server = await keyServer(jwk(a), jwk(b));
  const { verify } = verifierFor(server.uri);
  const tokens = await Promise.all([token(a), token(b), token(a), token(b)]);
  await Promise.all(tokens.map((text) => verify(text, nowMs)));
  expect(server.requests).toBe(1);
});

test("a flood of unknown kids causes one fetch per cooldown, and each token is refused with key-unknown", async () => {
  const server = await keyServer(jwk(a));
  const { verify } = verifierFor(server.uri);
  await verify(await token(a), nowMs);
  for (let i = 0; i < 50; i++) {
    const unknown = await token(b, { kid: `k${i}` });
    await expect(verify(unknown, nowMs + i)).rejects.toEqual(refused("key-unknown"));
  }
  expect(server.requests).toBe(1);
  const later = (ms: number) =>
    token(b, { kid: "later" }).then((text) => verify(text, nowMs + ms).catch(() => {}));
  await later(COOLDOWN - 1);
  expect(server.requests).toBe(1);
  await later(COOLDOWN);
  expect(server.requests).toBe(2);
});

test("picks up a rotated key once the cooldown is over", async () => {
  const server = await keyServer(jwk(a));
  const { verify } = verifierFor(server.uri);
  await verify(await token(a), nowMs);
  server.keys = [jwk(a), jwk(b)];
  await expect(verify(await token(b), nowMs + COOLDOWN)).resolves.toMatchObject({ sub: "u1" });
});

test("a retired key is trusted no longer than the maximum age, not even for a token that was verified before", async () => {
  const server = await keyServer(jwk(a));
  const { verify } = verifierFor(server.uri);
  const text = await token(a);
  await verify(text, nowMs);
  server.keys = [jwk(b)];
  await expect(verify(text, nowMs + MAX_AGE - 1)).resolves.toBeDefined();
  await expect(verify(text, nowMs + MAX_AGE)).rejects.toEqual(refused("key-unknown"));
});

test("keeps the keys that it has while the server is away, and says so", async () => {
  const server = await keyServer(jwk(a));
  const { verify, events } = verifierFor(server.uri);
  await verify(await token(a), nowMs);
  server.listener = (_request, response) => response.writeHead(503).end();
  await expect(verify(await token(a), nowMs + MAX_AGE)).resolves.toMatchObject({ sub: "u1" });
  expect(events.map(({ type }) => type)).toEqual(["changed", "failed"]);
  expect(server.requests).toBe(2);
});

test("while no keys have been had at all, tokens are not judged: unavailable, and soon tried again", async () => {
  const server = await keyServer(jwk(a));
  const { verify } = verifierFor(server.uri);
  server.listener = (_request, response) => response.writeHead(500).end();
  const text = await token(a);
  await expect(verify(text, nowMs)).rejects.toMatchObject({ code: "unavailable", retryAfterMs: 5_000 });
  server.listener = undefined;
  await expect(verify(text, nowMs + 4_999)).rejects.toMatchObject({ code: "unavailable" });
  await expect(verify(text, nowMs + 5_000)).resolves.toMatchObject({ sub: "u1" });
});

test.each<[string, RequestListener]>([
  [
    "a redirect to another host",
    (request, response) =>
      response
        .writeHead(302, { location: `http://localhost:${request.headers.host?.split(":")[1]}/jwks` })
        .end(),
  ],
  [
    "an answer without end",
    (_request, response) => void response.write(`{"keys":[],"x":"${"x".repeat(300_000)}`),
  ],
  ["an answer that never comes", () => {}],
  ["no JSON", (_request, response) => response.end("<html>")],
  ["no list of keys", (_request, response) => response.end('{"keys":{}}')],
  ["too many keys", (_request, response) => response.end(JSON.stringify({ keys: Array(101).fill({}) }))],
])("does not take %s", async (_name, listener) => {
  const server = await keyServer();
  server.listener = listener;
  const { verify, events } = verifierFor(server.uri, { jwksTimeoutMs: 300 });
  await expect(verify(await token(a), nowMs)).rejects.toMatchObject({ code: "unavailable" });
  expect(events.map(({ type }) => type)).toEqual(["failed"]);
  expect(server.paths).toEqual(["/jwks"]);
});

test("redirects within the host are followed, and no more than five", async () => {
  const server = await keyServer(jwk(a));
  let left = 5;
  server.listener = (_request, response) =>
    left-- > 0
      ? response.writeHead(302, { location: `/next/${left}` }).end()
      : response.end(JSON.stringify({ keys: [jwk(a)] }));
  await expect(verifierFor(server.uri).verify(await token(a), nowMs)).resolves.toMatchObject({ sub: "u1" });
  expect(server.paths).toEqual(["/jwks", "/next/4", "/next/3", "/next/2", "/next/1", "/next/0"]);
  left = 6;
  await expect(verifierFor(server.uri).verify(await token(a), nowMs)).rejects.toMatchObject({
    code: "unavailable",
  });
});

test("a set that begins with a byte order mark is read", async () => {
  const server = await keyServer();
  server.listener = (_request, response) => response.end(`\uFEFF${JSON.stringify({ keys: [jwk(a)] })}`);
  await expect(verifierFor(server.uri).verify(await token(a), nowMs)).resolves.toMatchObject({ sub: "u1" });
});

test("logins with a known key do not wait for a server of keys that hangs; a new key does", async () => {
  const server = await keyServer(jwk(a));
  const { verify } = verifierFor(server.uri, { jwksTimeoutMs: 60_000 });
  await verify(await token(a), nowMs);
  const hanging: ServerResponse[] = [];
  const isAsked = new Promise<void>((resolve) => {
    server.listener = (_request, response) => {
      hanging.push(response);
      resolve();
    };
  });
  const late = nowMs + MAX_AGE + 1;
  // The server never answers them: they settle all the same.
  for (let login = 0; login < 3; login++) await verify(await token(a, { kid: "a" }, late), late);
  await isAsked;
  expect(hanging).toHaveLength(1);
  let isNewSettled = false;
  const unknown = verify(await token(b, { kid: "b" }, late), late).finally(() => {
    isNewSettled = true;
  });
  await verify(await token(a, { kid: "a" }, late), late);
  expect(isNewSettled).toBe(false);
  hanging[0]?.end(JSON.stringify({ keys: [jwk(a), jwk(b)] }));
  await expect(unknown).resolves.toMatchObject({ sub: "u1" });
});

test.each<[string, object]>([
  ["a symmetric key", { kty: "oct", k: Buffer.alloc(32).toString("base64url"), kid: "a" }],
  ["a private key", { ...a.privateKey.export({ format: "jwk" }), kid: "a" }],
  ["a key for encryption", jwk(a, { use: "enc" })],
  ["a key that may not verify", jwk(a, { key_ops: ["encrypt"] })],
  ["a key for another algorithm", jwk(a, { alg: "ES384" })],
  ["a key of an unknown kind", { kty: "NEW", kid: "a" }],
  ["a damaged key", { kty: "EC", crv: "P-256", x: "AA", y: "AA", kid: "a" }],
  ["a kid that is no text", jwk(a, { kid: ["a"] })],
  ["no object", "a" as unknown as object],
])("leaves out of a set %s, and uses the rest", async (_name, key) => {
  const server = await keyServer(key, jwk(b));
  const { verify, events } = verifierFor(server.uri);
  await expect(verify(await token(b), nowMs)).resolves.toBeDefined();
  await expect(verify(await token(a), nowMs)).rejects.toEqual(refused("key-unknown"));
  expect(events).toEqual([
    expect.objectContaining({ type: "changed", kids: ["b"], refused: [expect.any(String)] }),
  ]);
});

test("a token without a kid is taken where only one key can be meant", async () => {
  const one = await keyServer(jwk(a));
  await expect(verifierFor(one.uri).verify(await token(a, {}), nowMs)).resolves.toBeDefined();
  const two = await keyServer(jwk(a), jwk(b));
  await expect(verifierFor(two.uri).verify(await token(a, {}), nowMs)).rejects.toEqual(
    refused("key-unknown"),
  );
});

test.each(["__proto__", "constructor", "../jwks", "http://127.0.0.1/evil", ""])(
  "the kid %j is looked up, and nothing else",
  async (kid) => {
    const server = await keyServer(jwk(a), jwk(b));
    await expect(verifierFor(server.uri).verify(await token(c, { kid }), nowMs)).rejects.toEqual(
      refused("key-unknown"),
    );
    expect(server.paths).toEqual(["/jwks"]);
  },
);

test("a kid names a key, but another's signature stays invalid", async () => {
  const server = await keyServer(jwk(a), jwk(b));
  await expect(verifierFor(server.uri).verify(await token(a, { kid: "b" }), nowMs)).rejects.toEqual(
    refused("invalid"),
  );
});

test("where a token says its keys are (jku, x5u, jwk) is never looked at", async () => {
  const server = await keyServer(jwk(a));
  const evil = await keyServer(jwk(c, { kid: "a" }));
  const { verify } = verifierFor(server.uri);
  const header = { kid: "a", jku: evil.uri, x5u: evil.uri, jwk: jwk(c) };
  await expect(verify(await token(c, header), nowMs)).rejects.toEqual(refused("invalid"));
  expect(evil.requests).toBe(0);
});

test("reads a key set from a file, and again when it is older than the maximum age", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-jwks-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "jwks.json");
  await writeFile(path, JSON.stringify({ keys: [jwk(a)] }));
  const { verify } = verifierFor(pathToFileURL(path).href);
  await expect(verify(await token(a), nowMs)).resolves.toBeDefined();
  await writeFile(path, JSON.stringify({ keys: [jwk(b)] }));
  await expect(verify(await token(b), nowMs + MAX_AGE)).resolves.toBeDefined();
  await expect(verify(await token(a), nowMs + MAX_AGE)).rejects.toEqual(refused("key-unknown"));
});

test("an answer without end is left at the limit, not at the timeout", async () => {
  const server = await keyServer();
  server.listener = (_request, response) => void response.write("x".repeat(300_000));
  const { verify, events } = verifierFor(server.uri, { jwksTimeoutMs: 10_000 });
  await expect(verify(await token(a), nowMs)).rejects.toMatchObject({ code: "unavailable" });
  expect(String(events[0]?.type === "failed" && events[0].error)).toContain("larger than 262144 bytes");
});

const away: RequestListener = (_request, response) => response.writeHead(503).end();

test("keys that cannot be fetched again are trusted until jwksStaleMax, and not a millisecond longer", async () => {
  const server = await keyServer(jwk(a));
  const { verify, isTrusted, events } = verifierFor(server.uri);
  const text = await token(a, { kid: "a" }, nowMs + STALE_MAX);
  const { signedBy } = await verify(text, nowMs);
  server.listener = away;
  await expect(verify(text, nowMs + STALE_MAX - 1)).resolves.toMatchObject({ sub: "u1" });
  expect(isTrusted(signedBy)).toBe(true);
  await expect(verify(text, nowMs + STALE_MAX)).rejects.toMatchObject({ code: "unavailable" });
  expect(isTrusted(signedBy)).toBe(false);
  expect(events.map(({ type }) => type)).toEqual(["changed", "failed", "expired"]);
  // The same set as before is a known one again.
  server.listener = undefined;
  await expect(verify(text, nowMs + STALE_MAX + COOLDOWN)).resolves.toMatchObject({ sub: "u1" });
  expect(isTrusted(signedBy)).toBe(true);
});

test("keys are fetched again, and given up at jwksStaleMax, also while no token is verified", async () => {
  const server = await keyServer(jwk(a));
  const { verify, tick, isTrusted, keysAgeMs, events } = verifierFor(server.uri);
  await tick(nowMs);
  expect([server.requests, keysAgeMs(nowMs)]).toEqual([0, null]);
  const { signedBy } = await verify(await token(a), nowMs);
  await tick(nowMs + MAX_AGE - 1);
  expect(server.requests).toBe(1);
  await tick(nowMs + MAX_AGE);
  expect([server.requests, keysAgeMs(nowMs + MAX_AGE + 5)]).toEqual([2, 5]);
  server.listener = away;
  const limit = nowMs + MAX_AGE + STALE_MAX;
  for (const at of [limit - COOLDOWN, limit - 1]) await tick(at);
  expect(isTrusted(signedBy)).toBe(true);
  await tick(limit);
  expect(isTrusted(signedBy)).toBe(false);
  expect(events.map(({ type }) => type)).toEqual(["changed", "failed", "expired", "failed"]);
});

test("a process that did not run past jwksStaleMax fetches the keys before it gives them up", async () => {
  const server = await keyServer(jwk(a));
  const { verify, tick, isTrusted, events } = verifierFor(server.uri);
  const { signedBy } = await verify(await token(a), nowMs);
  await tick(nowMs + 2 * STALE_MAX);
  expect(isTrusted(signedBy)).toBe(true);
  expect(events.map(({ type }) => type)).toEqual(["changed"]);
});

test("a key is retired when the set no longer holds it, even if another key has its kid now", async () => {
  const server = await keyServer(jwk(a), jwk(b));
  const { verify, tick, isTrusted } = verifierFor(server.uri);
  const [byA, byB] = [await verify(await token(a), nowMs), await verify(await token(b), nowMs)];
  expect([isTrusted(byA.signedBy), isTrusted(byB.signedBy)]).toEqual([true, true]);
  server.keys = [jwk(c, { kid: "a" }), jwk(b)];
  await tick(nowMs + MAX_AGE);
  expect([isTrusted(byA.signedBy), isTrusted(byB.signedBy)]).toEqual([false, true]);
});

test("a key that a set restricts to another algorithm is retired for the one it served", async () => {
  const server = await keyServer(jwk(a));
  const { verify, tick, isTrusted } = verifierFor(server.uri);
  const { signedBy } = await verify(await token(a), nowMs);
  server.keys = [jwk(a, { alg: "ES384" })];
  await tick(nowMs + MAX_AGE);
  expect(isTrusted(signedBy)).toBe(false);
});

test("an identity that another node verified is judged once there is a key set, and not before", async () => {
  const server = await keyServer(jwk(a));
  const { signedBy } = await verifierFor(server.uri).verify(await token(a), nowMs);
  const other = verifierFor(server.uri);
  server.listener = away;
  await expect(other.ensureKeys(signedBy, nowMs)).rejects.toMatchObject({ code: "unavailable" });
  server.listener = undefined;
  await other.ensureKeys(signedBy, nowMs + COOLDOWN);
  expect(other.isTrusted(signedBy)).toBe(true);
});

test("jwksStaleMax is at least jwksMaxAge", () => {
  const parse = (jwksStaleMaxMs: number) =>
    JwtOptions.safeParse({ algorithms: ["ES256"], jwksUri: "https://a.example/", jwksStaleMaxMs }).success;
  expect([parse(MAX_AGE - 1), parse(MAX_AGE)]).toEqual([false, true]);
});

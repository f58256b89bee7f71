import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { AdminAccess, AdminRefusal, type Need } from "../../../src/admin/access/admin-access.ts";
import { Credentials } from "../../../src/admin/access/credentials.ts";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { OneTimeToken } from "../../../src/admin/access/one-time-token.ts";
import { Sessions } from "../../../src/admin/access/sessions.ts";
import { AdminOptions } from "../../../src/gateway/admin-options.ts";
import { recordingLog } from "../../support/node.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
const VIEW = "a-secret-that-may-only-view";
const JWT_SECRET = "a secret of more than thirty-two bytes, for admins";

const FULL = {
  token: TOKEN,
  tokens: [{ name: "viewer", sha256: digestOf(VIEW).toString("hex"), roles: ["view"] }],
  jwt: {
    algorithms: ["HS256"],
    secret: JWT_SECRET,
    when: { view: { "%%user.groups": { $in: ["ops", "support"] } }, act: { "%%user.groups": "ops" } },
  },
};

function access(
  options: object = FULL,
  oneTime: OneTimeToken | null = null,
  log = pino({ level: "silent" }),
) {
  const parsed = AdminOptions.parse(options);
  const sessions = new Sessions(parsed, { counted: () => {}, ended: () => {} });
  const credentials = new Credentials(parsed, oneTime, log);
  return { own: new AdminAccess(parsed, credentials, sessions, 0), sessions };
}

/** A request as far as access looks at it. */
const request = (headers: Record<string, string> = {}, remoteAddress = "127.0.0.1") => {
  const looked = {
    headers: { host: "127.0.0.1:8481", ...headers },
    socket: { remoteAddress },
  };
  return looked as unknown as IncomingMessage; // nothing else is looked at
};

const bearer = (token: string, from?: string) => request({ authorization: `Bearer ${token}` }, from);
const LOOK: Need = { role: "view", changes: false };
const ACT: Need = { role: "act", changes: true };

const refusalOf = async (admitted: Promise<unknown>): Promise<AdminRefusal | null> => {
  const value = await admitted;
  return value instanceof AdminRefusal ? value : null;
};

const jwt = (claims: Record<string, unknown>, secret = JWT_SECRET, lifeSeconds = 60) =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime(Math.floor(Date.now() / 1_000) + lifeSeconds)
    .sign(new TextEncoder().encode(secret));

test("the right token passes, anything else is refused with the way to send one", async () => {
  const { own } = access();
  expect(await refusalOf(own.admit(bearer(TOKEN), ACT, 0))).toBeNull();
  const wrong = [
    request(),
    bearer(TOKEN.slice(1)),
    bearer(`${TOKEN}0`),
    bearer(TOKEN.toUpperCase()),
    bearer(""),
    // The digest is in the configuration, so it must be of no use.
    bearer(digestOf(VIEW).toString("hex")),
    request({ authorization: TOKEN }),
    request({ authorization: `Basic ${TOKEN}` }),
    request({ authorization: `Bearer ${TOKEN} ${TOKEN}` }),
    request({ cookie: `tidewire-admin-8481=${TOKEN}` }),
  ];
  for (const given of wrong) {
    const refusal = await refusalOf(own.admit(given, LOOK, 0));
    expect([refusal?.status, refusal?.reason]).toEqual([401, "token"]);
    expect(refusal?.message).toContain("server.admin");
    expect(refusal?.message).not.toContain(TOKEN.slice(1, 20));
  }
});

test("a token has the roles of its entry, and no others", async () => {
  const { own } = access();
  expect(await own.admit(bearer(VIEW), LOOK, 0)).toMatchObject({
    admin: { name: "token:viewer" },
    session: null,
  });
  for (const role of ["act", "edit", "documents"] as const) {
    const refusal = await refusalOf(own.admit(bearer(VIEW), { role, changes: false }, 0));
    expect([refusal?.status, refusal?.reason]).toEqual([403, "role"]);
    expect(refusal?.message).toContain(`role ${role}`);
    expect(await refusalOf(own.admit(bearer(TOKEN), { role, changes: false }, 0))).toBeNull();
  }
});

test("the claims of a JWT grant the roles whose filter they match", async () => {
  const { own } = access();
  const ops = bearer(await jwt({ sub: "ada", groups: ["ops"] }));
  expect(await own.admit(ops, ACT, 0)).toMatchObject({
    admin: { name: "jwt::ada" },
  });
  const support = bearer(await jwt({ sub: "bob", groups: ["support"] }));
  expect(await refusalOf(own.admit(support, LOOK, 0))).toBeNull();
  expect((await refusalOf(own.admit(support, ACT, 0)))?.reason).toBe("role");
  // The login service knows people who are no admins. They cannot even log in, or read protected metrics.
  const nobody = await jwt({ sub: "eve" });
  expect((await refusalOf(own.admit(bearer(nobody), { role: null, changes: false }, 0)))?.reason).toBe(
    "token",
  );
  expect((await refusalOf(own.logIn(nobody, "", 0)))?.reason).toBe("token");
  const forged = bearer(await jwt({ sub: "eve", groups: ["ops"] }, `${JWT_SECRET}!`));
  expect((await refusalOf(own.admit(forged, LOOK, 0)))?.reason).toBe("token");
  const expired = bearer(await jwt({ sub: "ada", groups: ["ops"] }, JWT_SECRET, -60));
  expect((await refusalOf(own.admit(expired, LOOK, 0)))?.reason).toBe("token");
});

test.each([{}, { token: "" }])(
  "without a configured token every token is refused, and the text says what to set",
  async (options) => {
    const { own } = access(options);
    for (const given of [request(), bearer(TOKEN), bearer(""), bearer("undefined")]) {
      const refusal = await refusalOf(own.admit(given, LOOK, 0));
      expect([refusal?.status, refusal?.message]).toEqual([
        403,
        expect.stringContaining("set server.admin.tokens"),
      ]);
    }
  },
);

test("wrong tokens are limited in rate, at a login, too, and never keep the right one out", async () => {
  const { own } = access();
  const statuses: unknown[] = [];
  for (let index = 0; index < 30; index++) {
    const refused =
      index % 2 === 0 ? refusalOf(own.admit(bearer("wrong"), LOOK, 0)) : refusalOf(own.logIn("wrong", "", 0));
    statuses.push((await refused)?.status);
  }
  expect(statuses).toEqual([...Array(20).fill(401), ...Array(10).fill(429)]);
  const late = await refusalOf(own.admit(bearer("wrong"), LOOK, 0));
  expect(late?.headers).toEqual({ "retry-after": "1" });
  expect(await refusalOf(own.admit(bearer(TOKEN), LOOK, 0))).toBeNull();
  expect(await refusalOf(own.logIn(TOKEN, "", 0))).toBeNull();
  expect((await refusalOf(own.admit(bearer("wrong"), LOOK, 1_000)))?.status).toBe(401);
  expect((await refusalOf(own.admit(bearer("wrong"), LOOK, 1_000)))?.status).toBe(429);
});

/** A login service with a key set. `stop` makes it unreachable. */
async function startIssuer() {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const keys = [{ ...(await exportJWK(publicKey)), kid: "1", alg: "ES256" }];
  let fetches = 0;
  const http = createServer((_request, response) => {
    fetches++;
    response.setHeader("connection", "close").end(JSON.stringify({ keys }));
  });
  await once(http.listen(0, "127.0.0.1"), "listening");
  const { port } = http.address() as AddressInfo; // it listens on a port
  const stop = () => new Promise((resolve) => http.close(resolve));
  onTestFinished(() => void http.close());
  const sign = () =>
    new SignJWT({ sub: "ada" })
      .setProtectedHeader({ alg: "ES256", kid: "1" })
      .setExpirationTime("1h")
      .sign(privateKey);
  const jwtOptions = {
    algorithms: ["ES256"],
    jwksUri: `http://127.0.0.1:${port}/keys`,
    when: { view: { "%%user.sub": "ada" } },
  };
  return {
    options: { ...FULL, jwt: jwtOptions },
    sign,
    stop,
    fetches: () => fetches,
  };
}

test("while the keys of JWTs cannot be fetched, a JWT is answered with 503 and the log has one line, and tokens pass", async () => {
  const issuer = await startIssuer();
  await issuer.stop();
  const { log, warnings } = recordingLog();
  const { own } = access(issuer.options, null, log);
  const given = await issuer.sign();
  for (let index = 0; index < 5; index++) {
    const refusal = await refusalOf(
      index % 2 === 0 ? own.admit(bearer(given), LOOK, 0) : own.logIn(given, "", 0),
    );
    expect([refusal?.status, refusal?.reason]).toEqual([503, "issuer"]);
    expect(refusal?.message).toContain("server.admin.jwt");
    expect(Number(refusal?.headers["retry-after"])).toBeGreaterThan(0);
  }
  expect(warnings()).toEqual(["the signing keys of server.admin.jwt could not be fetched"]);
  expect(await refusalOf(own.admit(bearer(TOKEN), ACT, 0))).toBeNull();
});

test("a request with an invented session causes no question to the login service", async () => {
  const issuer = await startIssuer();
  const { own } = access(issuer.options);
  expect(await refusalOf(own.admit(bearer(await issuer.sign()), LOOK, 0))).toBeNull();
  const tomorrow = Date.now() + 86_400_000;
  const invented = request({ cookie: "tidewire-admin-8481=invented" });
  expect((await refusalOf(own.admit(invented, LOOK, tomorrow)))?.reason).toBe("token");
  expect(issuer.fetches()).toBe(1);
});

test("the verification of unproven JWTs is limited by address, and neither other addresses nor proven JWTs notice", async () => {
  const { own } = access();
  const proven = await jwt({ sub: "ada", groups: ["ops"] });
  expect(await refusalOf(own.admit(bearer(proven, "192.0.2.1"), LOOK, 0))).toBeNull();
  // One verification was for the JWT above.
  for (let index = 1; index < 50; index++) {
    const forged = await jwt({ sub: `${index}` }, `${JWT_SECRET}!`);
    await own.admit(bearer(forged, "192.0.2.1"), LOOK, 0);
  }
  const unproven = await jwt({ sub: "bob", groups: ["ops"] });
  const refusal = await refusalOf(own.admit(bearer(unproven, "192.0.2.1"), LOOK, 0));
  expect([refusal?.status, refusal?.reason]).toEqual([429, "token-rate"]);
  expect(await refusalOf(own.admit(bearer(unproven, "192.0.2.2"), LOOK, 0))).toBeNull();
  expect(await refusalOf(own.admit(bearer(proven, "192.0.2.1"), LOOK, 0))).toBeNull();
  expect(await refusalOf(own.admit(bearer(TOKEN, "192.0.2.1"), LOOK, 0))).toBeNull();
  const another = await jwt({ sub: "eve", groups: ["ops"] });
  expect(await refusalOf(own.admit(bearer(another, "192.0.2.1"), LOOK, 1_000))).toBeNull();
});

test("a one-time token logs in once, and opens nothing by itself", async () => {
  const oneTime = new OneTimeToken();
  const { own } = access({}, oneTime);
  expect((await refusalOf(own.admit(bearer(oneTime.secret), LOOK, 0)))?.status).toBe(401);
  expect(await own.logIn(oneTime.secret, "", 0)).toMatchObject({ name: "url" });
  expect((await refusalOf(own.logIn(oneTime.secret, "", 0)))?.status).toBe(401);
});

test("a session passes with its cookie, and changes something only with its CSRF token", async () => {
  const { own, sessions } = access();
  const admin = await own.logIn(TOKEN, "", 0);
  if (admin instanceof AdminRefusal) throw admin;
  const { id, session } = sessions.begin(admin, 0);
  const with_ = (headers: Record<string, string>) =>
    request({ cookie: `a=b; tidewire-admin-8481=${id}`, ...headers });
  expect(await refusalOf(own.admit(with_({}), LOOK, 0))).toBeNull();
  for (const headers of [{}, { "x-tidewire-csrf": "" }, { "x-tidewire-csrf": id }] as const) {
    const refusal = await refusalOf(own.admit(with_(headers), ACT, 0));
    expect([refusal?.status, refusal?.reason]).toEqual([403, "csrf"]);
  }
  expect(await refusalOf(own.admit(with_({ "x-tidewire-csrf": session.csrf }), ACT, 0))).toBeNull();
  // The cookie of another port belongs to another listener.
  const elsewhere = request({ host: "127.0.0.1:9", cookie: `tidewire-admin-8481=${id}` });
  expect((await refusalOf(own.admit(elsewhere, LOOK, 0)))?.reason).toBe("token");
});

test("a name that is not listed is refused even with the right token", async () => {
  const { own } = access();
  const given = request({ host: "evil.example:8481", authorization: `Bearer ${TOKEN}` });
  expect(await refusalOf(own.admit(given, LOOK, 0))).toMatchObject({
    status: 421,
    message: expect.stringContaining("server.admin.hosts"),
  });
});

test.each([
  [{ origin: "http://127.0.0.1:8481" }, null],
  [{ origin: "https://127.0.0.1:8481" }, null],
  [{ "sec-fetch-site": "same-origin" }, null],
  [{ "sec-fetch-site": "none" }, null],
  [{ origin: "http://127.0.0.1:3000" }, "origin"],
  [{ origin: "http://localhost:8481" }, "origin"],
  [{ origin: "http://evil.example" }, "origin"],
  [{ origin: "null" }, "origin"],
  [{ origin: "" }, "origin"],
  [{ "sec-fetch-site": "cross-site" }, "origin"],
  [{ "sec-fetch-site": "same-site" }, "origin"],
])("a page may ask only where it came from the listener itself: %o", async (headers, reason) => {
  const given = request({ ...headers, authorization: `Bearer ${TOKEN}` });
  expect((await refusalOf(access().own.admit(given, LOOK, 0)))?.reason ?? null).toBe(reason);
});

test.each([
  ["0123456789abcdef0123456789abcdef", true],
  ["0123456789abcdef0123456789abcde", false],
  ["a".repeat(64), false],
  ["0123456789abcdef 0123456789abcdef", false],
  ["0123456789abcdef0123456789abcdéf", false],
  ["", true],
])("which tokens may be configured as text: %s is %s", (token, isGood) => {
  expect(AdminOptions.safeParse({ token }).success).toBe(isGood);
});

test("a digest is one of SHA-256, names are unique, and filters are checked with the configuration", () => {
  const entry = { name: "a", sha256: "0".repeat(64), roles: ["view"] };
  const isGood = (admin: object) => AdminOptions.safeParse(admin).success;
  expect(isGood({ tokens: [entry] })).toBe(true);
  expect(isGood({ tokens: [entry, entry] })).toBe(false);
  expect(isGood({ tokens: [{ ...entry, sha256: "0".repeat(63) }] })).toBe(false);
  expect(isGood({ tokens: [{ ...entry, roles: ["root"] }] })).toBe(false);
  expect(isGood({ tokens: [{ ...entry, roles: [] }] })).toBe(false);
  const withWhen = (when: object) => ({ jwt: { ...FULL.jwt, when } });
  expect(isGood(withWhen({ view: { "%%user.a": 1 } }))).toBe(true);
  expect(isGood(withWhen({}))).toBe(false);
  expect(isGood(withWhen({ view: { "%%user.a": { $frob: 1 } } }))).toBe(false);
});

test("protected metrics without a token are a mistake in the configuration", () => {
  expect(AdminOptions.safeParse({ protectMetrics: true }).success).toBe(false);
  expect(AdminOptions.safeParse({ protectMetrics: true, token: "" }).success).toBe(false);
});

/** The ways into the console: its files, which `server.admin.console` removes, and the URL that logs in once. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { describe, expect, test } from "vitest";
import { API } from "../../../src/admin/api/endpoint.ts";
import { ADMIN_ROLES } from "../../../src/gateway/admin-options.ts";
import { testDatabase } from "../../support/mongod.ts";
import { startTestService, testConfig } from "../../support/service.ts";
import { spawnService } from "../../support/spawn-service.ts";

const TOKEN = "a-token-for-the-admins-of-a-test-0123456789";
const COLLECTIONS = { items: { rules: [{ name: "all" }] } };

interface Asked {
  readonly method?: string;
  readonly headers?: Record<string, string>;
}

/** Unlike fetch it sends any `Host` and a cookie, and follows no redirect. */
async function ask(port: number, path: string, { method = "GET", headers = {} }: Asked = {}) {
  const sent = { connection: "close", ...headers };
  const asked = request({ port, host: "127.0.0.1", path, method, headers: sent }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  let text = "";
  for await (const part of response) text += String(part);
  return { status: response.statusCode, headers: response.headers, text };
}

describe.each([true, false])("with server.admin.console: %s", (isServed) => {
  test("its files are there or not, and every other path is the same", async () => {
    const { uri, name } = await testDatabase();
    const file = testConfig(uri, name, {
      collections: COLLECTIONS,
      server: { admin: { port: 0, token: TOKEN, console: isServed } },
    }) as { mongodb: Record<string, unknown> };
    const { adminUrl } = await spawnService({ config: { ...file, log: { level: "info" } } });
    const port = Number(new URL(adminUrl).port);
    const page = await ask(port, "/");
    expect(page.status).toBe(isServed ? 200 : 404);
    const [, script] = /src="(\/assets\/[^"]+\.js)"/.exec(page.text) ?? [];
    if (isServed) expect((await ask(port, script ?? "")).headers["content-type"]).toContain("javascript");
    else expect(page.headers["content-type"]).toContain("json");
    const bearer = { authorization: `Bearer ${TOKEN}` };
    const expected: readonly (readonly [path: string, headers: Record<string, string>, status: number])[] = [
      ["/assets/", {}, 404],
      ["/assets/none.js", {}, 404],
      ["/livez", {}, 200],
      ["/metrics", {}, 200],
      [`${API}/overview`, {}, 401],
      [`${API}/overview`, bearer, 200],
      ["/", { host: "evil.example" }, 421],
    ];
    for (const [path, headers, status] of expected)
      expect([path, (await ask(port, path, { headers })).status]).toEqual([path, status]);
  });
});

const start = (admin: object = {}) =>
  startTestService({ collections: COLLECTIONS, server: { admin: { port: 0, ...admin } } });

test.each<[what: string, asked: Asked & { readonly token?: string }, status: number]>([
  ["a wrong token", { token: "x".repeat(43) }, 401],
  ["no token", { token: "" }, 401],
  ["another method", { method: "POST" }, 405],
  ["a name that is not listed", { headers: { host: "evil.example" } }, 421],
  ["a page of another origin", { headers: { origin: "http://evil.example" } }, 403],
  ["a link of another site", { headers: { "sec-fetch-site": "cross-site" } }, 403],
])("the one-time URL with %s is refused and not used up", async (_what, { token, ...asked }, status) => {
  const { service } = await start();
  const url = new URL(service.adminLoginUrl ?? "");
  const given = token === undefined ? url.search : `?token=${token}`;
  const refused = await ask(service.adminAddress.port, url.pathname + given, asked);
  expect(refused.status).toBe(status);
  expect(refused.headers["set-cookie"]).toBeUndefined();
  expect((await ask(service.adminAddress.port, url.pathname + url.search)).status).toBe(303);
});

test("the one-time URL leads into the console with a session of all roles, once", async () => {
  const { service } = await start();
  const { port } = service.adminAddress;
  const url = new URL(service.adminLoginUrl ?? "");
  const entered = await ask(port, url.pathname + url.search);
  expect([entered.status, entered.headers.location, entered.headers["cache-control"]]).toEqual([
    303,
    "/",
    "no-store",
  ]);
  const [cookie = ""] = entered.headers["set-cookie"] ?? [];
  expect(cookie).toMatch(/^tidewire-admin-\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+$/);
  const again = await ask(port, url.pathname + url.search);
  expect([again.status, again.headers["set-cookie"]]).toEqual([401, undefined]);
  const who = await ask(port, `${API}/session`, {
    headers: { host: `127.0.0.1:${port}`, cookie: cookie.split(";")[0] ?? "" },
  });
  expect([who.status, JSON.parse(who.text)]).toEqual([
    200,
    {
      name: "url",
      roles: [...ADMIN_ROLES],
      csrf: expect.stringMatching(/^[\w-]{43}$/),
      endsAt: expect.any(String),
    },
  ]);
});

test.each([
  ["a token is configured", { token: TOKEN }],
  ["the listener is not on loopback", { host: "0.0.0.0" }],
])("there is no one-time URL if %s", async (_when, admin) => {
  const { service } = await start(admin);
  expect(service.adminLoginUrl).toBeNull();
  const { status } = await ask(service.adminAddress.port, `/login?token=${"x".repeat(43)}`);
  expect(status).toBe("token" in admin ? 401 : 403);
});

/** Every endpoint of the API for admins, with each kind of sender that must not reach it. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { describe, expect, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API, type EndpointSpec, ErrorAnswer } from "../../../src/admin/api/endpoint.ts";
import { ENDPOINTS, type Operation } from "../../../src/admin/api/endpoints.ts";
import { ADMIN_ROLES, type AdminRole } from "../../../src/gateway/admin-options.ts";
import { startTestService } from "../../support/service.ts";

const COLLECTIONS = { items: { rules: [{ name: "all" }] } };
const DRAFT = 'collections: { items: { rules: [{ name: own, filter: { owner: "%%user.sub" } }] } }\n';

const secretOf = (roles: readonly AdminRole[]) => `a secret for ${roles.join(" and ")}`.replaceAll(" ", "-");
const entryOf = (roles: readonly AdminRole[]) => ({
  name: `all-but-${ADMIN_ROLES.find((role) => !roles.includes(role)) ?? "none"}`,
  sha256: digestOf(secretOf(roles)).toString("hex"),
  roles,
});
const ALL = [...ADMIN_ROLES];
const without = (role: AdminRole) => ALL.filter((other) => other !== role);

/** A request that an endpoint accepts, and the status of its answer. */
interface Sample {
  /** The path, or the query that follows it. Default: that of the endpoint. */
  readonly path?: string;
  readonly body?: unknown;
  readonly status?: number;
  /** A part of the answer. */
  readonly contains?: string;
}

/** A sample for each endpoint, with ids of things that exist. A new endpoint needs an entry. */
const samples = (
  connection: string,
  liveQuery: string,
  trace: string,
): Readonly<Record<Operation, Sample>> => ({
  logIn: { body: { token: secretOf(ALL) } },
  whoAmI: {},
  logOut: {},
  overview: {},
  connections: {},
  connection: { path: `/connections/${connection}` },
  disconnect: { path: `/connections/${connection}/disconnect` },
  reauthorize: { path: `/connections/${connection}/reauthorize` },
  liveQueries: {},
  liveQuery: { path: `/live-queries/${liveQuery}` },
  revocations: {},
  revoke: { body: { sub: "somebody" } },
  undoRevocation: { body: { sub: "nobody" }, status: 404 },
  pushes: { contains: '"registrations":[]' },
  removePush: { path: "/pushes/nothing", status: 404 },
  rules: {},
  ruleHistory: {},
  ruleSet: { path: "/rules/sets/1" },
  ruleSetDiff: { path: "/rules/sets/1/diff?to=1" },
  ruleNodes: {},
  ruleNames: { path: "/rules/names?collection=items" },
  replay: { body: DRAFT },
  applyRules: { body: { text: DRAFT, message: "an edit", parent: 1 } },
  revertRules: { body: { number: 1, parent: 1 } },
  tryAs: { body: { collection: "items", claims: { sub: "ada" } } },
  testRules: { body: { text: "collections: { items: { rules: [{ name: all }] } }\n" } },
  plan: { body: DRAFT, contains: '"affected":[{"sub":"ada"' },
  sinks: {},
  pauseSink: { path: "/sinks/late/pause", status: 404 },
  resumeSink: { path: "/sinks/late/resume", status: 404 },
  parkedMessages: { path: "/sinks/late/parked", status: 404 },
  replayParked: { path: "/sinks/late/replay", status: 404 },
  startTrace: { body: { sub: "ada" } },
  readTrace: { path: `/traces/${trace}` },
  stopTrace: { path: `/traces/${trace}` },
  audit: {},
});

const OPERATIONS = Object.keys(ENDPOINTS) as Operation[];
const specOf = (operation: Operation): EndpointSpec => ENDPOINTS[operation];

async function start() {
  const { service, connect } = await startTestService({
    collections: COLLECTIONS,
    rules: { from: "database" },
    server: {
      admin: { port: 0, tokens: [entryOf(ALL), ...ALL.map((role) => entryOf(without(role)))] },
    },
  });
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "1", collection: "items" });
  const { port } = service.adminAddress;
  const idIn = async (list: "connections" | "liveQueries", path: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}${API}${path}`, { headers: bearer(ALL) });
    const lists = (await answer.json()) as Readonly<Record<string, readonly { readonly id: string }[]>>;
    return lists[list]?.[0]?.id ?? "";
  };
  const ids = [
    await idIn("connections", "/connections"),
    await idIn("liveQueries", "/live-queries"),
  ] as const;
  const body = JSON.stringify({ sub: "ada" });
  const headers = { ...bearer(ALL), "content-type": "application/json" };
  const started = await fetch(`http://127.0.0.1:${port}${API}/traces`, { method: "POST", headers, body });
  const trace = (await started.json()) as { readonly id: string };
  return { service, port, sample: samples(...ids, trace.id) };
}

type Started = Awaited<ReturnType<typeof start>>;

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** Unlike fetch it sends any `Host`, and a cookie. */
async function call(
  { port, sample: of }: Pick<Started, "port" | "sample">,
  operation: Operation,
  headers: Record<string, string>,
  more: Record<string, string> = {},
): Promise<Answer> {
  const { method, path, body: form } = specOf(operation);
  const { path: sample = path, body } = of[operation];
  const type = form === "text" ? "text/plain" : "application/json";
  const asked = request({
    port,
    host: "127.0.0.1",
    path: API + sample,
    method,
    headers: {
      host: `127.0.0.1:${port}`,
      connection: "close",
      ...(body === undefined ? {} : { "content-type": type }),
      ...headers,
      ...more,
    },
  });
  asked.end(body === undefined ? undefined : form === "text" ? String(body) : JSON.stringify(body));
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  let text = "";
  if (specOf(operation).stream === true && response.statusCode === 200) response.destroy();
  else for await (const part of response) text += String(part);
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

const bearer = (roles: readonly AdminRole[]) => ({ authorization: `Bearer ${secretOf(roles)}` });

/** Logs in, and returns the headers of a page. */
async function session(started: Started) {
  const { headers, text, status } = await call(started, "logIn", {});
  expect(status).toBe(200);
  const [cookie = ""] = (headers["set-cookie"]?.[0] ?? "").split(";");
  return { cookie, csrf: String((JSON.parse(text) as { csrf: unknown }).csrf) };
}

const refusalIn = ({ status, text }: Answer) => [status, ErrorAnswer.parse(JSON.parse(text)).code];

describe.each(OPERATIONS)("%s", (operation) => {
  const { role, method } = specOf(operation);
  const isOpen = role === "anyone";

  test("answers the admin who may call it, with the headers of every answer", async () => {
    const started = await start();
    const answer = await call(started, operation, isOpen ? {} : bearer(ALL));
    expect([answer.status, answer.text]).toEqual([
      started.sample[operation].status ?? 200,
      expect.stringContaining(started.sample[operation].contains ?? ""),
    ]);
    expect(answer.headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
      "content-security-policy": expect.not.stringMatching(/unsafe/),
    });
  });

  test("refuses a call without a token or with a wrong one, and a change without the CSRF token of its session", async () => {
    if (isOpen) return;
    const started = await start();
    expect(refusalIn(await call(started, operation, {}))).toEqual([401, "token"]);
    const wrongToken = { authorization: "Bearer wrong" };
    expect(refusalIn(await call(started, operation, wrongToken))).toEqual([401, "token"]);
    const { cookie, csrf } = await session(started);
    const other = await session(started);
    if (method !== "GET") {
      expect(refusalIn(await call(started, operation, { cookie }))).toEqual([403, "csrf"]);
      const wrong = { cookie, "x-tidewire-csrf": other.csrf };
      expect(refusalIn(await call(started, operation, wrong))).toEqual([403, "csrf"]);
    }
    const { status, text } = await call(started, operation, { cookie, "x-tidewire-csrf": csrf });
    expect([status, text]).toEqual([started.sample[operation].status ?? 200, expect.anything()]);
  });
});

// A refusal changes nothing, so that one service refuses the calls of all endpoints.
test("every endpoint refuses an admin who has each role but its own", async () => {
  const started = await start();
  for (const operation of OPERATIONS) {
    const { role } = specOf(operation);
    if (role === "anyone" || role === "any-admin") continue;
    const answer = await call(started, operation, bearer(without(role)));
    expect(refusalIn(answer), operation).toEqual([403, "role"]);
  }
});

test("every endpoint refuses pages of other origins and foreign names, whatever they send", async () => {
  const started = await start();
  for (const operation of OPERATIONS) {
    const good = specOf(operation).role === "anyone" ? {} : bearer(ALL);
    const refusal = async (more: Record<string, string>) =>
      refusalIn(await call(started, operation, good, more));
    for (const origin of ["http://evil.example", "http://127.0.0.1:1", "null"])
      expect(await refusal({ origin }), operation).toEqual([403, "origin"]);
    expect(await refusal({ "sec-fetch-site": "same-site" }), operation).toEqual([403, "origin"]);
    for (const host of ["evil.example", `evil.example:${started.port}`])
      expect(await refusal({ host }), operation).toEqual([421, "host"]);
  }
});

test("every endpoint declares a role, and only the login is for anyone", () => {
  const open = OPERATIONS.filter((operation) => specOf(operation).role === "anyone");
  expect(open).toEqual(["logIn"]);
});

test("a login begins a new session and ends the one of the cookie; a logout ends it at once", async () => {
  const started = await start();
  // An id that an attacker has chosen never becomes a session.
  const name = `tidewire-admin-${started.port}`;
  const fixed = await call(started, "logIn", { cookie: `${name}=chosen` });
  expect(fixed.headers["set-cookie"]?.[0]).not.toContain("chosen");
  expect((await call(started, "whoAmI", { cookie: `${name}=chosen` })).status).toBe(401);
  const first = await session(started);
  const second = await call(started, "logIn", { cookie: first.cookie });
  expect((await call(started, "whoAmI", { cookie: first.cookie })).status).toBe(401);
  const [cookie = ""] = (second.headers["set-cookie"]?.[0] ?? "").split(";");
  const csrf = String((JSON.parse(second.text) as { csrf: unknown }).csrf);
  expect((await call(started, "whoAmI", { cookie })).status).toBe(200);
  const out = await call(started, "logOut", { cookie, "x-tidewire-csrf": csrf });
  expect(out.headers["set-cookie"]?.[0]).toContain("Max-Age=0");
  expect((await call(started, "whoAmI", { cookie })).status).toBe(401);
});

test("without credentials on loopback, a URL logs in once and leads to a page without the token", async () => {
  const { service } = await startTestService({ collections: COLLECTIONS });
  const url = service.adminLoginUrl ?? "";
  expect(url).toContain("/login?token=");
  const open = () => fetch(url, { redirect: "manual" });
  expect((await fetch(url, { redirect: "manual", headers: { "sec-fetch-site": "cross-site" } })).status).toBe(
    403,
  );
  const first = await open();
  expect([first.status, first.headers.get("location")]).toEqual([303, "/"]);
  expect(first.headers.get("set-cookie")).toContain("HttpOnly; SameSite=Strict");
  const [cookie = ""] = (first.headers.get("set-cookie") ?? "").split(";");
  const own = { port: service.adminAddress.port, sample: samples("", "", "") };
  expect(JSON.parse((await call(own, "whoAmI", { cookie })).text)).toMatchObject({ roles: ADMIN_ROLES });
  expect((await open()).status).toBe(401);
  const { service: configured } = await start();
  expect(configured.adminLoginUrl).toBeNull();
});

test("a body is bounded, is JSON of the declared type, and has no unknown fields", async () => {
  const { service } = await startTestService({
    collections: COLLECTIONS,
    server: { admin: { port: 0, tokens: [entryOf(ALL)], requestBytes: "1KiB" } },
  });
  const { port } = service.adminAddress;
  const log = (body: string, type = "application/json") =>
    fetch(`http://127.0.0.1:${port}${API}/session`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    }).then(
      ({ status }) => status,
      // The service closes the connection without reading the rest, which may reach the client first.
      () => 413,
    );
  const good = JSON.stringify({ token: secretOf(ALL) });
  expect(await log(good)).toBe(200);
  expect(await log(good.padEnd(1_024))).toBe(200);
  expect(await log(good.padEnd(1_025))).toBe(413);
  expect(await log(good, "text/plain")).toBe(415);
  expect(await log("{")).toBe(400);
  expect(await log("[]")).toBe(400);
  expect(await log(JSON.stringify({ token: secretOf(ALL), more: 1 }))).toBe(400);
});

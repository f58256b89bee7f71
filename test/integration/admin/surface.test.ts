/** The names, versions and paths that each listener reveals: little on the public one, everything else by token. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { hostname } from "node:os";
import { expect, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { signToken, startTestService } from "../../support/service.ts";
import { SocketIoClient } from "../../support/socketio-client.ts";

const TOKEN = "a-token-for-the-admins-of-a-test-0123456789";
const NODE = "rack-7-host-12";
const COLLECTIONS = { items: { rules: [{ name: "all" }] } };

const start = (server: object = {}) =>
  startTestService({
    collections: COLLECTIONS,
    server: { node: NODE, socketio: true, admin: { port: 0, token: TOKEN }, ...server },
  });

interface Answer {
  readonly status: number;
  readonly text: string;
  /** Status line, headers and body, as they came. */
  readonly raw: string;
}

/** Unlike fetch it sends any `Host`, and shows the answer to an upgrade. */
async function ask(
  port: number,
  path: string,
  headers: Record<string, string> = {},
  method = "GET",
): Promise<Answer> {
  const asked = request({
    port,
    host: "127.0.0.1",
    path,
    method,
    headers: { connection: "close", ...headers },
  }).end();
  const [response] = (await Promise.race([once(asked, "response"), once(asked, "upgrade")])) as [
    IncomingMessage,
  ];
  let text = "";
  if (response.statusCode !== 101) {
    response.setTimeout(2_000, () => response.destroy()).on("error", () => {});
    for await (const part of response) text += String(part);
  } else response.socket.destroy();
  const status = response.statusCode ?? 0;
  return { status, text, raw: `${status} ${response.rawHeaders.join("\n")}\n${text}` };
}

const UPGRADE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
};

/** The answer to bytes that are no request. */
async function askRaw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(bytes);
  let text = "";
  for await (const part of socket) text += String(part);
  return text;
}

/** A name of a few letters occurs in random ids by chance. */
const HOST_NAMES = [hostname()].filter((name) => name.length > 5);

test("nothing on the public listener names the host, the node, a version, a path or the database's address", async () => {
  const { service, connect: join, uri, name } = await start();
  const { port } = service.address;
  const bearer = { authorization: `Bearer ${await signToken({ sub: "u1" })}` };
  const shown: string[] = [];
  for (const headers of [{}, bearer, { authorization: "Bearer x.y.z" }, { origin: "https://evil.example" }]) {
    for (const path of [
      "/",
      "/livez",
      "/readyz",
      "/metrics",
      "/api/v1/plan",
      "/v1/ws",
      "/v1/key",
      "/v1/sse",
      "/v1/poll?collection=items&wait=0",
      "/v1/poll?collection=none&wait=0",
      "/v1/poll?collection=items&filter=[",
      "/socket.io/?EIO=4&transport=polling",
      "/socket.io/?EIO=9&transport=nothing",
      "/../../etc/passwd",
    ]) {
      for (const method of ["GET", "POST", "OPTIONS"])
        shown.push((await ask(port, path, headers, method)).raw);
    }
    for (const path of ["/v1/ws", "/v1/none", "/socket.io/?EIO=4&transport=websocket"])
      shown.push((await ask(port, path, { ...UPGRADE, ...headers })).raw);
  }
  for (const bytes of [
    "nonsense\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    `GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`,
  ])
    shown.push(await askRaw(port, bytes));
  const client = await join({ sub: "u1" });
  client.socket.send(
    JSON.stringify({ type: "subscribe", id: "1", collection: "items", filter: { $where: 1 } }),
  );
  await client.until(({ type }) => type === "error");
  shown.push(JSON.stringify(client.received));
  expect(client.received[0]).toMatchObject({ type: "welcome", node: service.id });
  const socketIo = await SocketIoClient.connect(`http://127.0.0.1:${port}/${name}`, {
    auth: { token: bearer.authorization.slice("Bearer ".length) },
  });
  await socketIo.until(({ type }) => type === "welcome");
  shown.push(JSON.stringify(socketIo.ofType("welcome")));

  const all = shown.join("\n");
  const mongodb = new URL(uri).host;
  for (const secret of [
    NODE,
    ...HOST_NAMES,
    process.version,
    process.version.slice(1),
    ROOT,
    "node_modules",
    mongodb,
    process.cwd(),
  ])
    expect(all.includes(secret), secret).toBe(false);
  expect(all).not.toMatch(/^(?:server|x-powered-by|via|x-[\w-]*(?:version|host|node)[\w-]*)$/im);
  expect(all).not.toMatch(/MongoServerError|at .*\.[jt]s:\d+|EADDR|ECONN/);
});

test("the id of a node is another one after each start, and the admin listener says whose it is", async () => {
  const [one, other] = [await start(), await start()];
  expect(one.service.id).toMatch(/^[0-9a-f]{12}$/);
  expect(other.service.id).not.toBe(one.service.id);
  const readyz = async (port: number) => JSON.parse((await ask(port, "/readyz")).text);
  expect(await readyz(one.service.address.port)).toEqual({
    ready: true,
    status: "ready",
    node: one.service.id,
    rulesGeneration: 1,
    lastReload: "none",
    rulesBehind: null,
  });
  expect(await readyz(one.service.adminAddress.port)).toMatchObject({
    node: NODE,
    id: one.service.id,
    connections: 0,
    images: expect.anything(),
  });
});

test("server.hosts: under any other name nothing is served but health, upgrades and Socket.IO included", async () => {
  const { service } = await start({ hosts: ["live.example.com", "127.0.0.1"] });
  const { port } = service.address;
  const paths = [
    "/",
    "/v1/ws",
    "/v1/sse?collection=items",
    "/v1/poll?collection=items",
    "/v1/key",
    "/socket.io/?EIO=4&transport=polling",
  ];
  for (const host of ["evil.example", "live.example.com.evil.example", "localhost"]) {
    for (const path of paths) {
      const { status, text } = await ask(port, path, { host });
      expect([status, text], `${host} ${path}`).toEqual([421, expect.stringContaining("server.hosts")]);
    }
    for (const path of ["/v1/ws", "/socket.io/?EIO=4&transport=websocket"])
      expect((await ask(port, path, { ...UPGRADE, host })).status, `${host} ${path}`).toBe(421);
    for (const path of ["/livez", "/readyz"]) expect((await ask(port, path, { host })).status).toBe(200);
  }
  for (const host of ["live.example.com", "LIVE.example.com:443", `127.0.0.1:${port}`]) {
    expect((await ask(port, "/v1/ws", { ...UPGRADE, host })).status, host).toBe(101);
    expect((await ask(port, "/v1/poll?collection=items", { host })).status, host).toBe(401);
  }
});

test("unset, the public listener is reached under any name", async () => {
  const { service } = await start();
  expect((await ask(service.address.port, "/v1/ws", { ...UPGRADE, host: "any.example" })).status).toBe(101);
});

test("the admin listener answers under loopback names alone; probes get health without names", async () => {
  const { service } = await start();
  const { port } = service.adminAddress;
  const authorization = `Bearer ${TOKEN}`;
  for (const host of [`evil.example:${port}`, "10.0.0.5", "0.0.0.0", "localhost.evil.example"]) {
    for (const path of ["/metrics", "/api/v1/plan", "/", "/anything"]) {
      const { status, text } = await ask(port, path, { host, authorization });
      expect([status, text], `${host} ${path}`).toEqual([421, expect.stringContaining("server.admin.hosts")]);
    }
    const { status, text } = await ask(port, "/readyz", { host });
    expect([status, JSON.parse(text)]).toEqual([
      200,
      {
        ready: true,
        status: "ready",
        node: service.id,
        rulesGeneration: 1,
        lastReload: "none",
        rulesBehind: null,
      },
    ]);
  }
  for (const host of ["localhost", `localhost:${port}`, `127.0.0.1:${port}`, "[::1]:8481"])
    expect((await ask(port, "/metrics", { host })).status, host).toBe(200);
  expect((await ask(port, "/metrics", { origin: "http://127.0.0.1:1" })).status).toBe(403);
  expect((await ask(port, "/metrics", { "sec-fetch-site": "cross-site" })).status).toBe(403);
});

test("without the token the admin listener gives health and metrics alone, and counts the attempts", async () => {
  const { service } = await start({ admin: { port: 0, token: TOKEN, protectMetrics: true } });
  const { port } = service.adminAddress;
  for (const headers of [{}, { authorization: "Bearer wrong" }]) {
    expect((await ask(port, "/livez", headers)).status).toBe(200);
    expect((await ask(port, "/readyz", headers)).status).toBe(200);
    expect((await ask(port, "/metrics", headers)).status).toBe(401);
    expect((await ask(port, "/api/v1/plan", headers, "POST")).status).toBe(401);
  }
  const { status, text } = await ask(port, "/metrics", { authorization: `Bearer ${TOKEN}` });
  expect(status).toBe(200);
  expect(text).toContain('tidewire_admin_refused_total{reason="token"} 4');
  expect(text).not.toContain(TOKEN);
});

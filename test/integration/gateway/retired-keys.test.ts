/** Signing keys that an issuer retires, or that cannot be fetched any more, while clients are connected. */
import { generateKeyPairSync } from "node:crypto";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import { expect, onTestFinished, test } from "vitest";
import { ask, SseClient, urlOf } from "../../support/http-client.ts";
import { COLLECTIONS } from "../../support/http-service.ts";
import { startTestService } from "../../support/service.ts";
import { SocketIoClient } from "../../support/socketio-client.ts";
import { WsClient } from "../../support/ws-client.ts";

const pair = (kid: string) => ({ kid, ...generateKeyPairSync("ec", { namedCurve: "P-256" }) });
type Pair = ReturnType<typeof pair>;
const [old, current] = [pair("old"), pair("current")];

const tokenOf = ({ kid, privateKey }: Pair, sub = "u1") =>
  new SignJWT({ sub }).setProtectedHeader({ alg: "ES256", kid }).setExpirationTime("1h").sign(privateKey);

const away: RequestListener = (_request, response) => response.writeHead(503).end();

/** A service whose issuer serves keys that the test changes. */
async function start(auth: object = {}) {
  const issuer = { keys: [old], listener: undefined as RequestListener | undefined };
  const server = createServer((request, response) => {
    if (issuer.listener !== undefined) issuer.listener(request, response);
    else {
      const keys = issuer.keys.map(({ kid, publicKey }) => ({ ...publicKey.export({ format: "jwk" }), kid }));
      response.end(JSON.stringify({ keys }));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo; // it listens
  const jwt = {
    algorithms: ["ES256"],
    jwksUri: `http://127.0.0.1:${port}/`,
    jwksMaxAge: "1s",
    jwksCooldown: "1s",
    ...auth,
  };
  const started = await startTestService({
    collections: COLLECTIONS,
    auth: { jwt },
    server: { socketio: true },
    heartbeatMs: 1_000,
  });
  const base = `http://127.0.0.1:${started.service.address.port}`;
  const bearer = async (key: Pair) => ({ Authorization: `Bearer ${await tokenOf(key)}` });
  const follow = async (key: Pair) => {
    const ws = await WsClient.connect(started.url, { token: await tokenOf(key) });
    await ws.ask({ type: "subscribe", id: "a", collection: "items" });
    const stream = await SseClient.stream(urlOf(base, "/v1/sse", { collection: "items" }), await bearer(key));
    const urlKey = String((await ask("POST", `${base}/v1/key`, await bearer(key))).body["key"]);
    const byUrlKey = await SseClient.stream(urlOf(base, "/v1/sse", { collection: "items", key: urlKey }));
    await byUrlKey.untilType("watermark");
    const auth = { token: await tokenOf(key) };
    const io = await SocketIoClient.connect(`${base}/${started.name}`, { auth, reconnectionDelay: 50 });
    const pollUrl = (more: object) => urlOf(base, "/v1/poll", { collection: "items", ...more });
    const { cursor, ticket } = (await ask("GET", pollUrl({ wait: 0 }), await bearer(key))).body;
    const poll = ask("GET", pollUrl({ wait: 60, cursor, ticket }), await bearer(key));
    poll.catch(() => {}); // cut off at the end of the test, unless it was answered
    onTestFinished(() => {
      ws.socket.terminate();
      stream.cut();
      byUrlKey.cut();
      io.close();
    });
    return { ws, stream, byUrlKey, urlKey, io, poll };
  };
  return { ...started, issuer, base, bearer, follow };
}

const refusal = {
  type: "error",
  code: "unauthenticated",
  retry: "token",
  details: { reason: "key-unknown" },
};

/** Whether the service has asked the client for a new token, whatever its transport. */
async function expectAllClosed(clients: Awaited<ReturnType<Awaited<ReturnType<typeof start>>["follow"]>>) {
  const { ws, stream, byUrlKey, io, poll } = clients;
  expect((await ws.untilClosed()).code).toBe(4101);
  expect(ws.received.at(-1)).toMatchObject(refusal);
  for (const events of [stream, byUrlKey]) {
    expect(await events.untilEnded()).toBe("complete");
    expect(events.messages.at(-1)).toMatchObject(refusal);
  }
  await expect.poll(() => io.ends.length, { timeout: 60_000 }).toBeGreaterThan(0);
  expect(io.received.filter(({ type }) => type === "error")).toMatchObject([refusal]);
  const { status, body } = await poll;
  expect([status, body["details"]]).toEqual([401, refusal.details]);
}

test("a key that leaves the set takes the connections under it with it, on every transport, and no others", async () => {
  const { issuer, follow, base } = await start();
  const clients = await follow(old);
  issuer.keys = [old, current];
  const refreshed = await follow(old);
  await expect
    .poll(async () => {
      refreshed.ws.send({ type: "refresh", token: await tokenOf(current) });
      return refreshed.ws.received.some(({ type }) => type === "refreshed");
    })
    .toBe(true);
  const newer = await follow(current);
  issuer.keys = [current];
  await expectAllClosed(clients);
  // The browser's own reconnection brings a key that was made from the retired token.
  const again = await SseClient.open(urlOf(base, "/v1/sse", { collection: "items", key: clients.urlKey }), {
    "Last-Event-ID": clients.byUrlKey.lastEventId,
  });
  expect(again.refused).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
  expect([newer.ws.closed, refreshed.ws.closed, newer.stream.ended]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test("when jwksStaleMax has passed without a fetch, connections close, and tokens are refused until the set is back", async () => {
  const { issuer, follow, base, bearer, service } = await start({ jwksMaxAge: "1s", jwksStaleMax: "4s" });
  const clients = await follow(old);
  issuer.listener = away;
  await expectAllClosed(clients);
  const poll = async () =>
    ask("GET", urlOf(base, "/v1/poll", { collection: "items", wait: 0 }), await bearer(old));
  expect((await poll()).status).toBe(503);
  issuer.listener = undefined;
  await expect.poll(async () => (await poll()).status, { timeout: 60_000, interval: 200 }).toBe(200);
  expect(service.readiness().ready).toBe(true);
});

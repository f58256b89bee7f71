/** Requests for Socket.IO whose URL two readers could understand in different ways, which none of the limits may overlook. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { COLLECTIONS, type Item } from "../../support/http-service.ts";
import { metricOf } from "../../support/metric.ts";
import { signToken, startTestService, type TestServiceOptions } from "../../support/service.ts";
import { SocketIoPoller } from "../../support/socketio-poller.ts";

const PATIENCE = { timeout: 60_000 };
const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";
const PAD = "x".repeat(20_000);

async function start(options: Partial<TestServiceOptions> = {}) {
  const started = await startTestService({
    collections: COLLECTIONS,
    ...options,
    server: { socketio: true },
  });
  const { port } = started.service.address;
  return {
    ...started,
    port,
    base: `http://127.0.0.1:${port}`,
    items: started.db.collection<Item>("items"),
  };
}

/** Sends a request line as it is, which `fetch` would normalize. The answer is not read until the socket is resumed. */
async function sendRaw(port: number, line: string, more: readonly string[] = []): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => {});
  socket.pause();
  await once(socket, "connect");
  socket.write([`${line} HTTP/1.1`, "Host: x", ...more, "", ""].join("\r\n"));
  return socket;
}

/** The status line of the answer. */
async function statusOf(socket: Socket): Promise<string> {
  const [head] = await once(socket, "data");
  return String(head).split("\r\n")[0] ?? "";
}

/** A client of polls that follows all documents. */
async function pollBoard(base: string): Promise<SocketIoPoller> {
  const poller = await SocketIoPoller.open(base);
  await poller.post(`40${JSON.stringify({ token: await signToken({ sub: "u1" }) })}`);
  await poller.until("40");
  await poller.post('42["subscribe",{"collection":"board"}]');
  return poller;
}

test("[6] a poll that names two sessions is refused, and takes nothing from either", async () => {
  const {
    base,
    port,
    connect: join,
    items,
    service,
    now,
  } = await start({
    limits: { outboxBytes: "64KiB", stallTimeout: "10m" },
    history: { window: "5m" },
  });
  const reader = await pollBoard(base);
  const other = await SocketIoPoller.open(base);
  const witness = await join({ sub: "u1" });
  await witness.ask({ type: "subscribe", id: "a", collection: "board" });
  for (let round = 0; round < 10; round++)
    await items.insertMany(Array.from({ length: 20 }, (_, i) => ({ _id: `${round}-${i}`, text: PAD })));
  await witness.fence(await now());
  const sockets: Socket[] = [];
  for (let n = 0; n < 20; n++) {
    const [first, last] = n % 2 === 0 ? [other.sid, reader.sid] : [reader.sid, other.sid];
    sockets.push(await sendRaw(port, `GET ${HANDSHAKE}&sid=${first}&sid=${last}`));
  }
  const statuses = await Promise.all(
    sockets.map((socket) => {
      socket.resume();
      return statusOf(socket);
    }),
  );
  expect(new Set(statuses)).toEqual(new Set(["HTTP/1.1 400 Bad Request"]));
  expect(await metricOf(service, "tidewire_outbox_bytes")).toBeGreaterThan(0);
  await reader.untilDocuments(200);
});

test("[6] a POST that names two sessions is refused, and none of its packets is read", async () => {
  const { base, service } = await start();
  const [one, other] = [await pollBoard(base), await SocketIoPoller.open(base)];
  const count = () => metricOf(service, "tidewire_messages_received_total");
  await expect.poll(count, PATIENCE).toBe(1);
  for (const [first, last] of [
    [other.sid, one.sid],
    [one.sid, other.sid],
  ]) {
    const url = `${base}${HANDSHAKE}&sid=${first}&sid=${last}`;
    const answer = await fetch(url, { method: "POST", body: '42["ping",{}]' });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      type: "error",
      code: "bad-request",
      message: "sid: given more than once",
    });
  }
  expect(await count()).toBe(1);
  expect(await one.post('42["ping",{}]')).toBe(200);
  await one.until('42["pong"');
});

test("[G6] an empty sid after another one makes no session that the rate of connections does not count", async () => {
  const { base, service } = await start({
    limits: { connectRatePerAddress: 0.001, connectBurstPerAddress: 2 },
  });
  const { sid } = await SocketIoPoller.open(base);
  for (const sids of [`&sid=${sid}&sid=`, `&sid=&sid=${sid}`, "&sid=&sid=", `&sid=${sid}&s%69d=`])
    for (let n = 0; n < 5; n++) {
      const answer = await fetch(`${base}${HANDSHAKE}${sids}`);
      expect([sids, answer.status]).toEqual([sids, 400]);
    }
  const upgrade = `${base.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket&sid=${sid}&sid=`;
  for (let n = 0; n < 5; n++) {
    const socket = new WebSocket(upgrade);
    onTestFinished(() => socket.terminate());
    const refused = await once(socket, "open").then(() => "open", String);
    expect(refused).toContain("400");
  }
  // A single empty one begins a session, which is counted.
  expect((await fetch(`${base}${HANDSHAKE}&sid=`)).status).toBe(200);
  expect((await fetch(`${base}${HANDSHAKE}&sid=`)).status).toBe(429);
  const refusals = await service.metrics.registry.getSingleMetricAsString(
    "tidewire_connections_refused_total",
  );
  expect(refusals).toContain('reason="query"} 5');
});

test("[6] any other parameter that is given twice is refused, and so is a URL with a fragment", async () => {
  const { base, port } = await start();
  const { sid } = await SocketIoPoller.open(base);
  const unclear = [
    `${HANDSHAKE}&EIO=3`,
    `${HANDSHAKE}&EIO=4`,
    `${HANDSHAKE}&transport=websocket`,
    `${HANDSHAKE}&j=&j=`,
    `${HANDSHAKE}&t=1&t=2`,
    `${HANDSHAKE}&__proto__=1&__proto__=2`,
    `/socket.io/?EIO=4#&transport=polling&sid=${sid}`,
    `${HANDSHAKE}&sid=${sid}#`,
  ];
  for (const target of unclear) {
    const socket = await sendRaw(port, `GET ${target}`);
    socket.resume();
    expect([target, await statusOf(socket)]).toEqual([target, "HTTP/1.1 400 Bad Request"]);
    const upgrade = [
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    const upgraded = await sendRaw(port, `GET ${target}`, upgrade);
    upgraded.resume();
    expect([target, await statusOf(upgraded)]).toEqual([target, "HTTP/1.1 400 Bad Request"]);
  }
  // Parameters of an application, and names that an object has by itself, are no problem.
  expect((await fetch(`${base}${HANDSHAKE}&app=1&__proto__=1&constructor=2&t=%23`)).status).toBe(200);
});

test("[6] a plain request that names a session under a WebSocket is refused at once", async () => {
  const { base } = await start();
  const { url, sid } = await SocketIoPoller.open(base);
  const socket = new WebSocket(url.replace("http", "ws").replace("polling", "websocket"));
  onTestFinished(() => socket.terminate());
  const packets: string[] = [];
  socket.on("message", (data) => packets.push(String(data)));
  await once(socket, "open");
  socket.send("2probe");
  await expect.poll(() => packets, PATIENCE).toContain("3probe");
  socket.send("5");
  socket.send(`40${JSON.stringify({ token: await signToken({ sub: "u1" }) })}`);
  await expect.poll(() => packets.some((text) => text.startsWith('42["welcome"')), PATIENCE).toBe(true);
  for (const method of ["GET", "POST"]) {
    const answer = await fetch(`${base}/socket.io/?EIO=4&transport=websocket&sid=${sid}`, {
      method,
      signal: AbortSignal.timeout(20_000),
      ...(method === "POST" ? { body: '42["ping",{}]' } : {}),
    });
    expect([method, answer.status]).toEqual([method, 400]);
    expect(await answer.json()).toMatchObject({ code: "bad-request", details: { path: "transport" } });
  }
  socket.send('42["ping",{"nonce":1}]');
  await expect.poll(() => packets.some((text) => text.startsWith('42["pong"')), PATIENCE).toBe(true);
});

/** Clients that send no messages but control frames: pings, pongs, and packets of Engine.IO that carry no event. */
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { COLLECTIONS } from "../../support/http-service.ts";
import { metricOf } from "../../support/metric.ts";
import { RawSocketIo } from "../../support/raw-socketio.ts";
import { signToken, startTestService } from "../../support/service.ts";

/** So low a rate that only the burst counts within a test. */
const LIMITS = { requestsPerSecond: 0.001, requestBurst: 10 };

async function start() {
  const started = await startTestService({
    collections: COLLECTIONS,
    limits: LIMITS,
    server: { socketio: true },
  });
  const base = `http://127.0.0.1:${started.service.address.port}`;
  const hits = () => metricOf(started.service, "tidewire_limit_hits_total");
  return { ...started, base, hits };
}

const FRAMES = [
  ["pings", (socket: WebSocket) => socket.ping()],
  ["pongs", (socket: WebSocket) => socket.pong()],
] as const;

test.each(FRAMES)(
  "[5] closes with 4429 a WebSocket that sends more %s than its rate allows",
  async (_what, send) => {
    const { connect, hits } = await start();
    const { socket, received } = await connect({ sub: "u1" });
    const closed = once(socket, "close");
    for (let i = 0; i < 10; i++) send(socket);
    await new Promise((resolve) => {
      socket.once("pong", resolve);
      if (_what === "pongs") setImmediate(resolve);
    });
    expect(socket.readyState).toBe(WebSocket.OPEN);
    send(socket);
    expect((await closed)[0]).toBe(4429);
    expect(received.at(-1)).toMatchObject({ type: "error", code: "too-many-requests" });
    expect(await hits()).toBe(1);
  },
);

const PACKETS = [
  ["pings of the WebSocket", (socket: WebSocket) => socket.ping()],
  ["pongs of the WebSocket", (socket: WebSocket) => socket.pong()],
  ["packets without content", (socket: WebSocket) => socket.send("6")],
  ["acknowledgements", (socket: WebSocket) => socket.send("430[]")],
] as const;

test.each(PACKETS)("ends a session of Socket.IO that sends too many %s", async (_what, send) => {
  const { base, hits } = await start();
  const client = await RawSocketIo.join(base, await signToken({ sub: "u1" }));
  for (let i = 0; i < 9; i++) send(client.socket);
  client.socket.send('42["ping",{"nonce":"still here"}]');
  expect(await client.until((packet) => packet.includes("still here"))).toBeDefined();
  for (let i = 0; i < 5; i++) send(client.socket);
  expect(await client.until(() => false, client.packets.length)).toBeUndefined();
  expect(await hits()).toBeGreaterThan(0);
});

test("ends a WebSocket that only probes a session of Socket.IO, over and over", async () => {
  const { base, service, hits } = await start();
  const opened = await (await fetch(`${base}/socket.io/?EIO=4&transport=polling`)).text();
  const { sid } = JSON.parse(opened.slice(1)) as { sid: string };
  const url = `ws://127.0.0.1:${service.address.port}/socket.io/?EIO=4&transport=websocket&sid=${sid}`;
  const socket = new WebSocket(url);
  onTestFinished(() => socket.terminate());
  socket.on("error", () => {});
  await once(socket, "open");
  const closed = once(socket, "close");
  for (let i = 0; i < 11; i++) socket.send("2probe");
  await closed;
  // By the limit: without it the library ends the session after it has waited for the upgrade.
  expect(await hits()).toBe(1);
});

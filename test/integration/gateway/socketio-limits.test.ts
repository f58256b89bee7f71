/** The bounded cost of Socket.IO clients: slow readers, clients that do not read, and large numbers of clients. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { held } from "../../conformance/scenario.ts";
import { COLLECTIONS, type Item } from "../../support/http-service.ts";
import { metricOf } from "../../support/metric.ts";
import { signToken, startTestService, type TestServiceOptions } from "../../support/service.ts";
import { SocketIoClient, type SocketIoOptions } from "../../support/socketio-client.ts";
import { SocketIoPoller } from "../../support/socketio-poller.ts";
import { usedBytes } from "../../support/used-bytes.ts";

const PATIENCE = { timeout: 60_000 };

async function start(options: Partial<TestServiceOptions> = {}) {
  const started = await startTestService({
    collections: COLLECTIONS,
    ...options,
    server: { socketio: true, ...options.server },
  });
  const base = `http://127.0.0.1:${started.service.address.port}`;
  const join = async (sub = "u1", more: SocketIoOptions = {}) => {
    const auth = { token: await signToken({ sub }) };
    const client = new SocketIoClient(base, {
      auth,
      reconnectionDelay: 50,
      reconnectionDelayMax: 200,
      ...more,
    });
    onTestFinished(() => client.close());
    return client;
  };
  const joined = async (sub?: string, more?: SocketIoOptions) => {
    const client = await join(sub, more);
    await client.until(({ type }) => type === "welcome");
    return client;
  };
  return { ...started, base, join, joined, items: started.db.collection<Item>("items") };
}

/** The socket under the client's WebSocket, to stop reading from it. */
function rawSocketOf(client: SocketIoClient): Socket {
  const { ws } = client.socket.io.engine.transport as unknown as { ws: { _socket: Socket } }; // the library's own
  return ws._socket;
}

const PAD = "x".repeat(20_000);
const MIB = 1_048_576;
const OUTBOX_BYTES = 256 * 1_024;
const HISTORY_BYTES = 8 * MIB;
/** More than what the system itself buffers for a socket, on both sides. */
const LARGE_WRITES = 110;

/** Their answers are more than the system's buffers hold. */
const PINGS = 40_000;

/** More than the system's buffers hold, in steps, so that each is a delivery of its own. */
async function writeMuch({ items }: { items: Awaited<ReturnType<typeof start>>["items"] }): Promise<void> {
  for (let round = 0; round < 40; round++) {
    await items.insertMany(Array.from({ length: 20 }, (_, i) => ({ _id: `${round}-${i}`, text: PAD })));
  }
}

test("[6] a WebSocket whose client does not read costs a bounded amount, delays no other client, and misses nothing in the end", async () => {
  const { joined, connect, now, items, service } = await start({
    limits: { outboxBytes: `${OUTBOX_BYTES}B`, stallTimeout: "10m" },
    history: { window: "10m", bytes: `${HISTORY_BYTES}B` },
  });
  const slow = await joined();
  await slow.ask("subscribe", { collection: "board" });
  await slow.fence(await now());
  const other = await connect({ sub: "u1" });
  await other.ask({ type: "subscribe", id: "a", collection: "board", fields: ["n"] });
  await other.fence(await now());
  rawSocketOf(slow).pause();
  const before = usedBytes();
  const text = PAD.repeat(20);
  // Each is large for who reads nothing, and small for the other.
  for (let n = 0; n < LARGE_WRITES; n++) {
    await items.replaceOne({ _id: n % 50 }, { n, text }, { upsert: true });
  }
  await other.fence(await now());
  expect(other.received.filter(({ type }) => type === "added" || type === "changed")).toHaveLength(
    LARGE_WRITES,
  );
  expect(await metricOf(service, "tidewire_outbox_bytes")).toBeLessThan(OUTBOX_BYTES + text.length + MIB);
  // Unused buffers are released a little later than the event reports.
  await expect
    .poll(() => usedBytes() - before, PATIENCE)
    .toBeLessThan(HISTORY_BYTES + OUTBOX_BYTES + 24 * MIB);
  rawSocketOf(slow).resume();
  await slow.fence(await now());
  expect(slow.ends).toEqual([]);
  const holds = held(slow.received) as Item[]; // the documents of this collection
  expect(holds.toSorted((a, b) => Number(a._id) - Number(b._id))).toEqual(
    await items.find().sort({ _id: 1 }).toArray(),
  );
});

/** Waits until a number grows no more. */
async function settled(count: () => Promise<number>): Promise<void> {
  let last = 0;
  const isSame = async () => {
    const before = last;
    last = await count();
    return last > 0 && last === before;
  };
  await expect.poll(isSame, { timeout: 60_000, interval: 500 }).toBe(true);
}

/** Polls, has joined the default namespace, and follows all that there is. */
async function pollBoard(base: string): Promise<SocketIoPoller> {
  const poller = await SocketIoPoller.open(base);
  await poller.post(`40${JSON.stringify({ token: await signToken({ sub: "u1" }) })}`);
  await poller.until("40");
  await poller.post('42["subscribe",{"collection":"board"}]');
  return poller;
}

test("[6] polls that do not come cost a bounded amount as well, and get it all when they do", async () => {
  const world = await start({
    limits: { outboxBytes: "64KiB", stallTimeout: "10m" },
    history: { window: "5m" },
  });
  const { base, now, connect, service } = world;
  const poller = await pollBoard(base);
  const other = await connect({ sub: "u1" });
  await other.ask({ type: "subscribe", id: "a", collection: "board" });
  await writeMuch(world);
  await other.fence(await now());
  expect(await metricOf(service, "tidewire_outbox_bytes")).toBeLessThan(200_000);
  await poller.untilDocuments(800);
});

test("[6] polls that do not come at all end the session at stallTimeout", async () => {
  const { base, service } = await start({ limits: { stallTimeout: "1s" } });
  const poller = await pollBoard(base);
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(0);
  await expect(poller.poll()).rejects.toThrow("Session ID unknown");
  const closed = await service.metrics.registry.getSingleMetricAsString("tidewire_connections_closed_total");
  expect(closed).toContain('code="4001"} 1');
});

test("[6] requests of a client that does not read its answers are not read until it does", async () => {
  const { joined, service, now } = await start({
    limits: { outboxBytes: "64KiB", requestsPerSecond: 1e6, requestBurst: 1e6 },
  });
  const slow = await joined();
  const raw = rawSocketOf(slow);
  raw.pause();
  const nonce = "n".repeat(200);
  for (let asked = 0; asked < PINGS; asked++) slow.socket.emit("ping", { nonce });
  await settled(() => metricOf(service, "tidewire_messages_received_total"));
  expect(await metricOf(service, "tidewire_messages_received_total")).toBeLessThan(PINGS);
  expect(await metricOf(service, "tidewire_outbox_bytes")).toBeLessThan(1_000_000);
  raw.resume();
  await slow.fence(await now());
  expect(slow.ofType("pong")).toHaveLength(PINGS);
});

test("[6] a second WebSocket for a session is refused, and does not hide the first from being held back", async () => {
  const { base, service } = await start({
    limits: { outboxBytes: "64KiB", requestsPerSecond: 1e6, requestBurst: 1e6 },
  });
  const { url } = await SocketIoPoller.open(base);
  const upgrade = async () => {
    const socket = new WebSocket(url.replace("http", "ws").replace("polling", "websocket"));
    onTestFinished(() => socket.terminate());
    const packets: string[] = [];
    socket.on("message", (data) => packets.push(String(data)));
    await once(socket, "open");
    return { socket, packets };
  };
  const first = await upgrade();
  const second = await upgrade();
  await once(second.socket, "close");
  const says = async (packet: string, answer: string) => {
    first.socket.send(packet);
    await expect.poll(() => first.packets.some((text) => text.startsWith(answer)), PATIENCE).toBe(true);
  };
  await says("2probe", "3probe");
  first.socket.send("5");
  await says(`40${JSON.stringify({ token: await signToken({ sub: "u1" }) })}`, '42["welcome"');
  first.socket.pause();
  for (let asked = 0; asked < PINGS; asked++) first.socket.send(`42["ping",{"nonce":"${"n".repeat(190)}"}]`);
  await settled(() => metricOf(service, "tidewire_messages_received_total"));
  expect(await metricOf(service, "tidewire_messages_received_total")).toBeLessThan(PINGS);
  first.socket.resume();
  const pongs = () => first.packets.filter((text) => text.startsWith('42["pong"')).length;
  await expect.poll(pongs, PATIENCE).toBe(PINGS);
});

test("[G6] handshakes by polls and by WebSockets, and namespaces that are joined, are held to the rate of connections", async () => {
  const { base, join, joined } = await start({
    limits: { connectRatePerAddress: 0.001, connectBurstPerAddress: 4 },
  });
  const client = await joined();
  const second = new SocketIoClient(`${base}/test`, { forceNew: false, multiplex: true });
  onTestFinished(() => second.close());
  // A session that exists may change to a WebSocket.
  await joined("u1", { transports: ["polling", "websocket"] });
  const poller = await SocketIoPoller.open(base);
  const token = await signToken({ sub: "u1" });
  expect(await poller.post(`40${JSON.stringify({ token })}`)).toBe(200);
  await poller.post(`40/other,${JSON.stringify({ token })}`);
  expect(await poller.until("44/other,")).toContain('"too-many-requests"');
  // Once it may come with a WebSocket; more of them would be a way around the rate.
  const upgrade = poller.url.replace("http", "ws").replace("polling", "websocket");
  const sockets = [new WebSocket(upgrade), new WebSocket(upgrade)];
  onTestFinished(() => {
    for (const socket of sockets) socket.terminate();
  });
  const [opened, denied] = await Promise.all(
    sockets.map((socket) => once(socket, "open").then(() => "", String)),
  );
  expect([opened, denied]).toEqual(["", expect.stringContaining("503")]);
  const refused = await fetch(`${base}/socket.io/?EIO=4&transport=polling`);
  expect([refused.status, Number(refused.headers.get("retry-after"))]).toEqual([429, expect.any(Number)]);
  expect(await refused.json()).toMatchObject({ details: { limit: "connectRatePerAddress" } });
  const late = await join("u1", { reconnection: false });
  await expect.poll(() => late.refusals, PATIENCE).toMatchObject([{ message: "websocket error" }]);
  expect(client.ends).toEqual([]);
});

test("[G6] sessions that join nothing count as connections, and are ended at helloTimeout", async () => {
  const { base, joined } = await start({
    limits: { connectionsPerAddress: 2 },
    auth: { helloTimeout: "2s" },
  });
  const idle = [await SocketIoPoller.open(base), await SocketIoPoller.open(base)];
  const third = await SocketIoPoller.open(base);
  await expect(third.poll()).rejects.toThrow("Session ID unknown");
  for (const poller of idle) await poller.poll().catch(() => {});
  await expect.poll(() => idle[0]!.poll().catch(String), PATIENCE).toContain("Session ID unknown");
  await joined("u1");
  const last = await joined("u2");
  expect(last.received[0]).toMatchObject({ type: "welcome" });
});

test("[5] one connection too many of a user comes back by itself until there is room", async () => {
  const { join, joined, service } = await start({ limits: { connectionsPerUser: 1 } });
  const first = await joined();
  const second = await join();
  await expect
    .poll(() => metricOf(service, "tidewire_connections_refused_total"), PATIENCE)
    .toBeGreaterThan(1);
  expect([second.received, second.refusals]).toEqual([[], []]);
  first.close();
  await second.until(({ type }) => type === "welcome");
});

test("[5] a client that continues past the rate limit is disconnected, and stays disconnected", async () => {
  const { joined } = await start({ limits: { requestsPerSecond: 1, requestBurst: 1 } });
  const client = await joined();
  for (let n = 0; n < 300; n++) client.socket.emit("ping");
  await expect.poll(() => client.ends, PATIENCE).toEqual(["io server disconnect"]);
  expect(client.ofType("error").every(({ code }) => code === "too-many-requests")).toBe(true);
  expect(client.socket.active).toBe(false);
});

test("[5] an event over limits.messageBytes, and anything binary, ends the session", async () => {
  const { joined, service } = await start();
  const client = await joined();
  const pad = "x".repeat(64 * 1_024 - 100);
  expect(await client.ask("subscribe", { collection: pad })).toMatchObject({ code: "bad-request" });
  client.socket.emit("subscribe", { collection: `${pad}${pad}` });
  await expect.poll(() => client.ends, PATIENCE).toHaveLength(1);
  await expect.poll(() => client.ofType("welcome").length, PATIENCE).toBe(2);
  client.socket.emit("subscribe", { collection: Buffer.from("items") });
  await expect.poll(() => client.ends, PATIENCE).toHaveLength(2);
  client.close();
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(0);
});

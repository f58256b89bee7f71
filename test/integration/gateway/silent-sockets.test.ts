/** Time limits and counts of sockets, on real sockets: silent, slow and idle ones. */
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import {
  closeServer,
  createPublicServer,
  createSmallServer,
  listen,
  openSocketsOf,
} from "../../../src/gateway/http/listener.ts";
import { GatewayLimits } from "../../../src/gateway/limits.ts";
import { ServerOptions } from "../../../src/gateway/options.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { isWithout } from "../../support/installed.ts";
import { makeCertificate } from "../../support/load-balancer.ts";

const log = pino({ level: "silent" });
const QUICK = { headersTimeoutMs: 1_000, requestTimeoutMs: 1_000 };

function createPublic(server: object, limits: object = {}, onRequest: RequestListener = answerOk) {
  const metrics = createMetrics();
  const options = { server: ServerOptions.parse(server), limits: GatewayLimits.parse(limits) };
  const parts = { ...options, sockets: openSocketsOf(options.limits, options.server), metrics, log };
  const listener = createPublicServer(parts, onRequest);
  onTestFinished(() => closeServer(listener));
  /** The counts of `tidewire_sockets_refused_total`, by reason. */
  const refused = async () => {
    const { values } = await metrics.socketsRefused.get();
    const counted = values.filter(({ value }) => value > 0); // every reason begins with 0
    return Object.fromEntries(counted.map(({ labels, value }) => [labels["reason"], value]));
  };
  const open = async () => (await metrics.sockets.get()).values[0]?.value;
  return { listener, refused, open };
}

const answerOk: RequestListener = (_request, response) => void response.end("here");

function dial(port: number, from = "127.0.0.1"): Socket {
  const socket = connect({ port, host: "127.0.0.1", localAddress: from });
  socket.on("error", () => {});
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** All that a socket receives until it is closed. */
async function untilClosed(socket: Socket): Promise<string> {
  let text = "";
  socket.on("data", (data) => {
    text += String(data);
  });
  // Not `once` of node:events, which would reject where the peer resets the connection.
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
  return text;
}

/** The answer to a request on a socket of its own. */
async function ask(port: number, from?: string): Promise<string> {
  const socket = dial(port, from);
  socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  return untilClosed(socket);
}

const SLOW = [
  ["that says nothing", ""],
  ["with half a request line", "GET / HT"],
  ["whose head does not end", "GET / HTTP/1.1\r\nHost: x\r\n"],
  ["whose body does not end", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"],
  ["whose chunks do not end", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"],
  ["that begins a second request and stops", "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n"],
] as const;

test.each(SLOW)("a socket %s is closed when its time is over", async (_what, text) => {
  // Answers once the whole request is there, as a route that reads the body does.
  const { listener, refused } = createPublic(QUICK, {}, (request, response) => {
    request.resume().once("end", () => response.end("here"));
  });
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const socket = dial(port);
  socket.write(text);
  expect(await untilClosed(socket)).toMatch(/HTTP\/1\.1 408 Request Timeout/);
  await expect.poll(refused).toEqual({ "request-timeout": 1 });
});

test("a socket that sends a byte now and then gets no more time than a silent one", async () => {
  const { listener } = createPublic(QUICK);
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const socket = dial(port);
  const drip = setInterval(() => socket.write("a"), 50);
  onTestFinished(() => clearInterval(drip));
  socket.write("GET / HTTP/1.1\r\nX: ");
  expect(await untilClosed(socket)).toContain("408");
});

test("keeps the time limits of requests also for connections that it is given, as a worker is", async () => {
  const { listener } = createPublic(QUICK);
  listener.emit("listening");
  const front = createServer((socket) => void listener.emit("connection", socket));
  onTestFinished(() => void front.close());
  const { port } = await listen(front, { port: 0, host: "127.0.0.1" });
  expect(await untilClosed(dial(port))).toContain("408");
});

test("a request within its time is answered, and the socket is closed when no further one comes", async () => {
  const { listener, refused, open } = createPublic({});
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const socket = dial(port);
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(await untilClosed(socket)).toContain("200 OK");
  expect(await refused()).toEqual({});
  await expect.poll(open).toBe(0);
});

test("while an address holds as many silent sockets as it may, others are answered, and it gets no more", async () => {
  const { listener, refused, open } = createPublic({}, { socketsPerAddress: 20 });
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const silent = Array.from({ length: 30 }, () => dial(port, "127.0.0.1"));
  await expect.poll(refused).toEqual({ "address-limit": 10 });
  expect(await open()).toBe(20);
  expect(await ask(port, "127.0.0.2")).toContain("200 OK");
  expect(await ask(port, "127.0.0.1")).toBe("");
  for (const socket of silent) socket.destroy();
  await expect.poll(open).toBe(0);
  expect(await ask(port, "127.0.0.1")).toContain("200 OK");
});

test("a trusted proxy may have more sockets than an address", async () => {
  const { listener } = createPublic({ trustedProxies: ["127.0.0.1"] }, { socketsPerAddress: 2 });
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  for (let i = 0; i < 5; i++) dial(port, "127.0.0.1");
  expect(await ask(port, "127.0.0.1")).toContain("200 OK");
});

test("with all sockets taken, the oldest silent one makes room; one with a request in progress never does", async () => {
  let finish = () => {};
  const { listener, refused, open } = createPublic({}, { sockets: 5 }, (request, response) => {
    if (request.url === "/slow") finish = () => void response.end("at last");
    else response.end("here");
  });
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const slow = dial(port);
  slow.write("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  await once(listener, "request");
  const silent = Array.from({ length: 4 }, (_, i) => dial(port, `127.0.0.${i + 2}`));
  await expect.poll(open).toBe(5);
  expect(await ask(port, "127.0.0.9")).toContain("200 OK");
  expect(await refused()).toEqual({ evicted: 1 });
  await expect.poll(() => silent.filter(({ closed }) => closed).length).toBe(1);
  finish();
  expect(await untilClosed(slow)).toContain("at last");
});

test("with all sockets busy, one more is refused", async () => {
  const { listener, refused } = createPublic({}, { sockets: 2 }, () => {}); // never answers
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  for (let i = 0; i < 2; i++) {
    const asked = once(listener, "request");
    dial(port).write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await asked;
  }
  expect(await ask(port)).toBe("");
  expect(await refused()).toEqual({ "node-full": 1 });
});

test("unset, the limit of an address is one and a half times its connections", async () => {
  const { listener, refused } = createPublic({}, { connectionsPerAddress: 3 });
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  for (let i = 0; i < 6; i++) dial(port);
  await expect.poll(refused).toEqual({ "address-limit": 1 });
});

/** The answer over TLS to a request on a socket of its own. */
async function askTls(port: number, localAddress: string): Promise<string> {
  const socket = connectTls({ socket: dial(port, localAddress), rejectUnauthorized: false });
  socket.on("error", () => {});
  socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  return untilClosed(socket);
}

/** The start of a handshake: the head of a record that announces 512 bytes. */
const HALF_HELLO = Buffer.from([22, 3, 1, 2, 0, 1]);

test.skipIf(isWithout("openssl"))(
  "sockets count before their TLS handshake, which has a time limit; after it the head has its own",
  async () => {
    const { certFile: cert, keyFile: key } = await makeCertificate();
    const tls = { tls: { cert, key }, tlsHandshakeTimeoutMs: 1_000, ...QUICK };
    const { listener, refused, open } = createPublic(tls, { socketsPerAddress: 3 });
    const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
    const silent = [dial(port), dial(port), dial(port)];
    silent[1]?.write(HALF_HELLO);
    await expect.poll(open).toBe(3);
    expect(await askTls(port, "127.0.0.1")).toBe("");
    expect(await refused()).toEqual({ "address-limit": 1 });
    expect(await askTls(port, "127.0.0.2")).toContain("200 OK");
    await Promise.all(silent.map(untilClosed));
    await expect.poll(refused).toEqual({ "address-limit": 1, "tls-timeout": 3 });
    // A handshake, and then nothing.
    const shaken = connectTls({ socket: dial(port), rejectUnauthorized: false });
    shaken.on("error", () => {});
    expect(await untilClosed(shaken)).toContain("408");
    await expect.poll(open).toBe(0);
  },
);

test.skipIf(isWithout("openssl"))(
  "with all sockets taken, silent ones make room for a TLS client, too",
  async () => {
    const { certFile: cert, keyFile: key } = await makeCertificate();
    const { listener, refused, open } = createPublic({ tls: { cert, key } }, { sockets: 3 });
    const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
    for (let i = 0; i < 3; i++) dial(port);
    await expect.poll(open).toBe(3);
    expect(await askTls(port, "127.0.0.2")).toContain("200 OK");
    expect(await refused()).toEqual({ evicted: 1 });
  },
);

test("silent sockets do not block the admin listener", async () => {
  const listener = createSmallServer(ServerOptions.parse({}), answerOk, guardParts());
  onTestFinished(() => closeServer(listener));
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  let accepted = 0;
  listener.on("connection", () => accepted++);
  for (let i = 0; i < 200; i++) dial(port);
  await expect.poll(() => accepted).toBe(200);
  expect(await ask(port)).toContain("200 OK");
});

test("headers that are too large get an answer that says so, also while the client still sends", async () => {
  const { listener } = createPublic({});
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const socket = dial(port);
  socket.write(`GET /v1/sse HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${"x".repeat(2_000_000)}`);
  const answer = await untilClosed(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 431 /);
  expect(JSON.parse(answer.split("\r\n\r\n")[1] ?? "")).toEqual({
    code: "bad-request",
    message: expect.stringMatching(/larger than 16 KiB: shorten the token/),
  });
});

test("a request that is no HTTP gets a text, and a client that goes on sending is cut off", async () => {
  const { listener } = createPublic({});
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {});
  const flood = setInterval(() => socket.write("\0\0\0\0"), 20);
  onTestFinished(() => {
    clearInterval(flood);
    socket.destroy();
  });
  expect(await untilClosed(socket)).toContain("this is no HTTP request");
});

test("garbage within an answer that has begun ends it, and is not answered inside of it", async () => {
  const { listener } = createPublic({}, {}, (_request, response) => {
    response.write("a stream\n");
  });
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const socket = dial(port);
  let text = "";
  socket.on("data", (data) => {
    // The garbage follows once the answer has begun.
    if (text === "") socket.write("GARBAGE\r\n\r\n");
    text += String(data);
  });
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await once(socket, "close");
  expect(text).toContain("a stream");
  expect(text).not.toContain("400");
});

test("headers that are too large are answered also where they come in many packets", async () => {
  const { listener } = createPublic({});
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const socket = dial(port);
  const errors: unknown[] = [];
  listener.on("clientError", (error) => errors.push(error));
  socket.write("GET /v1/sse HTTP/1.1\r\nHost: x\r\nX: ");
  const answer = untilClosed(socket);
  while (errors.length < 2 && !socket.destroyed) {
    socket.write("x".repeat(10_000));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(errors.length).toBeGreaterThanOrEqual(2);
  expect(await answer).toContain("shorten the token");
});

/** Requests to receivers that are hostile or slow, over real sockets, TLS and DNS. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import * as http from "node:http";
import * as https from "node:https";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { isPublicAddress } from "../../../src/outbound/public-address.ts";
import { PrivateAddressError, publicResolver } from "../../../src/outbound/resolve-public.ts";
import { RequestFailedError, type SafeRequest, SafeSender } from "../../../src/outbound/safe-request.ts";
import { isWithout } from "../../support/installed.ts";
import { makeCertificate } from "../../support/load-balancer.ts";
import { type Answer, startNameServer } from "../../support/name-server.ts";

const PATIENT_MS = 60_000;

/** This address is the public internet of these tests; 127.0.0.1 is the private network. */
const OUTSIDE = "127.0.0.2";
const INSIDE = "127.0.0.1";

async function listening<T extends Server>(server: T, host: string, port = 0): Promise<number> {
  server.listen(port, host);
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** A plain HTTP server. @returns Its URL. */
async function serve(handler: http.RequestListener): Promise<{ url: string; server: http.Server }> {
  const server = http.createServer(handler);
  const port = await listening(server, INSIDE);
  onTestFinished(() => server.closeAllConnections());
  return { url: `http://${INSIDE}:${port}/hook`, server };
}

/** A TCP server that speaks no more HTTP than the test does. */
async function serveRaw(onRequest: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => onRequest(socket));
  });
  const port = await listening(server, INSIDE);
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  return `http://${INSIDE}:${port}/`;
}

const toRequest = (url: string, change: Partial<SafeRequest> = {}): SafeRequest => ({
  url: new URL(url),
  method: "POST",
  headers: { "content-type": "text/plain" },
  body: "hello",
  timeoutMs: PATIENT_MS,
  allowPrivate: true,
  signal: new AbortController().signal,
  ...change,
});

const anySender = () =>
  new SafeSender({ resolve: async () => expect.fail("nothing to resolve"), isPublic: isPublicAddress });

test("sends the body and returns status, headers and the beginning of the answer", async () => {
  const seen: unknown[] = [];
  const { url } = await serve(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    seen.push([request.method, request.url, request.headers["content-type"], body.toString()]);
    response.writeHead(418, { "retry-after": "7", "set-cookie": ["a=1", "b=2"] });
    response.end(`one\r\n\u001b[31mtwo ${"x".repeat(5_000)}`);
  });
  const answer = await anySender().send(toRequest(url, { body: Buffer.from("grüße") }));
  expect(seen).toEqual([["POST", "/hook", "text/plain", "grüße"]]);
  expect(answer.status).toBe(418);
  expect(answer.headers["retry-after"]).toBe("7");
  expect(answer.headers["set-cookie"]).toBeUndefined();
  expect(answer.excerpt).toMatch(/^one \[31mtwo x+$/);
  expect(answer.excerpt.length).toBeLessThanOrEqual(1_024);
});

test("does not follow a redirect", async () => {
  let visits = 0;
  const { url: target } = await serve((_request, response) => {
    visits++;
    response.end();
  });
  for (const status of [301, 302, 303, 307, 308]) {
    const { url } = await serve((_request, response) => {
      response.writeHead(status, { location: target }).end();
    });
    expect((await anySender().send(toRequest(url))).status).toBe(status);
  }
  expect(visits).toBe(0);
});

test("keeps a connection for the next request, and repeats a request that finds it closed", async () => {
  const sockets = new Set<Socket>();
  let requests = 0;
  const { url } = await serve((request, response) => {
    requests++;
    sockets.add(request.socket);
    // As a server does whose keep-alive time has just ended.
    if (requests === 3) request.socket.resetAndDestroy();
    else response.end();
  });
  const sender = anySender();
  await sender.send(toRequest(url));
  await sender.send(toRequest(url));
  expect(sockets.size).toBe(1);
  expect((await sender.send(toRequest(url))).status).toBe(200);
  expect(sockets.size).toBe(2);
  expect(requests).toBe(4);
});

test("an origin gets at most 64 requests at a time; the others wait", async () => {
  const waiting: http.ServerResponse[] = [];
  let served = 0;
  const { url } = await serve((_request, response) => {
    served++;
    waiting.push(response);
  });
  const sender = anySender();
  const warnings: Error[] = [];
  const warn = (warning: Error) => warnings.push(warning);
  process.on("warning", warn);
  onTestFinished(() => void process.off("warning", warn));
  const request = toRequest(url);
  const sending = Promise.all(Array.from({ length: 70 }, () => sender.send(request)));
  await expect.poll(() => served).toBe(64);
  for (const response of waiting.splice(0)) response.end();
  await expect.poll(() => served).toBe(70);
  for (const response of waiting) response.end();
  expect((await sending).map(({ status }) => status)).toEqual(Array(70).fill(200));
  expect(warnings).toEqual([]);
});

test("a new connection that is closed without an answer is a failure, and nothing is repeated", async () => {
  let requests = 0;
  const url = await serveRaw((socket) => {
    requests++;
    socket.destroy();
  });
  const failed = anySender().send(toRequest(url));
  await expect(failed).rejects.toMatchObject({ name: "RequestFailedError", failure: "failed" });
  expect(requests).toBe(1);
});

test("a receiver that nobody runs is a failure that does not name its URL", async () => {
  const { url, server } = await serve(() => {});
  server.close();
  await once(server, "close");
  const failed = anySender().send(toRequest(`${url}?token=secret`));
  await expect(failed).rejects.toMatchObject({ failure: "failed", message: "no answer (ECONNREFUSED)" });
});

test.each<[string, (socket: Socket) => void]>([
  ["never answers", () => {}],
  ["sends its headers byte by byte", (socket) => drip(socket, "HTTP/1.1 200 OK\r\nx-slow: ")],
  ["sends interim answers for ever", (socket) => drip(socket, "", "HTTP/1.1 103 Early Hints\r\n\r\n")],
])("a receiver that %s is given up after the timeout", async (_title, behave) => {
  const url = await serveRaw(behave);
  const failed = anySender().send(toRequest(url, { timeoutMs: 300 }));
  await expect(failed).rejects.toMatchObject({ failure: "timeout" });
});

test("a slow body does not change the status, and ends with the timeout", async () => {
  const url = await serveRaw((socket) => drip(socket, "HTTP/1.1 202 Accepted\r\n\r\nbegin", "."));
  const answer = await anySender().send(toRequest(url, { timeoutMs: 500 }));
  expect(answer).toMatchObject({ status: 202, excerpt: expect.stringMatching(/^begin\.*$/) });
});

function drip(socket: Socket, begin: string, part = "x"): void {
  socket.write(begin);
  const timer = setInterval(() => socket.write(part), 10);
  socket.once("close", () => clearInterval(timer));
}

test("an endless body is cut off", async () => {
  let closed = () => {};
  const isClosed = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const url = await serveRaw((socket) => {
    socket.once("close", closed);
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    const pour = () => {
      while (!socket.destroyed && socket.write("y".repeat(65_536)));
    };
    socket.on("drain", pour);
    pour();
  });
  const answer = await anySender().send(toRequest(url));
  expect(answer).toMatchObject({ status: 200, excerpt: "y".repeat(1_024) });
  await isClosed;
});

test.each<[string, string]>([
  ["endless headers", `HTTP/1.1 200 OK\r\nx-a: ${"a".repeat(20_000)}`],
  ["no HTTP", "SSH-2.0-OpenSSH_9.2\r\n"],
  ["another protocol", "HTTP/1.1 101 Switching Protocols\r\nupgrade: evil\r\nconnection: upgrade\r\n\r\n"],
])("a receiver that answers with %s is a failure", async (_title, text) => {
  const url = await serveRaw((socket) => socket.write(text));
  await expect(anySender().send(toRequest(url))).rejects.toMatchObject({ failure: "failed" });
});

test("a request ends with its signal, before and while it waits", async () => {
  const abort = new AbortController();
  const url = await serveRaw(() => abort.abort());
  const sender = anySender();
  const failed = sender.send(toRequest(url, { signal: abort.signal }));
  await expect(failed).rejects.toMatchObject({ failure: "aborted" });
  await expect(sender.send(toRequest(url, { signal: abort.signal }))).rejects.toMatchObject({
    failure: "aborted",
  });
});

test("a connection that was made to a private address does not serve a request that may not go there", async () => {
  const { url } = await serve((_request, response) => void response.end());
  const sender = anySender();
  await sender.send(toRequest(url));
  const secure = url.replace("http:", "https:");
  await expect(sender.send(toRequest(secure, { allowPrivate: false }))).rejects.toBeInstanceOf(
    PrivateAddressError,
  );
});

/** A receiver with TLS outside, and the same port inside, behind the names of a hostile name server. */
async function startWorld(answer: Answer) {
  const { ca, certFile, keyFile } = await makeCertificate(undefined, ["DNS:receiver.test"]);
  const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);
  const visits = { outside: 0, inside: 0 };
  const outside = https.createServer({ cert, key }, (_request, response) => {
    visits.outside++;
    // No kept connection, so that each request makes one.
    response.writeHead(200, { connection: "close" }).end("outside");
  });
  const port = await listening(outside, OUTSIDE);
  const inside = createServer((socket) => {
    visits.inside++;
    socket.destroy();
  });
  await listening(inside, INSIDE, port);
  const names = await startNameServer(answer);
  const sender = new SafeSender({
    resolve: publicResolver([names.address]),
    isPublic: (address) => address === OUTSIDE,
    ca,
  });
  const send = (timeoutMs = PATIENT_MS) =>
    sender.send(toRequest(`https://receiver.test:${port}/`, { allowPrivate: false, timeoutMs }));
  return { send, visits, names };
}

test.skipIf(isWithout("openssl"))(
  "a name whose address changes from public to private reaches nothing inside",
  async () => {
    // Each request asks twice: for IPv4 and for IPv6.
    const { send, visits, names } = await startWorld((_name, count) => (count < 2 ? [OUTSIDE] : [INSIDE]));
    expect(await send()).toMatchObject({ status: 200, excerpt: "outside" });
    expect(names.asked).toEqual(["receiver.test", "receiver.test"]);
    await expect(send()).rejects.toBeInstanceOf(PrivateAddressError);
    expect(visits).toEqual({ outside: 1, inside: 0 });
  },
);

test.skipIf(isWithout("openssl")).each<[string, readonly string[]]>([
  ["a private address", [INSIDE]],
  ["a private address behind a public one", [OUTSIDE, INSIDE]],
  ["a private address before a public one", [INSIDE, OUTSIDE]],
  ["a private IPv6 address besides a public one", [OUTSIDE, "::1"]],
  ["a mapped private address", ["::ffff:127.0.0.1"]],
])("a name with %s is refused", async (_title, addresses) => {
  const { send, visits } = await startWorld(() => addresses);
  await expect(send()).rejects.toBeInstanceOf(PrivateAddressError);
  expect(visits).toEqual({ outside: 0, inside: 0 });
});

test.skipIf(isWithout("openssl"))("a name that does not exist, or has no address, is a failure", async () => {
  for (const addresses of [null, []]) {
    const { send } = await startWorld(() => addresses);
    const failed = send();
    await expect(failed).rejects.toBeInstanceOf(RequestFailedError);
    await expect(failed).rejects.toThrow(addresses === null ? /ENOTFOUND/ : /ENODATA/);
  }
});

test.skipIf(isWithout("openssl"))("a silent name server is given up with the request", async () => {
  const { send } = await startWorld(() => "silent");
  await expect(send(300)).rejects.toMatchObject({ failure: "timeout" });
});

test.skipIf(isWithout("openssl"))("a certificate that nobody trusts is a failure", async () => {
  const { certFile, keyFile } = await makeCertificate(undefined, ["IP:127.0.0.1"]);
  const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);
  const server = https.createServer({ cert, key }, (_request, response) => void response.end());
  const port = await listening(server, INSIDE);
  await expect(anySender().send(toRequest(`https://${INSIDE}:${port}/`))).rejects.toThrow(
    "no answer (DEPTH_ZERO_SELF_SIGNED_CERT)",
  );
});

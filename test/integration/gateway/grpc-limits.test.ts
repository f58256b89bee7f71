/** Limits of the listener for gRPC, for clients that do not read, do not finish, or stay idle. */
import { once } from "node:events";
import { request as requestHttp } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from "node:http2";
import { connect, createServer } from "node:net";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { GrpcOptions } from "../../../src/gateway/grpc-options.ts";
import { createGrpcListener } from "../../../src/gateway/http/grpc-listener.ts";
import { listen, openSocketsOf } from "../../../src/gateway/http/listener.ts";
import { GatewayLimits } from "../../../src/gateway/limits.ts";
import { ServerOptions } from "../../../src/gateway/options.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { answerOf, dial, envelope, FENCE, FOLLOW, post, untilClosed } from "../../support/http2-calls.ts";
import { signToken, startTestService, type TestServiceOptions } from "../../support/service.ts";

const collections = { notes: { rules: [{ name: "owner", filter: { owner: "%%user.sub" } }] } };
const PATIENCE = { timeout: 60_000, interval: 50 };

const start = (options: Partial<TestServiceOptions> = {}) =>
  startTestService({ collections, ...options, server: { grpc: { port: 0 }, ...options.server } });

/** A stream whose first message has arrived. */
async function followNotes(session: ClientHttp2Session): Promise<ClientHttp2Stream> {
  const stream = post(session, FOLLOW, {
    "content-type": "application/connect+json",
    authorization: `Bearer ${await signToken({ sub: "ada" })}`,
  });
  stream.end(envelope('{"collection":"notes"}'));
  await once(stream, "data");
  return stream;
}

test.each([
  ["a refused fence", FENCE, {}, "{}"],
  [
    "a refused stream",
    FOLLOW,
    { "content-type": "application/connect+json" },
    envelope('{"collection":"notes"}'),
  ],
  ["a name that is not served", FENCE, { ":authority": "elsewhere.test" }, "{}"],
] as const)(
  "the answer of %s ends after the stall timeout if the client takes none of it",
  async (...given) => {
    const [, path, headers, body] = given;
    const { service } = await start({
      limits: { stallTimeout: "1s" },
      server: { grpc: { port: 0 }, hosts: ["127.0.0.1"] },
    });
    const call = post(dial(service, 0), path, headers);
    call.end(body);
    await once(call, "response");
    expect(await untilClosed(call)).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  },
);

test("the answer of a fence keeps its connection no longer than the stall timeout", async () => {
  const { service, now } = await start({ limits: { stallTimeout: "1s" } });
  const connections = async () => (await service.metrics.connections.get()).values[0]?.value;
  const { t, i } = await now();
  const call = post(dial(service, 0), FENCE, { authorization: `Bearer ${await signToken({ sub: "ada" })}` });
  call.end(JSON.stringify({ operationTime: { t, i } }));
  const [{ ":status": status }] = await once(call, "response");
  expect(status).toBe(200);
  expect(await connections()).toBe(1);
  await untilClosed(call);
  await expect.poll(connections, PATIENCE).toBe(0);
});

test("a message that the client takes slowly is not cut off", async () => {
  const { service, db } = await start({ limits: { stallTimeout: "2s" } });
  await db.collection("notes").insertOne({ owner: "ada", text: "x".repeat(250_000) });
  // Less than the client of Node reads ahead.
  const session = dial(service, 16_384);
  const stream = await followNotes(session);
  const startedAtMs = Date.now();
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    stream.pause();
    setTimeout(() => stream.resume(), 250);
  });
  await expect.poll(() => bytes > 250_000 || stream.closed, PATIENCE).toBe(true);
  expect(stream.closed).toBe(false);
  expect(Date.now() - startedAtMs).toBeGreaterThan(2_000);
});

test("a stream for which nothing happens is neither cut off nor idle", async () => {
  const { service } = await start({ limits: { stallTimeout: "1s", sockets: 2 } });
  const busy = dial(service);
  const stream = await followNotes(busy);
  const silent = dial(service, 0);
  const call = post(silent, FENCE);
  call.end("{}");
  // So the stream was checked, too, after more than the stall timeout.
  expect(await untilClosed(call)).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  const answer = await fetch(`http://127.0.0.1:${service.address.port}/livez`);
  expect(answer.status).toBe(200);
  await answer.text();
  await expect.poll(() => silent.closed, PATIENCE).toBe(true);
  await new Promise((resolve) => busy.ping(resolve));
  expect([stream.closed, busy.closed]).toEqual([false, false]);
});

test.each([
  ["a Connect fence", FENCE, {}],
  ["a Connect stream", FOLLOW, { "content-type": "application/connect+json" }],
  ["a gRPC fence", FENCE, { "content-type": "application/grpc", te: "trailers" }],
  ["a gRPC stream", FOLLOW, { "content-type": "application/grpc", te: "trailers" }],
] as const)(
  "%s over the rate of new connections is refused before its body has arrived",
  async (...given) => {
    const [, path, headers] = given;
    const { service } = await start({ limits: { connectRatePerAddress: 0.001, connectBurstPerAddress: 1 } });
    const session = dial(service);
    const first = post(session, FENCE);
    first.end("{}");
    expect((await answerOf(first)).text).toContain("operation_time");
    const call = post(session, path, headers);
    call.write(Buffer.alloc(10));
    let trailers = {};
    call.on("trailers", (received) => {
      trailers = received;
    });
    const [[head], { text }] = await Promise.all([once(call, "response"), answerOf(call)]);
    // In the trailers of gRPC, the end of a stream, or the headers of a Connect call.
    expect(JSON.stringify([head, trailers, text])).toMatch(/tidewire-code.{1,6}too-many-requests/);
  },
);

test("a host that no URL can have is answered with 400, and is no fault of the service", async () => {
  const { service } = await start();
  const { port } = service.address;
  const request = requestHttp({
    port,
    method: "POST",
    path: `/v1/connect${FENCE}`,
    headers: { host: "a b[", "content-type": "application/json" },
  });
  request.end("{}");
  const [response] = await once(request, "response");
  response.resume();
  expect(response.statusCode).toBe(400);
  const call = post(dial(service), FENCE, { ":authority": "a:b:c" });
  call.end("{}");
  const [{ ":status": status }] = await once(call, "response");
  expect(status).toBe(400);
  const { values } = await service.metrics.unexpectedErrors.get();
  expect(values.filter(({ value }) => value > 0)).toEqual([]);
});

test("on a full node, an idle connection of gRPC makes room for a client of the public listener", async () => {
  const { service } = await start({ limits: { sockets: 4 } });
  const idle = Array.from({ length: 4 }, () => dial(service));
  await Promise.all(idle.map((session) => once(session, "connect")));
  const answer = await fetch(`http://127.0.0.1:${service.address.port}/livez`);
  expect(answer.status).toBe(200);
  await answer.text();
  await expect.poll(() => idle.filter(({ closed }) => closed).length, PATIENCE).toBe(1);
});

test("on a full node, an idle socket of the public listener makes room for a client of gRPC", async () => {
  const { service } = await start({ limits: { sockets: 4 } });
  const idle = Array.from({ length: 4 }, () => {
    const socket = connect({ port: service.address.port, host: "127.0.0.1" });
    socket.on("error", () => {});
    onTestFinished(() => void socket.destroy());
    return socket.resume();
  });
  await Promise.all(idle.map((socket) => once(socket, "connect")));
  const call = post(dial(service), FENCE);
  call.end("{}");
  expect((await answerOf(call)).text).toContain("operation_time");
  await expect.poll(() => idle.filter(({ closed }) => closed).length, PATIENCE).toBe(1);
});

test("on a full node, a connection whose client takes none of its answers makes room", async () => {
  const { service } = await start({ limits: { sockets: 2 } });
  const [silent, busy] = [dial(service, 0), dial(service)];
  const calls = Array.from({ length: 10 }, () => post(silent, FENCE));
  for (const call of calls) call.end("{}");
  await Promise.all(calls.map((call) => once(call, "response")));
  await followNotes(busy);
  await expect
    .poll(async () => {
      const answer = await fetch(`http://127.0.0.1:${service.address.port}/livez`).catch(() => null);
      return answer?.status;
    }, PATIENCE)
    .toBe(200);
  await expect.poll(() => silent.closed, PATIENCE).toBe(true);
  expect(busy.closed).toBe(false);
});

test("the time limits remain in force while a worker drains, whose server never listens", async () => {
  const server = ServerOptions.parse({ requestTimeoutMs: 1_000, headersTimeoutMs: 1_000 });
  const limits = GatewayLimits.parse({});
  const log = pino({ level: "silent" });
  const sockets = openSocketsOf(limits, server);
  const parts = { server, limits, sockets, metrics: createMetrics(), log };
  const listener = createGrpcListener(parts, GrpcOptions.parse({}), () => {});
  const front = createServer((socket) => void listener.server.emit("connection", socket));
  onTestFinished(() => {
    front.close();
    listener.close();
  });
  const { port } = await listen(front, { host: "127.0.0.1", port: 0 });
  const session = dial({ grpcAddress: { host: "127.0.0.1", port } });
  const call = post(session, FENCE);
  call.write("{");
  await once(listener.server, "request");
  listener.drain();
  expect(await untilClosed(call)).toBe(constants.NGHTTP2_CANCEL);
});

/**
 * A process that was busy, or frozen, finds its timers due before it has read what clients sent meanwhile. Nobody must be
 * taken for silent because of that.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { setImmediate as afterPoll } from "node:timers/promises";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import {
  closeServer,
  createPublicServer,
  listen,
  openSocketsOf,
} from "../../../src/gateway/http/listener.ts";
import { GatewayLimits } from "../../../src/gateway/limits.ts";
import { ServerOptions } from "../../../src/gateway/options.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { signToken, startTestService } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

/** Stops this process, and so the service and the clients in it. */
const freeze = (ms: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

test("a request that arrived in time is answered", async () => {
  const server = ServerOptions.parse({ headersTimeoutMs: 1_000, requestTimeoutMs: 1_000 });
  const limits = GatewayLimits.parse({});
  const metrics = createMetrics();
  const parts = {
    server,
    limits,
    sockets: openSocketsOf(limits, server),
    metrics,
    log: pino({ level: "silent" }),
  };
  const listener = createPublicServer(parts, (_request, response) => void response.end("here"));
  onTestFinished(() => closeServer(listener));
  const { port } = await listen(listener, { port: 0, host: "127.0.0.1" });
  const socket = connect({ port, host: "127.0.0.1" });
  onTestFinished(() => void socket.destroy());
  await once(listener, "connection");
  await afterPoll();
  socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  freeze(2_500);
  const [answer] = await once(socket, "data");
  expect(String(answer)).toContain("200 OK");
});

async function startService() {
  const { service } = await startTestService({
    collections: { items: { rules: [{ name: "all" }] } },
    auth: { helloTimeout: "1s" },
    server: { heartbeat: "1s", pongTimeout: "1s" },
  });
  return `ws://127.0.0.1:${service.address.port}/v1/ws`;
}

test("a hello that arrived in time is accepted", async () => {
  const client = await WsClient.connect(await startService(), { silent: true });
  const token = await signToken({ sub: "ann" });
  await afterPoll();
  client.send({ type: "hello", token });
  freeze(2_500);
  await client.until(({ type }) => type === "error" || type === "welcome");
  expect(client.received).toMatchObject([{ type: "welcome" }]);
});

test("an answer to a ping that arrived in time counts", async () => {
  const client = await WsClient.connect(await startService(), { token: await signToken({ sub: "ann" }) });
  // The library has sent the answer before this event.
  await new Promise<void>((resolve) => client.socket.once("ping", () => resolve(freeze(2_500))));
  client.send({ type: "ping", nonce: "still here" });
  expect(await client.until(({ type }) => type === "pong" || type === "error")).toMatchObject({
    type: "pong",
  });
});

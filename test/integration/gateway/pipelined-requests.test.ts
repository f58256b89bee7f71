/** Requests that a client sends on one socket without waiting for the answers before them (HTTP/1.1 pipelining). */
import { once } from "node:events";
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { metricOf } from "../../support/metric.ts";
import { signToken, startTestService } from "../../support/service.ts";

const COLLECTIONS = { notes: { rules: [{ name: "all", when: {}, filter: {} }] } };

const PATHS = [
  ["a stream", "/v1/sse?collection=notes"],
  ["a poll", "/v1/poll?collection=notes&wait=60"],
] as const;

test.each(PATHS)(
  "forgets %s that waits behind another answer when its socket closes",
  async (_what, path) => {
    const { service } = await startTestService({ collections: COLLECTIONS });
    const token = await signToken({ sub: "u" });
    const socket = connect(service.address.port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    const ask = (url: string) => `GET ${url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    socket.write(ask("/v1/sse?collection=notes") + ask(path) + ask(path));
    const { connections, subscriptions } = service.metrics;
    const count = async (gauge: typeof connections) => (await gauge.get()).values[0]?.value;
    await expect.poll(() => count(subscriptions)).toBe(3);
    socket.destroy();
    await expect.poll(() => count(connections), { timeout: 60_000 }).toBe(0);
  },
);

test("limits.requestsPerSocket: as many requests as that wait on one socket, one more closes it", async () => {
  const { service } = await startTestService({
    collections: COLLECTIONS,
    limits: { requestsPerSocket: 5, connections: 100 },
  });
  const token = await signToken({ sub: "u" });
  const socket = connect(service.address.port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => {});
  const stream = `GET /v1/sse?collection=notes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  socket.write(stream.repeat(5));
  const gauge = async (name: "connections" | "subscriptions") =>
    (await service.metrics[name].get()).values[0]?.value;
  await expect.poll(() => gauge("subscriptions"), { timeout: 60_000 }).toBe(5);
  expect(socket.destroyed).toBe(false);
  socket.resume();
  const closed = once(socket, "close");
  // In one packet: those behind the one too many reach the parser all the same.
  socket.write(stream.repeat(30));
  await closed;
  await expect.poll(() => gauge("connections"), { timeout: 60_000 }).toBe(0);
  expect(await metricOf(service, "tidewire_sockets_refused_total")).toBe(1);
});

test("a socket may send any number of requests one after the other", async () => {
  const { service } = await startTestService({ collections: COLLECTIONS, limits: { requestsPerSocket: 1 } });
  const socket = connect(service.address.port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  for (let i = 0; i < 5; i++) {
    socket.write("GET /v1/none HTTP/1.1\r\nHost: x\r\n\r\n");
    const [answer] = await once(socket, "data");
    expect(String(answer)).toMatch(/^HTTP\/1.1 404/);
  }
});

import { once } from "node:events";
import { createServer } from "node:http";
import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { SentBytes } from "../../../src/gateway/http/sent-bytes.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { guardParts } from "../../support/guard-parts.ts";

test("a socket that is destroyed with bytes still waiting takes nothing back from the count", async () => {
  const { bytesSent } = createMetrics();
  const counted = async () => (await bytesSent.get()).values[0]?.value ?? 0;
  const sent = new SentBytes(guardParts(), bytesSent);
  const server = createServer();
  sent.follow(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  const client = connect(port, "127.0.0.1").pause();
  client.on("error", () => {});
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  const [socket]: Socket[] = await once(server, "connection");
  if (socket === undefined) throw new Error("no socket");
  // More than the system takes at once.
  for (let megabyte = 0; megabyte < 32; megabyte++) socket.write(Buffer.alloc(1_048_576));
  sent.count();
  const before = await counted();
  expect(before).toBeGreaterThan(0);
  socket.destroy();
  await once(socket, "close");
  expect(await counted()).toBe(before);
});

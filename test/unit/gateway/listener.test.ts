import { once } from "node:events";
import { connect, createServer } from "node:net";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { closeServer, createPublicServer, listen } from "../../../src/gateway/listener.ts";
import { ServerOptions } from "../../../src/gateway/options.ts";

test("keeps the time limits of requests also for connections that it is given, as a worker is", async () => {
  const server = createPublicServer(ServerOptions.parse({}), () => {}, pino({ level: "silent" }));
  // Node looks every 30 s, by this property of its own.
  Object.assign(server, { connectionsCheckingInterval: 10, headersTimeout: 20 });
  server.emit("listening");
  const front = createServer((socket) => void server.emit("connection", socket));
  const { port, host } = await listen(front, { port: 0, host: "127.0.0.1" });
  const client = connect(port, host);
  onTestFinished(() => {
    client.destroy();
    front.close();
    closeServer(server);
  });
  client.write("GET / HTTP/1.1\r\nHost: x\r\n"); // and never the end of it
  const [answer] = await once(client, "data");
  expect(String(answer)).toContain("400 Bad Request");
});

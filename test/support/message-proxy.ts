/** A WebSocket proxy between clients and the service that can change the messages of the service. */
import { once } from "node:events";
import { onTestFinished } from "vitest";
import { WebSocket, WebSocketServer } from "ws";

/**
 * Decides about one message of the service: the messages that the client receives in its place. `cut`: the connection of
 * the client breaks.
 */
export type Tamper = (message: string, connection: number) => readonly string[] | "cut";

/** Listens on a port that the system picks, until the test is over. @returns The URL to give to clients. */
export async function startMessageProxy(target: string, tamper: Tamper): Promise<string> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  let connections = 0;
  server.on("connection", (client, { url = "" }) => {
    const number = connections++;
    const upstream = new WebSocket(`${target}${url}`, client.protocol);
    const early: string[] = [];
    client.on("message", (data) => {
      if (upstream.readyState === WebSocket.OPEN) upstream.send(String(data));
      else early.push(String(data));
    });
    upstream.on("open", () => {
      for (const text of early) upstream.send(text);
    });
    upstream.on("message", (data) => {
      const messages = tamper(String(data), number);
      if (messages === "cut") client.terminate();
      else for (const text of messages) client.send(text);
    });
    upstream.on("error", () => client.terminate());
    upstream.on("close", () => client.close());
    client.on("error", () => upstream.terminate());
    client.on("close", () => upstream.terminate());
  });
  await once(server, "listening");
  onTestFinished(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return `ws://127.0.0.1:${address.port}`;
}

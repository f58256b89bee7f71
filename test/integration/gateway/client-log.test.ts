/** The log: who connected and left, and which requests were refused, without a secret. */
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { createClient } from "../../../src/client/client.ts";
import { SseClient } from "../../support/http-client.ts";
import { signToken, startTestService } from "../../support/service.ts";

type Line = Readonly<Record<string, unknown>>;

async function start() {
  const lines: Line[] = [];
  const rules = [{ name: "own", filter: { owner: "%%user.sub" } }];
  const service = await startTestService({
    collections: { items: { rules } },
    server: { origins: ["https://app.example"] },
    onLogLine: (line) => void lines.push(line),
  });
  const about = (text: string) => lines.filter(({ msg }) => String(msg).startsWith(text));
  return { ...service, lines, about };
}

/** Opens a WebSocket and waits for its end. */
async function attempt(url: string, headers: Record<string, string>): Promise<void> {
  const socket = new WebSocket(url, ["tidewire.v1"], { headers });
  await new Promise<void>((resolve) => {
    socket.on("error", () => {}).on("close", () => resolve());
  });
}

test("a client that connects and leaves is two lines of level info: user, address, transport, client, duration", async () => {
  const { url, about } = await start();
  const token = await signToken({ sub: "ada" });
  const client = createClient({ url: url.replace("/v1/ws", ""), token: async () => token, WebSocket });
  await client.collection("items").find().snapshot();
  expect(about("client connected")).toEqual([
    expect.objectContaining({
      level: 30,
      user: "ada",
      address: "127.0.0.1",
      transport: "ws",
      client: expect.stringMatching(/^tidewire-js/),
      connection: expect.any(String),
    }),
  ]);
  client.close();
  await expect.poll(() => about("client left")).toHaveLength(1);
  const [connected, left] = [about("client connected")[0], about("client left")[0]];
  expect(left).toMatchObject({
    level: 30,
    user: "ada",
    connection: connected?.["connection"],
    seconds: expect.any(Number),
    code: 1000,
  });
});

test("a stream is logged like a WebSocket, and a token never appears", async () => {
  const { url, about, lines } = await start();
  const token = await signToken({ sub: "ada" });
  const address = `${url.replace("ws:", "http:").replace("/ws", "/sse")}?collection=items`;
  const stream = await SseClient.stream(address, { Authorization: `Bearer ${token}` });
  await expect.poll(() => about("client connected")).toMatchObject([{ user: "ada", transport: "sse" }]);
  stream.response.destroy();
  await expect.poll(() => about("client left")).toHaveLength(1);
  expect(JSON.stringify(lines)).not.toContain(token);
});

test("a page of another origin is logged once with its origin, over each transport, and counted", async () => {
  const { url, about, service } = await start();
  const headers = { Origin: "https://evil.example" };
  for (let n = 0; n < 3; n++) await attempt(url, headers);
  const http = url.replace("ws:", "http:").replace("/ws", "/sse");
  await SseClient.open(`${http}?collection=items`, headers);
  expect(about("refused a page")).toEqual([
    expect.objectContaining({
      level: 40,
      reason: "origin",
      origin: "https://evil.example",
      address: "127.0.0.1",
      count: 1,
    }),
  ]);
  const metrics = await (await fetch(`http://127.0.0.1:${service.adminAddress?.port}/metrics`)).text();
  expect(metrics).toContain('tidewire_connections_refused_total{reason="origin"} 4');
});

test("a refused token is logged with the reason and the address, in hello and in a header", async () => {
  const { connect, about, lines, url } = await start();
  const expired = await signToken({ sub: "ada" }, -10);
  await connect(undefined, { token: "not.a.token" });
  await attempt(url, { Authorization: `Bearer ${expired}` });
  expect(about("refused a token")).toEqual([
    expect.objectContaining({ level: 40, reason: "token-invalid", address: "127.0.0.1", count: 1 }),
    expect.objectContaining({ level: 30, reason: "token-expired", address: "127.0.0.1", count: 1 }),
  ]);
  expect(JSON.stringify(lines)).not.toContain(expired);
  expect(about("client connected")).toEqual([]);
});

test("a token that refresh refuses is logged, and does not count as a refused connection", async () => {
  const { connect, about, service } = await start();
  const client = await connect({ sub: "ada" });
  client.send({ type: "refresh", token: `${await signToken({ sub: "ada" })}x` });
  await client.until(({ type }) => type === "error");
  expect(about("refused a token")).toEqual([
    expect.objectContaining({ reason: "token-invalid", address: "127.0.0.1" }),
  ]);
  const metrics = await (await fetch(`http://127.0.0.1:${service.adminAddress?.port}/metrics`)).text();
  expect(metrics).not.toMatch(/^tidewire_connections_refused_total\{.*\} [1-9]/m);
});

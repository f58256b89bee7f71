/** Several processes on one port: the primary counts sockets, the workers end silent ones. */
import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { testDatabase } from "../../support/mongod.ts";
import { testConfig } from "../../support/service.ts";
import { pidsOf, scrape, spawnWorkers } from "../../support/worker-fleet.ts";

const PATIENCE = { timeout: 60_000, interval: 50 };

function dial(port: number, localAddress: string): Socket {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  socket.on("error", () => {}).resume();
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** The first line of the answer; empty if the socket is closed without one. */
const ask = (port: number, from: string) =>
  new Promise<string>((resolve) => {
    const socket = dial(port, from);
    socket.once("data", (data) => resolve(String(data).split("\r\n")[0] ?? ""));
    socket.once("close", () => resolve(""));
    socket.write("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  });

test("800 silent sockets from one address: another is served at once, by every worker", async () => {
  const { uri, name } = await testDatabase();
  const config = testConfig(uri, name, {
    collections: { items: { rules: [{ name: "all" }] } },
    limits: { socketsPerAddress: 100 },
    // So long that only the counts can help.
    server: { headersTimeout: "60s", requestTimeout: "60s" },
  });
  const { service, health } = await spawnWorkers(config, 2);
  const { port } = service.listening;
  const refused = () => scrape(service, "tidewire_sockets_refused_total");
  const open = () => scrape(service, "tidewire_sockets");
  const silent = Array.from({ length: 800 }, () => dial(port, "127.0.0.1"));
  await expect.poll(refused, PATIENCE).toBe(600);
  await expect.poll(open, PATIENCE).toBe(200);
  for (let i = 0; i < 10; i++) expect(await ask(port, "127.0.0.2")).toBe("HTTP/1.1 200 OK");
  expect(await ask(port, "127.0.0.1")).toBe("");

  // The primary learns of each end, whether the client closes or the worker dies.
  const held = silent.filter(({ closed }) => !closed);
  expect(held).toHaveLength(200);
  for (const socket of held.slice(0, 50)) socket.destroy();
  await expect.poll(() => ask(port, "127.0.0.1"), PATIENCE).toBe("HTTP/1.1 200 OK");
  const [pid = 0] = pidsOf(await health());
  process.kill(pid, "SIGKILL");
  await expect.poll(() => silent.filter(({ closed }) => !closed).length, PATIENCE).toBeLessThan(150);
  const left = silent.filter(({ closed }) => !closed).length;
  const more = Array.from({ length: 200 - left }, () => dial(port, "127.0.0.1"));
  await expect.poll(open, PATIENCE).toBe(200);
  expect(more.filter(({ closed }) => closed)).toEqual([]);
});

test("a silent socket is ended by the worker that has it, within the time of the head", async () => {
  const { uri, name } = await testDatabase();
  const config = testConfig(uri, name, {
    collections: { items: { rules: [{ name: "all" }] } },
    server: { headersTimeout: "1s" },
  });
  const { service } = await spawnWorkers(config, 2);
  const silent = Array.from({ length: 6 }, () => dial(service.listening.port, "127.0.0.1"));
  await expect.poll(() => silent.filter(({ closed }) => closed).length, PATIENCE).toBe(6);
  expect(await scrape(service, "tidewire_sockets_refused_total")).toBe(6);
});

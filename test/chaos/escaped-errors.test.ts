/** Errors that escape every guard, injected into real processes by a module that is loaded before the service. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import type { JoinedReadiness } from "../../src/cluster/join-readiness.ts";
import { COLLECTIONS } from "../support/http-service.ts";
import { signToken } from "../support/service.ts";
import { spawnTestService } from "../support/spawn-test-service.ts";
import { isRunning, scrape } from "../support/worker-fleet.ts";
import { WsClient } from "../support/ws-client.ts";

const PATIENCE = { timeout: 60_000, interval: 50 };
const FAULTS = {
  exception: 'setImmediate(() => { throw new Error("injected"); })',
  rejection: 'Promise.reject(new Error("injected"))',
  "error event": 'new EventEmitter().emit("error", new Error("injected"))',
} as const;

/** For the service's environment: on SIGUSR2 the fault happens, out of nowhere. */
async function preload(fault: string): Promise<Record<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-fault-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "fault.mjs");
  await writeFile(
    file,
    `import { EventEmitter } from "node:events";\nprocess.on("SIGUSR2", () => void ${fault});\n`,
  );
  return { NODE_OPTIONS: `--import ${pathToFileURL(file).href}` };
}

const start = async (fault: string, server: Record<string, unknown> = {}) =>
  spawnTestService({
    collections: COLLECTIONS,
    server: { drainTimeout: "1s", ...server },
    env: await preload(fault),
  });

type Started = Awaited<ReturnType<typeof start>>;

async function connect(service: Started): Promise<WsClient> {
  const client = await WsClient.connect(`${service.url.replace("http", "ws")}/v1/ws`, {
    token: await signToken({ sub: "u1" }),
  });
  onTestFinished(() => client.socket.terminate());
  expect(await client.ask({ type: "subscribe", id: "a", collection: "items" })).toMatchObject({ id: "a" });
  return client;
}

const fatal = ({ log }: Started) => log.filter((line) => line.includes('"level":60'));

test.each(Object.entries(FAULTS))(
  "%s: an error that escapes is logged, the clients are handed over, and the process ends with 70",
  async (_kind, fault) => {
    const service = await start(fault);
    const client = await connect(service);
    const { code } = await service.kill("SIGUSR2");
    expect(code).toBe(70);
    expect(client.received.some(({ type }) => type === "draining")).toBe(true);
    expect((await client.untilClosed()).code).toBe(4202);
    expect(fatal(service)).toHaveLength(1);
    expect(fatal(service)[0]).toMatch(/injected/);
    expect(JSON.parse(fatal(service)[0] ?? "")).toMatchObject({
      ref: expect.stringMatching(/^[0-9a-f]{12}$/),
    });
  },
);

test("a worker that an error escapes drains its own connections and is started again; the others continue", async () => {
  const service = await start(FAULTS.exception, { workers: 2 });
  const clients = [await connect(service), await connect(service)];
  const health = async () => (await (await fetch(`${service.adminUrl}/readyz`)).json()) as JoinedReadiness; // what it is for
  const { workers } = await health();
  const pid = workers[0]?.pid ?? 0;
  process.kill(pid, "SIGUSR2");
  await expect.poll(() => clients.filter(({ closed }) => closed?.code === 4202).length, PATIENCE).toBe(1);
  await expect.poll(() => isRunning(pid), PATIENCE).toBe(false);
  await expect.poll(() => scrape(service, "tidewire_worker_restarts_total"), PATIENCE).toBe(1);
  await expect.poll(async () => (await health()).ready, PATIENCE).toBe(true);
  const spared = clients.find(({ closed }) => closed === undefined);
  spared?.send({ type: "ping", nonce: "here" });
  expect(await spared?.until(({ type }) => type === "pong")).toMatchObject({ nonce: "here" });
  expect(fatal(service)).toHaveLength(1);
});

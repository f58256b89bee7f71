/** config/rolling-restart.sh on three nodes behind HAProxy, while strict clients follow under load. */
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { COLLECTIONS, describeCounts, FLAWLESS, Fleet } from "../chaos/fleet.ts";
import { startSeed } from "../property/seed.ts";
import { ROOT } from "../support/build.ts";
import { endWithUs, exited } from "../support/guard.ts";
import { isWithout } from "../support/installed.ts";
import { makeCertificate, startHaproxy } from "../support/load-balancer.ts";
import { testDatabase } from "../support/mongod.ts";
import { Random } from "../support/random.ts";
import { testConfig } from "../support/service.ts";
import { type SpawnedService, spawnService } from "../support/spawn-service.ts";

const skipped = isWithout("haproxy", "openssl", "curl");
const PATIENCE = { timeout: 60_000, interval: 50 };

const isReady = async ({ url }: SpawnedService) =>
  (await fetch(`${url}/readyz`).catch(() => null))?.ok === true;

async function startNodes(uri: string, database: string): Promise<SpawnedService[]> {
  const nodes: SpawnedService[] = [];
  for (let n = 0; n < 3; n++) {
    const { mongodb, ...file } = testConfig(uri, database, {
      collections: COLLECTIONS,
      server: { heartbeat: "1s", drainTimeout: "5s", trustedProxies: ["127.0.0.1"] },
      history: { window: "5m" },
    });
    // `testConfig` gives every section of the file.
    const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
    nodes.push(await spawnService({ config }));
  }
  for (const node of nodes) await expect.poll(() => isReady(node), PATIENCE).toBe(true);
  return nodes;
}

/** Stands for `systemctl restart`: `POST /N` drains node N, starts it again, and then answers. */
async function startControl(nodes: readonly SpawnedService[]) {
  const restarts: { node: number; end: unknown }[] = [];
  const restart = async (number: number) => {
    const node = nodes[number];
    if (node === undefined) throw new Error(`no node ${number}`);
    restarts.push({ node: number, end: await node.kill("SIGTERM") });
    await node.start();
  };
  const server = createServer((request, response) => {
    restart(Number(request.url?.slice(1))).then(
      () => response.end(),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo; // a TCP server has one once it listens
  return { restarts, command: (n: number) => `curl -fsS -X POST http://127.0.0.1:${port}/${n}` };
}

async function runScript(args: readonly string[]): Promise<{ code: number | null; said: string }> {
  const child = spawn("sh", [join(ROOT, "config", "rolling-restart.sh"), ...args], {
    env: { ...process.env, SETTLE: "2" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  endWithUs(child);
  let said = "";
  for (const output of [child.stdout, child.stderr])
    output.on("data", (text) => {
      said += String(text);
    });
  const { code } = await exited(child);
  return { code, said };
}

test.skipIf(skipped)(
  "[3.2] a rolling restart of three nodes behind HAProxy loses nothing and repeats nothing, and spares the last two if one is missing",
  async () => {
    const seed = startSeed("rolling restart");
    const { name: database, uri } = await testDatabase();
    const nodes = await startNodes(uri, database);
    const [first, second, third] = nodes.map(({ listening }) => listening.port) as [number, number, number];
    const balancer = await startHaproxy([first, second, third], await makeCertificate());
    const url = () => `${balancer.plain.replace("http", "ws")}/v1/ws`;
    const fleet = await Fleet.start({ uri, database, url, random: new Random(seed) });
    await expect.poll(() => fleet.clients.every((client) => client.isFollowing), PATIENCE).toBe(true);
    const { restarts, command } = await startControl(nodes);
    const args = nodes.flatMap((node, n) => [node.url, command(n)]);

    expect(await runScript(args)).toMatchObject({ code: 0 });
    expect(restarts).toEqual([0, 1, 2].map((node) => ({ node, end: { code: 0, signal: null } })));
    const counts = await fleet.settle();
    console.log(`rolling restart: seed ${seed}: ${describeCounts(counts)}`);
    expect(counts).toMatchObject(FLAWLESS);
    const starts = counts["starts"] as Record<string, number>; // a count for each kind
    expect(Object.keys(starts).filter((start) => start !== "snapshot" && start !== "resumed")).toEqual([]);
    expect(starts["resumed"]).toBeGreaterThanOrEqual(fleet.subscriptions);

    await nodes[2]?.kill("SIGTERM");
    const refused = await runScript(args);
    expect(refused).toMatchObject({ code: 1, said: expect.stringContaining("no node is restarted") });
    expect(restarts.length).toBe(3);
  },
);

/** The service as several processes: what an admin sees of it. */
import { existsSync } from "node:fs";
import type { JoinedReadiness } from "../../src/cluster/join-readiness.ts";
import { type SpawnedService, spawnService } from "./spawn-service.ts";

/** Starts it with so many workers, and waits until all of them are ready. */
export async function spawnWorkers(
  config: Record<string, unknown>,
  workers: number,
): Promise<{ service: SpawnedService; health: () => Promise<JoinedReadiness>; url: string }> {
  // `testConfig` gives every section of the file.
  const { mongodb, server } = config as Record<"mongodb" | "server", Record<string, unknown>>;
  const file = { ...config, mongodb, server: { ...server, workers }, log: { level: "info" } };
  const service = await spawnService({ config: file });
  const health = async () => {
    const answer = await fetch(`${service.adminUrl}/readyz`);
    return (await answer.json()) as JoinedReadiness; // what it is for
  };
  while (!(await health()).ready) await new Promise((resolve) => setTimeout(resolve, 20));
  return { service, health, url: `${service.url.replace("http", "ws")}/v1/ws` };
}

/** The workers' processes. */
export const pidsOf = ({ workers }: JoinedReadiness): number[] => workers.flatMap(({ pid }) => pid ?? []);

export const isRunning = (pid: number): boolean => existsSync(`/proc/${pid}`);

/** A metric's sum over its labels, as it is scraped. */
export async function scrape({ adminUrl }: SpawnedService, name: string): Promise<number> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  const values = text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"));
  return Array.from(values, ([, value]) => Number(value)).reduce((sum, value) => sum + value, 0);
}

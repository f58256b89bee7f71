/** The service of `startTestService` as a process of its own, which may end without taking the test along. */
import { expect, onTestFinished } from "vitest";
import { testDatabase } from "./mongod.ts";
import { type TestServiceOptions, testConfig } from "./service.ts";
import { type SpawnedService, spawnService } from "./spawn-service.ts";

export interface SpawnTestOptions extends TestServiceOptions {
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts it and waits until it is ready: before that it refuses connections, because it does not know the revocations. */
export async function spawnTestService({ env = {}, ...options }: SpawnTestOptions): Promise<SpawnedService> {
  const { client, name, uri } = await testDatabase();
  onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
  const { mongodb, ...file } = testConfig(uri, name, options);
  // The log says where it listens.
  const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
  const service = await spawnService({ config, env });
  const isReady = async () => (await fetch(`${service.adminUrl}/readyz`)).ok;
  await expect.poll(isReady, { timeout: 60_000 }).toBe(true);
  return service;
}

/** The shared tail of a whole service: its package, TLS and passwords, and what an operator sees when it cannot be used. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, type TestContext, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { isWithout } from "../../support/installed.ts";
import { makeCertificate } from "../../support/load-balancer.ts";
import { freePort, testDatabase } from "../../support/mongod.ts";
import { Redis } from "../../support/redis.ts";
import { testConfig } from "../../support/service.ts";
import { PATIENCE } from "../../support/source-node.ts";
import { type SpawnedService, spawnService } from "../../support/spawn-service.ts";

const PASSWORD = "p%40ss:word/1";

async function startService(redisUrl: string, env: Readonly<Record<string, string>> = {}) {
  const { name, uri } = await testDatabase();
  const { mongodb, ...file } = testConfig(uri, name, {
    collections: { things: { rules: [{ name: "all" }] } },
    auth: { revocation: "off" },
    mongodb: { tail: { redis: { url: redisUrl, key: `tail-${name}`, bytes: "64MiB" } } },
  });
  const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
  return spawnService({ config, env });
}

/** A Redis that accepts TLS and a password only. */
async function startSecureRedis(skip: TestContext["skip"]) {
  const { certFile, keyFile } = await makeCertificate();
  const port = await freePort();
  const tls = ["--tls-port", String(port), "--tls-cert-file", certFile, "--tls-key-file", keyFile];
  // The plain port is for the test's own commands.
  await Redis.start(skip, [
    ...tls,
    "--tls-auth-clients",
    "no",
    "--requirepass",
    decodeURIComponent(PASSWORD),
  ]);
  return { url: `rediss://:${encodeURIComponent(decodeURIComponent(PASSWORD))}@127.0.0.1:${port}`, certFile };
}

const metricOf = async ({ adminUrl }: SpawnedService, line: RegExp) =>
  Number(line.exec(await (await fetch(`${adminUrl}/metrics`)).text())?.[1] ?? Number.NaN);
const SOURCE_IS_TAIL = /^tidewire_stream_source\{source="tail"\} (\d)$/m;

test.skipIf(isWithout("openssl"))(
  "a service reads the tail of a Redis with TLS and a password, and says why it cannot if it does not trust the certificate",
  async ({ skip }) => {
    const { url, certFile } = await startSecureRedis(skip);
    const trusting = await startService(url, { NODE_EXTRA_CA_CERTS: certFile });
    await expect.poll(() => metricOf(trusting, SOURCE_IS_TAIL), PATIENCE).toBe(1);
    const doubting = await startService(url);
    const warned = () => doubting.log.find((line) => line.includes("cannot be used"));
    await expect.poll(warned, PATIENCE).toMatch(/certificate.*check host, port and TLS/);
    const refused = /^tidewire_tail_failed_joins_total\{reason="unreachable"\} (\d+)$/m;
    await expect.poll(() => metricOf(doubting, refused), PATIENCE).toBeGreaterThan(0);
    for (const line of [...trusting.log, ...doubting.log]) expect(line).not.toMatch(/p@ss|p%40ss|p%2540ss/);
  },
);

test("a service names the package that is missing for mongodb.tail", async () => {
  const file = pathToFileURL(join(ROOT, "test/support/no-redis-client.mjs")).href;
  const started = startService("redis://127.0.0.1:6379", { NODE_OPTIONS: `--import ${file}` });
  await expect(started).rejects.toThrow("npm install @redis/client@6, or remove mongodb.tail");
});

test("a node that cannot join the tail warns with the reason, at most once a minute, and counts every attempt", async ({
  skip,
}) => {
  const redis = await Redis.start(skip);
  const service = await startService(redis.url);
  await expect.poll(() => metricOf(service, SOURCE_IS_TAIL), PATIENCE).toBe(1);
  await redis.stop();
  const failed = /^tidewire_tail_failed_joins_total\{reason="unreachable"\} (\d+)$/m;
  await expect.poll(() => metricOf(service, failed), PATIENCE).toBeGreaterThan(2);
  const warnings = service.log.filter((line) => line.includes("the shared tail cannot be read"));
  expect(warnings).toHaveLength(1);
  expect(JSON.parse(warnings[0] ?? "{}")).toMatchObject({ reason: "unreachable" });
  expect(await metricOf(service, /^tidewire_tail_configured (\d)$/m)).toBe(1);
});

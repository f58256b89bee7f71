/** Spans of the service as users run it, with a real SDK of OpenTelemetry in its process. */
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { testDatabase } from "../../support/mongod.ts";
import { testConfig } from "../../support/service.ts";
import { type SpawnedService, spawnService } from "../../support/spawn-service.ts";
import { WsClient } from "../../support/ws-client.ts";

const PATIENCE = { timeout: 30_000, interval: 50 };

interface WrittenSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId?: string;
  readonly attributes: Readonly<Record<string, unknown>>;
}

const importOf = (file: string) => ({
  NODE_OPTIONS: `--import ${pathToFileURL(join(ROOT, "test/support", file)).href}`,
});

async function startTraced(tracing: object | undefined, workers = 1) {
  const { client, db, name, uri } = await testDatabase();
  const directory = await mkdtemp(join(tmpdir(), "tidewire-spans-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, "spans.jsonl");
  const { mongodb, ...rest } = testConfig(uri, name, {
    collections: { orders: { rules: [{ name: "all", anonymous: true }] } },
    auth: { anonymous: true },
    server: { workers },
  });
  const service = await spawnService({
    config: {
      ...rest,
      mongodb: mongodb as Record<string, unknown>,
      log: { level: "info" },
      ...(tracing === undefined ? {} : { tracing }),
    },
    env: { ...importOf("open-telemetry.mjs"), SPANS_FILE: file },
  });
  const spans = (): WrittenSpan[] =>
    existsSync(file)
      ? readFileSync(file, "utf8")
          .split("\n")
          .slice(0, -1)
          .map((line) => JSON.parse(line))
      : [];
  return { client, db, service, spans };
}

async function subscribed(service: SpawnedService): Promise<WsClient> {
  const isReady = async () => (await fetch(`${service.adminUrl}/readyz`)).ok;
  await expect.poll(isReady, PATIENCE).toBe(true);
  const socket = await WsClient.connect(`${service.url.replace("http", "ws")}/v1/ws`, {});
  onTestFinished(() => socket.socket.terminate());
  socket.send({ type: "subscribe", id: "orders", collection: "orders" });
  await socket.until(({ type }) => type === "snapshot");
  return socket;
}

test.each([1, 2])("each change is a trace through the five stops, with %d workers", async (workers) => {
  const { client, db, service, spans } = await startTraced({ sampleRatio: 1 }, workers);
  const socket = await subscribed(service);
  // From here on changes are delivered as they arrive.
  await socket.fence((await client.db("admin").command({ ping: 1 }))["operationTime"]);
  await db
    .collection<{ _id: string; secret: string }>("orders")
    .insertOne({ _id: "a", secret: "Ada Lovelace" });
  await socket.until(({ type }) => type === "added");
  const rootOf = () => spans().find(({ attributes }) => attributes["tidewire.deliveries"] === 1);
  await expect.poll(rootOf, PATIENCE).toBeDefined();
  const root = rootOf();
  expect(root).toMatchObject({ name: "tidewire.changes", attributes: { "tidewire.events": 1 } });
  const stops = spans().filter(({ traceId }) => traceId === root?.traceId);
  expect(new Set(stops.map(({ name }) => name))).toEqual(
    new Set(["changes", "read", "order", "match", "encode", "write"].map((stop) => `tidewire.${stop}`)),
  );
  for (const { name, parentId } of stops)
    expect(parentId).toBe(name === "tidewire.changes" ? undefined : root?.spanId);
  expect(JSON.stringify(spans())).not.toContain("Ada Lovelace");
});

test("lines of the log carry the ids of the trace that they are written in", async () => {
  const { db, service, spans } = await startTraced({ sampleRatio: 1 });
  await db.collection("orders").insertOne({ n: 1 });
  await db.collection("others").insertOne({ n: 2 });
  await db.collection("others").rename("orders", { dropTarget: true });
  const lineOf = () => service.log.find((line) => line.includes("a collection was replaced as a whole"));
  await expect.poll(lineOf, PATIENCE).toBeDefined();
  const { trace_id, span_id } = JSON.parse(lineOf() ?? "{}");
  await expect
    .poll(() => spans().find(({ spanId }) => spanId === span_id), PATIENCE)
    .toMatchObject({ traceId: trace_id, name: "tidewire.changes" });
});

test("makes no spans by default, also where an SDK is loaded", async () => {
  const { db, service, spans } = await startTraced(undefined);
  const socket = await subscribed(service);
  await db.collection("orders").insertOne({ n: 1 });
  await socket.until(({ type }) => type === "added");
  expect(spans()).toEqual([]);
});

test("names the package that is missing, and the way without it", async () => {
  const { uri, name } = await testDatabase();
  const { mongodb, ...rest } = testConfig(uri, name, {
    collections: { orders: { rules: [{ name: "all", anonymous: true }] } },
    auth: { anonymous: true },
  });
  const config = { ...rest, mongodb: mongodb as Record<string, unknown>, tracing: { sampleRatio: 0.5 } };
  const started = spawnService({ config, env: importOf("no-open-telemetry.mjs") });
  await expect(started).rejects.toThrow("npm install @opentelemetry/api, or set it to 0");
});

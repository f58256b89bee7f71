/** [G6] No client stops the process: hostile messages over every transport, against a process of its own. */
import { expect, test } from "vitest";
import { COLLECTIONS } from "../conformance/shared-service.ts";
import { Random } from "../support/random.ts";
import { signToken } from "../support/service.ts";
import type { SpawnedService } from "../support/spawn-service.ts";
import { spawnTestService } from "../support/spawn-test-service.ts";
import { scrape } from "../support/worker-fleet.ts";
import { WsClient } from "../support/ws-client.ts";
import { fuzzHttp, fuzzSocketIo, fuzzWebSocket } from "./fuzz-senders.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const MESSAGES = { ws: 64_000, socketio: 28_000, sse: 4_000, poll: 4_000 };

/** An ordinary client of the same process: it subscribes, and is served. */
async function expectServed(service: SpawnedService): Promise<void> {
  const client = await WsClient.connect(`${service.url.replace("http", "ws")}/v1/ws`, {
    token: await signToken({ sub: "witness" }),
  });
  client.send({ type: "subscribe", id: "w", collection: "notes" });
  expect(await client.until(({ type }) => type === "snapshot")).toMatchObject({ docs: [], last: true });
  client.socket.terminate();
}

/** Every value of every label, as the metrics are scraped. */
async function labelValues({ adminUrl }: SpawnedService): Promise<string[]> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  const series = text.split("\n").filter((line) => !line.startsWith("#"));
  return series.flatMap((line) =>
    Array.from(line.matchAll(/[{,]\w+="([^"]*)"/g), ([, value]) => value ?? ""),
  );
}

test("[G6] a hundred thousand hostile messages over four transports leave the same process, serving others as before", async () => {
  const seed = startSeed("fuzz");
  const service = await spawnTestService({
    collections: COLLECTIONS,
    server: { socketio: true },
    limits: { requestsPerSecond: 1_000_000, requestBurst: 1_000_000, fenceTimeout: "100ms" },
    // A node that is busy with the messages of four senders reads a hello late. It also ends a session of Socket.IO that has
    // left its namespace, which the sender waits for.
    auth: { helloTimeout: "3s" },
  });
  const { pid } = service;
  const random = new Random(seed);
  const target = { base: service.url, token: await signToken({ sub: "u1" }) };
  const tallies = await Promise.all([
    fuzzWebSocket(target, MESSAGES.ws * FUZZ_FACTOR, random.fork()),
    fuzzSocketIo(target, MESSAGES.socketio * FUZZ_FACTOR, random.fork()),
    fuzzHttp(target, "/v1/sse", MESSAGES.sse * FUZZ_FACTOR, random.fork()),
    fuzzHttp(target, "/v1/poll", MESSAGES.poll * FUZZ_FACTOR, random.fork()),
  ]);
  for (const { sent, answers } of tallies) console.log(sent, JSON.stringify(Object.fromEntries(answers)));
  expect(tallies.flatMap(({ internal }) => internal).slice(0, 5)).toEqual([]);
  expect(service.pid).toBe(pid);
  expect(await scrape(service, "tidewire_unexpected_errors_total")).toBe(0);
  expect(service.log.filter((line) => /"level":(?:50|60)/.test(line)).slice(0, 5)).toEqual([]);
  await expectServed(service);
  await expect.poll(() => scrape(service, "tidewire_connections"), { timeout: 60_000 }).toBe(0);
  expect(await scrape(service, "tidewire_subscriptions")).toBe(0);
  // Nothing that a client chose names a series.
  const chosen = (await labelValues(service)).filter((value) => !/^[\w.+-]{1,60}$/.test(value));
  expect(chosen).toEqual([]);
  for (const { answers } of tallies) expect(answers.get("bad-request")).toBeGreaterThan(0);
  expect(service.pid).toBe(pid);
});

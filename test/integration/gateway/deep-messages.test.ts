/** Messages that nest as deep as their size allows, over every transport, against a process of its own. */
import { expect, test } from "vitest";
import { ask, urlOf } from "../../support/http-client.ts";
import { bearer, COLLECTIONS } from "../../support/http-service.ts";
import { bodyOf, RawSocketIo } from "../../support/raw-socketio.ts";
import { signToken } from "../../support/service.ts";
import type { SpawnedService } from "../../support/spawn-service.ts";
import { spawnTestService } from "../../support/spawn-test-service.ts";
import { WsClient } from "../../support/ws-client.ts";

const DEPTH = 30_000;
/** A request line takes no more. */
const URL_DEPTH = 1_500;
const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

/** Somebody else is served by the same process. */
async function expectServed(service: SpawnedService, pid: number | undefined): Promise<void> {
  expect(service.pid).toBe(pid);
  const client = await WsClient.connect(`${service.url.replace("http", "ws")}/v1/ws`, {
    token: await signToken({ sub: "witness" }),
  });
  client.send({ type: "subscribe", id: "w", collection: "items" });
  expect(await client.until(({ type }) => type === "subscribed")).toMatchObject({ id: "w" });
  client.socket.terminate();
}

test("a message nested beyond limits.messageDepth is bad-request over every transport, and the process lives on", async () => {
  const service = await spawnTestService({ collections: COLLECTIONS, server: { socketio: true } });
  const { pid } = service;

  const ws = await WsClient.connect(`${service.url.replace("http", "ws")}/v1/ws`, {
    token: await signToken({ sub: "u1" }),
  });
  ws.socket.send(`{"type":"subscribe","id":"a","collection":"items","filter":{"a":${nested(DEPTH)}}}`);
  const refused = { code: "bad-request", details: { limit: "messageDepth", value: 128 } };
  expect(await ws.until(({ type }) => type === "error")).toMatchObject({ ...refused, id: "a" });
  ws.socket.terminate();
  await expectServed(service, pid);

  for (const path of ["/v1/sse", "/v1/poll"]) {
    const url = `${urlOf(service.url, path, { collection: "items" })}&filter={"a":${nested(URL_DEPTH)}}`;
    const { status, body } = await ask("GET", url, await bearer());
    expect([path, status]).toEqual([path, 400]);
    expect(body).toMatchObject(refused);
  }
  await expectServed(service, pid);

  const io = await RawSocketIo.join(service.url, await signToken({ sub: "u1" }));
  io.socket.send(`42["subscribe",{"id":"a","collection":"items","filter":{"a":${nested(DEPTH)}}}]`);
  expect(bodyOf(await io.until((packet) => packet.startsWith('42["error"')))).toMatchObject(refused);
  await expectServed(service, pid);

  const joining = await RawSocketIo.open(service.url);
  joining.socket.send(`40{"token":${nested(DEPTH)}}`);
  const answer = (await joining.until((packet) => packet.startsWith("44"))) ?? "";
  expect(JSON.parse(answer.slice(2))).toMatchObject({ data: { code: "bad-request" } });
  await expectServed(service, pid);
});

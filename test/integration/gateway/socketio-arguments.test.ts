/** Packets of Socket.IO with as many parts as their size allows, against a process of its own. */
import { expect, test } from "vitest";
import { COLLECTIONS } from "../../support/http-service.ts";
import { RawSocketIo } from "../../support/raw-socketio.ts";
import { signToken } from "../../support/service.ts";
import { SocketIoPoller } from "../../support/socketio-poller.ts";
import { spawnTestService } from "../../support/spawn-test-service.ts";
import { WsClient } from "../../support/ws-client.ts";

const PATIENCE = { timeout: 60_000 };
/** The larger one is more than a function call may have arguments. */
const COUNTS = [50_000, 125_000];
const zeros = (count: number) => ",0".repeat(count);

/** Packets of the engine, by the kind of packet that they carry. */
const PACKETS: Readonly<Record<string, (count: number) => readonly (string | Buffer)[]>> = {
  "an event": (count) => [`42["error"${zeros(count)}]`],
  "an event of the protocol": (count) => [`42["subscribe"${zeros(count)}]`],
  "an event with an acknowledgement": (count) => [`427["error"${zeros(count)}]`],
  "an acknowledgement": (count) => [`437[0${zeros(count)}]`],
  "a binary event": (count) => [
    `451-["error"${zeros(count)},{"_placeholder":true,"num":0}]`,
    Buffer.from("x"),
  ],
  "a binary acknowledgement": (count) => [
    `461-7[0${zeros(count)},{"_placeholder":true,"num":0}]`,
    Buffer.from("x"),
  ],
};

test("a packet with very many arguments ends its session alone, and the process lives on", async () => {
  const service = await spawnTestService({
    collections: COLLECTIONS,
    server: { socketio: true },
    limits: { messageBytes: "256KiB" },
  });
  const { pid, url } = service;
  const token = await signToken({ sub: "u1" });
  const witness = await WsClient.connect(`${url.replace("http", "ws")}/v1/ws`, { token });
  const expectServed = async (what: string) => {
    witness.send({ type: "ping", nonce: what });
    const pong = await witness.until(({ type, nonce }) => type === "pong" && nonce === what);
    expect([what, pong?.type, service.pid]).toEqual([what, "pong", pid]);
  };
  for (const count of COUNTS) {
    for (const [kind, packetsOf] of Object.entries(PACKETS)) {
      const what = `${kind} with ${count}`;
      const client = await RawSocketIo.join(url, token);
      for (const packet of packetsOf(count)) client.socket.send(packet);
      await expect.poll(() => client.isClosed, PATIENCE).toBe(true);
      await expectServed(what);
    }
    const poller = await SocketIoPoller.open(url);
    await poller.post(`40${JSON.stringify({ token })}`);
    await poller.until('42["welcome"');
    await poller.post(`42["error"${zeros(count)}]`);
    await expect.poll(() => poller.poll().catch(String), PATIENCE).toContain("Session ID unknown");
    await expectServed(`a poll with ${count}`);
  }
});

test("three arguments are answered with an error, and one more ends the session", async () => {
  const service = await spawnTestService({ collections: COLLECTIONS, server: { socketio: true } });
  const client = await RawSocketIo.join(service.url, await signToken({ sub: "u1" }));
  client.socket.send('427["ping",{},0,0]');
  const answer = await client.until((packet) => packet.startsWith("437"));
  expect(JSON.parse(answer?.slice(3) ?? "[]")).toMatchObject([{ type: "error", code: "bad-request" }]);
  client.socket.send('428["ping",{}]');
  expect(await client.until((packet) => packet.startsWith("438"))).toContain('"pong"');
  client.socket.send('429["ping",{},0,0,0]');
  await expect.poll(() => client.isClosed, PATIENCE).toBe(true);
  expect(client.packets.some((packet) => packet.startsWith("439"))).toBe(false);
});

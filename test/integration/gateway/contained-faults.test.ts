/** Errors that nobody expected, injected where libraries and timers call the service: each ends one connection. */
import { afterEach, expect, test, vi } from "vitest";
import { Connection } from "../../../src/gateway/connection/connection.ts";
import { ConnectionClock } from "../../../src/gateway/connection/connection-clock.ts";
import { Inbox } from "../../../src/gateway/connection/inbox.ts";
import { Outbox } from "../../../src/gateway/connection/outbox.ts";
import { FollowTransport } from "../../../src/gateway/grpc/follow-transport.ts";
import { SocketIoSession } from "../../../src/gateway/socketio/socketio-session.ts";
import { follow, grpcClient, statusOf } from "../../support/grpc-client.ts";
import { startHttpService } from "../../support/http-service.ts";
import { RawSocketIo } from "../../support/raw-socketio.ts";
import { signToken } from "../../support/service.ts";
import type { WsClient } from "../../support/ws-client.ts";

type Setup = Awaited<ReturnType<typeof start>>;

const start = () => startHttpService({ server: { socketio: true, grpc: { port: 0 } } });

afterEach(() => vi.restoreAllMocks());

/** Counts of contained errors, by where. */
async function contained({ service }: Setup): Promise<Record<string, number>> {
  const { values } = await service.metrics.unexpectedErrors.get();
  return Object.fromEntries(values.map(({ labels, value }) => [labels["where"], value]));
}

async function expectServed({ connect, items }: Setup): Promise<void> {
  const client = await connect({ sub: "witness" });
  expect(await client.ask({ type: "subscribe", id: "w", collection: "items" })).toMatchObject({ id: "w" });
  const _id = `w${Math.random()}`;
  await items.insertOne({ _id, owner: "witness" });
  expect(await client.until(({ type }) => type === "added")).toMatchObject({ doc: { _id } });
  await client.close();
}

async function expectAnswered(client: WsClient): Promise<void> {
  client.send({ type: "ping", nonce: "still here" });
  expect(await client.until(({ type }) => type === "pong")).toMatchObject({ nonce: "still here" });
}

/** Lets a method fail for the connections that `isMeant` picks. */
function failFor<T extends object>(
  prototype: T,
  method: keyof T & string,
  isMeant: (self: T, args: unknown[]) => boolean,
) {
  const original = Reflect.get(prototype, method) as (...args: unknown[]) => unknown;
  // The spy's type would ask for the method's own signature.
  const spy = vi.spyOn(prototype as Record<string, (...args: unknown[]) => unknown>, method);
  spy.mockImplementation(function (this: T, ...args: unknown[]) {
    if (isMeant(this, args)) throw new Error("injected");
    return original.apply(this, args);
  });
}

const isBoom = (_self: unknown, args: unknown[]) => JSON.stringify(args[0]).includes("boom");

/** The connection says why, under a reference, and closes with 1011. */
async function expectFailed(client: WsClient): Promise<void> {
  const { code } = await client.untilClosed();
  expect(code).toBe(1011);
  expect(client.received.findLast(({ type }) => type === "error")).toMatchObject({
    code: "internal",
    details: { ref: expect.stringMatching(/^[0-9a-f]{12}$/) },
  });
}

test("an error in the listener of a WebSocket ends that connection alone", async () => {
  const setup = await start();
  const [bystander, client] = [await setup.connect({ sub: "u2" }), await setup.connect({ sub: "u1" })];
  failFor(Inbox.prototype, "receive", isBoom);
  client.send({ type: "ping", nonce: "boom" });
  await expectFailed(client);
  expect(await contained(setup)).toEqual({ "ws.message": 1 });
  await expectAnswered(bystander);
  await expectServed(setup);
});

test("an error while the clock of one connection is looked at ends that connection", async () => {
  const setup = await start();
  const [bystander, client] = [await setup.connect({ sub: "u2" }), await setup.connect({ sub: "u1" })];
  failFor(ConnectionClock.prototype, "tick", ({ connection }) => connection.identity?.sub === "u1");
  await expectFailed(client);
  expect(await contained(setup)).toEqual({ "connection.tick": 1 });
  await expectAnswered(bystander);
  await expectServed(setup);
});

test("a change that cannot be written to one client reaches the others in the same turn", async () => {
  const setup = await start();
  const clients = await Promise.all(["u1", "u2", "u3"].map((sub) => setup.connect({ sub })));
  for (const client of clients) await client.ask({ type: "subscribe", id: "a", collection: "board" });
  let writes = 0;
  failFor(Outbox.prototype, "write", () => ++writes === 1);
  await setup.items.insertOne({ _id: 1 });
  await expect.poll(() => clients.filter(({ closed }) => closed !== undefined).length).toBe(1);
  const [failed, ...others] = [...clients].sort(
    (a, b) => Number(b.closed !== undefined) - Number(a.closed !== undefined),
  );
  await expectFailed(failed as WsClient);
  for (const other of others)
    expect(await other.until(({ type }) => type === "added")).toMatchObject({ doc: { _id: 1 } });
  expect(await contained(setup)).toEqual({ "delivery.write": 1 });
  await expectServed(setup);
});

test("a connection that cannot even be closed in good order is cut off", async () => {
  const setup = await start();
  const client = await setup.connect({ sub: "u1" });
  failFor(Inbox.prototype, "receive", isBoom);
  failFor(Connection.prototype, "close", ({ identity }) => identity?.sub === "u1");
  client.send({ type: "ping", nonce: "boom" });
  expect((await client.untilClosed()).code).toBe(1006);
  expect(await contained(setup)).toEqual({ "ws.message": 1, "connection.close": 1 });
  await expect.poll(() => setup.service.readiness().connections).toBe(0);
  await expectServed(setup);
});

test("an error in an event of Socket.IO ends that client's connection", async () => {
  const setup = await start();
  const client = await RawSocketIo.join(setup.base, await signToken({ sub: "u1" }));
  failFor(Inbox.prototype, "receive", isBoom);
  client.socket.send('42["ping",{"nonce":"boom"}]');
  expect(await client.until((packet) => packet.startsWith('42["error"'))).toContain('"code":"internal"');
  await expect.poll(() => setup.service.readiness().connections).toBe(0);
  expect(await contained(setup)).toEqual({ "socketio.event": 1 });
  await expectServed(setup);
});

test("an error while a session of Socket.IO begins ends that session", async () => {
  const setup = await start();
  failFor(SocketIoSession.prototype, "polledBy", () => true);
  const answer = await fetch(`${setup.base}/socket.io/?EIO=4&transport=polling`);
  const { sid } = JSON.parse((await answer.text()).slice(1));
  const polled = await fetch(`${setup.base}/socket.io/?EIO=4&transport=polling&sid=${sid}`);
  expect(polled.status).toBe(500);
  expect(await polled.json()).toMatchObject({ code: "internal", details: { ref: expect.any(String) } });
  await expectServed(setup);
});

test("an error within a stream of gRPC ends it as internal, under the reference in the log, and is counted", async () => {
  const setup = await start();
  vi.spyOn(FollowTransport.prototype, Symbol.asyncIterator).mockImplementationOnce(() => {
    throw new Error("injected");
  });
  const client = grpcClient(setup.service, { sub: "ada" });
  const status = statusOf(await follow(client, { collection: "items" }).ended());
  expect(status).toMatchObject({ status: "Internal", code: "internal" });
  expect(status.text).not.toContain("injected");
  expect(await contained(setup)).toMatchObject({ "grpc.stream": 1 });
  await expectServed(setup);
});

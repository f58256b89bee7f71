/** Calls of gRPC against a service in this process. */
import { Long } from "mongodb";
import { expect, test } from "vitest";
import { Start, Values } from "../../../src/gateway/grpc/tidewire/v1/live_queries_pb.ts";
import { follow, grpcClient, statusOf } from "../../support/grpc-client.ts";
import { dial, envelope, FOLLOW, post } from "../../support/http2-calls.ts";
import { signToken, startTestService, type TestServiceOptions, toConfig } from "../../support/service.ts";

const collections = { notes: { rules: [{ name: "owner", filter: { owner: "%%user.sub" } }] } };

const PATIENCE = { timeout: 60_000, interval: 50 };

interface Note {
  readonly _id?: number;
  readonly owner: string;
  readonly n?: number;
  readonly [field: string]: unknown;
}

const start = (options: Partial<TestServiceOptions> = {}) =>
  startTestService({ collections, ...options, server: { grpc: { port: 0 }, ...options.server } });

test("a stream brings the result, each change of it, and goes on after a cursor", async () => {
  const { service, db } = await start();
  const notes = db.collection<Note>("notes");
  await notes.insertOne({ _id: 1, owner: "ada" });
  const client = grpcClient(service, { sub: "ada" });
  const first = follow(client, { collection: "notes" });
  expect((await first.until("welcome")).user).toBe("ada");
  const { ticket, start: how, cursor } = await first.until("subscribed");
  expect([how, cursor]).toEqual([Start.SNAPSHOT, ""]);
  expect((await first.until("snapshot")).documents).toEqual(['{"_id":1,"owner":"ada"}']);
  await notes.insertOne({ _id: 2, owner: "ada" });
  const added = await first.until("added");
  expect(JSON.parse(added.document)).toEqual({ _id: 2, owner: "ada" });
  first.cancel();
  await notes.updateOne({ _id: 2 }, { $set: { n: 1 } });
  await notes.deleteOne({ _id: 1 });
  const second = follow(client, { collection: "notes", ticket, cursor: added.cursor });
  expect((await second.until("subscribed")).start).toBe(Start.RESUMED);
  expect(JSON.parse((await second.until("changed")).document ?? "")).toEqual({ _id: 2, owner: "ada", n: 1 });
  expect((await second.until("removed")).id).toBe("1");
});

test("Extended JSON keeps every type and every digit", async () => {
  const { service, db } = await start();
  const stream = follow(grpcClient(service, { sub: "ada" }), { collection: "notes", values: Values.EJSON });
  await stream.until("snapshot");
  const at = new Date("2026-01-02T03:04:05.678Z");
  await db
    .collection<Note>("notes")
    .insertOne({ owner: "ada", big: Long.fromString("9007199254740993"), at });
  const { document } = await stream.until("added");
  expect(document).toContain('"big":{"$numberLong":"9007199254740993"}');
  expect(document).toContain('"at":{"$date"');
});

test("a refused token ends the call as UNAUTHENTICATED, with the code of the protocol", async () => {
  const { service } = await start();
  const status = await follow(grpcClient(service, null), { collection: "notes" }).ended();
  expect(statusOf(status)).toMatchObject({
    status: "Unauthenticated",
    code: "unauthenticated",
    retry: "never",
  });
});

test("a fence is answered after the stream has the write", async () => {
  const { service, db, now } = await start();
  const client = grpcClient(service, { sub: "ada" });
  const stream = follow(client, { collection: "notes" });
  const { connection } = await stream.until("welcome");
  await stream.until("snapshot");
  await db.collection<Note>("notes").insertOne({ owner: "ada" });
  const { t, i } = await now();
  const { cursor } = await client.fence({ connection, operationTime: { t, i }, id: "mine" });
  expect(cursor).not.toBe("");
  expect((await stream.until("fenced")).id).toBe("mine");
  const names = stream.messages.map(({ case: name }) => name);
  expect(names.indexOf("added")).toBeLessThan(names.indexOf("fenced"));
});

test("a fence is not answered before the client of its stream has taken the changes in front of it", async () => {
  const { service, db, now } = await start();
  const stream = post(dial(service), FOLLOW, {
    "content-type": "application/connect+json",
    authorization: `Bearer ${await signToken({ sub: "ada" })}`,
  });
  stream.end(envelope('{"collection":"notes"}'));
  let received = "";
  stream.on("data", (bytes) => {
    received += String(bytes);
  });
  await expect.poll(() => received, PATIENCE).toContain('"snapshot"');
  const [, connection = ""] = /"connection":"([^"]+)"/.exec(received) ?? [];
  stream.pause();
  // More than the windows of HTTP/2 take, and less than the outbox of a stream that is read.
  await db.collection<Note>("notes").insertOne({ owner: "ada", text: "x".repeat(300_000) });
  const { t, i } = await now();
  const client = grpcClient(service, { sub: "ada" });
  let isAnswered = false;
  const fence = client.fence({ connection, operationTime: { t, i } }).finally(() => {
    isAnswered = true;
  });
  // The node has the write, so only the client of the stream is behind.
  for (let count = 0; count < 5; count++) await client.fence({ operationTime: { t, i } });
  expect(isAnswered).toBe(false);
  stream.resume();
  expect(await fence).toMatchObject({ cursor: expect.stringMatching(/./) });
  expect(received).toContain("x".repeat(300_000));
});

test("a stream whose right is withdrawn ends after it has said so", async () => {
  const { service, file } = await start();
  const stream = follow(grpcClient(service, { sub: "ada" }), { collection: "notes" });
  await stream.until("snapshot");
  const rules = [{ name: "nobody", when: { "%%user.admin": true } }];
  await service.reload(toConfig({ ...file, collections: { notes: { rules } } }));
  expect(statusOf(await stream.ended())).toMatchObject({ status: "PermissionDenied", code: "forbidden" });
  expect(stream.messages.at(-1)).toMatchObject({ case: "unsubscribed", value: { reason: "forbidden" } });
});

test("a stream that is cancelled leaves no connection behind", async () => {
  const { service, now } = await start();
  const connections = async () => (await service.metrics.connections.get()).values[0]?.value;
  const client = grpcClient(service, { sub: "ada" });
  const first = follow(client, { collection: "notes" });
  const second = follow(client, { collection: "notes" });
  const { connection } = await first.until("welcome");
  await second.until("snapshot");
  expect(await connections()).toBe(2);
  first.cancel();
  await expect.poll(connections, PATIENCE).toBe(1);
  const { t, i } = await now();
  const fence = client.fence({ connection, operationTime: { t, i } }).catch(statusOf);
  expect(await fence).toMatchObject({ code: "unknown-id" });
});

test("a fence on the stream of another user is refused like one on a stream that does not exist", async () => {
  const { service, now } = await start();
  const stream = follow(grpcClient(service, { sub: "ada" }), { collection: "notes" });
  const { connection } = await stream.until("welcome");
  const { t, i } = await now();
  const fence = (sub: string, name: string) =>
    grpcClient(service, { sub })
      .fence({ connection: name, operationTime: { t, i }, id: "theirs" })
      .catch(statusOf);
  const refused = await fence("ben", connection);
  expect(refused).toMatchObject({ code: "unknown-id" });
  expect(refused).toEqual(await fence("ben", "invented"));
  expect(await fence("ada", connection)).toMatchObject({ cursor: expect.stringMatching(/./) });
  expect(stream.messages.filter(({ case: name }) => name === "fenced")).toHaveLength(1);
});

test("a cancelled fence makes room for another on its stream", async () => {
  const { service, now } = await start({ limits: { fences: 1 } });
  const client = grpcClient(service, { sub: "ada" });
  const stream = follow(client, { collection: "notes" });
  const { connection } = await stream.until("welcome");
  await stream.until("snapshot");
  const { t, i } = await now();
  // From here on the token is known, so that calls are answered in the order in which they were made.
  await client.fence({ connection, operationTime: { t, i } });
  // An hour ahead, so that it waits until it is cancelled.
  const waiting = { connection, operationTime: { t: t + 3_600, i: 1 } };
  const cancel = new AbortController();
  const cancelled = client.fence(waiting, { signal: cancel.signal }).catch(statusOf);
  const refused = () => client.fence(waiting, { timeoutMs: 500 }).catch(statusOf);
  await expect.poll(refused, PATIENCE).toMatchObject({ status: "ResourceExhausted" });
  cancel.abort();
  expect(await cancelled).toMatchObject({ status: "Canceled" });
  const answer = () => client.fence({ connection, operationTime: { t, i } }).catch(statusOf);
  await expect.poll(answer, PATIENCE).toMatchObject({ cursor: expect.stringMatching(/./) });
});

test("a token may expire at a fraction of a second", async () => {
  const { service } = await start();
  const stream = follow(grpcClient(service, { sub: "ada" }, 3_600.1234567), { collection: "notes" });
  expect((await stream.until("welcome")).expiresAtMs).toBeGreaterThan(BigInt(Date.now()));
  await stream.until("subscribed");
});

/** Server-sent events (docs/protocol.md, section 7), as far as they differ from a WebSocket. */
import { expect, test } from "vitest";
import type { SseEvent } from "../../support/http-client.ts";
import { bearer, COLLECTIONS, startHttpService } from "../../support/http-service.ts";
import { metricOf } from "../../support/metric.ts";
import { toConfig } from "../../support/service.ts";

const reconnection = (id: string) => ({ "Last-Event-ID": id });
/** But for watermarks: they come whenever there is nothing else to say. */
const withoutWatermarks = (events: readonly SseEvent[]) => events.filter(({ type }) => type !== "watermark");
const typesOf = (events: readonly SseEvent[]) => withoutWatermarks(events).map(({ type }) => type);
const docsOf = (event: SseEvent | undefined) => event?.data["docs"];

test("[7] streams the messages of a WebSocket: named by type, the same JSON, each with where to go on", async () => {
  const { stream: open, items, connect, now } = await startHttpService();
  await items.insertOne({ _id: 1, owner: "u1", secret: "s" });
  const socket = await connect({ sub: "u1" });
  await socket.ask({ type: "subscribe", id: "1", collection: "items" });
  const stream = await open();
  await stream.untilType("snapshot");
  await items.insertOne({ _id: 2, owner: "u1" });
  await items.updateOne({ _id: 1 }, { $set: { n: 5 } });
  await items.deleteOne({ _id: 2 });
  await socket.fence(await now());
  await stream.untilType("removed");
  const changes = ["added", "changed", "removed"];
  expect(stream.messages.filter(({ type }) => changes.includes(type))).toEqual(
    socket.received.filter(({ type }) => changes.includes(type)),
  );
  expect(typesOf(stream.events)).toEqual(["welcome", "subscribed", "snapshot", ...changes]);
  for (const { type, data } of stream.events) expect(data.type).toBe(type);
  expect(docsOf(stream.events[2])).toEqual([{ _id: 1, owner: "u1" }]);
  const cursorOf = ({ id, data }: SseEvent) => [id?.split(".").at(-1), data["cursor"]];
  for (const event of stream.events.slice(2)) expect(cursorOf(event)[0]).toBe(cursorOf(event)[1]);
});

test("[7] asks proxies not to buffer the stream, and gives browsers different times to reconnect", async () => {
  const { stream: open } = await startHttpService({ server: { sseRetry: "2s" } });
  const streams = await Promise.all(Array.from({ length: 6 }, () => open()));
  for (const stream of streams) {
    await stream.untilType("subscribed");
    expect(stream.response.headers).toMatchObject({
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
  }
  const retries = streams.flatMap((stream) => stream.retries);
  expect(retries).toHaveLength(6);
  for (const retry of retries) {
    expect(retry).toBeGreaterThanOrEqual(1_000);
    expect(retry).toBeLessThanOrEqual(3_000);
  }
  expect(new Set(retries).size).toBeGreaterThan(1);
});

test("[7] writes a comment every so often, also on a stream where nothing happens", async () => {
  const { stream: open } = await startHttpService({ server: { sseComment: "1s" } });
  const stream = await open();
  await expect.poll(() => stream.comments, { timeout: 60_000 }).toBeGreaterThanOrEqual(2);
});

test("[3.2] an idle stream gets watermarks, so that its Last-Event-ID does not grow old", async () => {
  const { stream: open } = await startHttpService({ server: { heartbeat: "1s" } });
  const stream = await open();
  const snapshot = await stream.untilType("snapshot");
  const watermark = await stream.untilType("watermark");
  expect(watermark?.id).toContain(String(watermark?.data["cursor"]));
  expect(watermark?.id?.split(".").slice(0, 2)).toEqual(snapshot?.id?.split(".").slice(0, 2));
});

test("[7] takes filter, fields, sort, limit, snapshot and values from the URL", async () => {
  const { stream: open, items } = await startHttpService();
  await items.insertMany([1, 2, 3, 4].map((n) => ({ _id: n, owner: "u1", n, text: `t${n}` })));
  const sorted = await open({ filter: { n: { $gt: 1 } }, fields: "n,text", sort: [["n", -1]], limit: 2 });
  expect(docsOf(await sorted.untilType("snapshot"))).toEqual([
    { _id: 4, n: 4, text: "t4" },
    { _id: 3, n: 3, text: "t3" },
  ]);
  const live = await open({ snapshot: false, values: "ejson", filter: { n: { $numberInt: "9" } } });
  expect((await live.untilType("subscribed"))?.data).toMatchObject({ start: "live" });
  await items.insertOne({ _id: 9, owner: "u1", n: 9 });
  expect((await live.untilType("added"))?.data["doc"]).toEqual({ _id: 9, owner: "u1", n: 9 });
  expect(typesOf(live.events)).not.toContain("snapshot");
});

test("[7] a failure before the stream starts is an HTTP error with the error as its body", async () => {
  const { refusal, stream: open } = await startHttpService({ limits: { snapshotDocuments: 1 } });
  const none = await refusal({}, {});
  expect(none).toMatchObject({ status: 401, body: { type: "error", code: "unauthenticated" } });
  expect(none.headers["www-authenticate"]).toBe("Bearer");
  expect(none.headers["cache-control"]).toBe("no-store");
  expect(await refusal({}, { Authorization: "Bearer nonsense" })).toMatchObject({ status: 401 });
  expect(await refusal({}, await bearer({ sub: "u1" }, -10))).toMatchObject({
    status: 401,
    body: { code: "unauthenticated", retry: "token" },
  });
  expect(await refusal({ collection: "staff" })).toMatchObject({ status: 403, body: { code: "forbidden" } });
  expect(await refusal({ collection: "nowhere" })).toMatchObject({
    status: 404,
    body: { code: "unknown-collection", details: { collection: "nowhere" } },
  });
  expect(await refusal({ filter: { $where: "1" } })).toMatchObject({
    status: 400,
    body: { code: "bad-filter" },
  });
  expect(await refusal({ filter: "{" })).toMatchObject({ status: 400, body: { code: "bad-request" } });
  expect(await refusal({ filter: { secret: "s" } })).toMatchObject({
    status: 403,
    body: { code: "forbidden" },
  });
  expect((await refusal({ filter: { secret: "s" } })).body).not.toHaveProperty("id");
  await open();
});

test("[7] a snapshot that is too large is 429, says which limit, and asks for no retry", async () => {
  const { refusal, items } = await startHttpService({ limits: { snapshotDocuments: 1 } });
  await items.insertMany([1, 2].map((_id) => ({ _id, owner: "u1" })));
  const refused = await refusal();
  expect(refused).toMatchObject({
    status: 429,
    body: { code: "snapshot-too-large", retry: "never", details: { limit: "snapshotDocuments", value: 1 } },
  });
  expect(refused.headers["retry-after"]).toBeUndefined();
});

test("[7] a reconnection continues exactly at the last event, whatever the URL still says", async () => {
  const { stream: open, items } = await startHttpService();
  const first = await open();
  await first.untilType("snapshot");
  const { ticket } = first.events[1]!.data as unknown as { ticket: string };
  const early = String(first.events[2]!.data["cursor"]);
  await items.insertOne({ _id: 1, owner: "u1" });
  await first.untilType("added");
  first.cut();
  await items.insertOne({ _id: 2, owner: "u1" });
  await items.updateOne({ _id: 1 }, { $set: { n: 1 } });
  const parameters = { cursor: early, ticket };
  const second = await open(parameters, { ...(await bearer()), ...reconnection(first.lastEventId) });
  await second.untilType("changed");
  expect(
    withoutWatermarks(second.events.slice(1)).map(({ type, data }) => [type, data["start"] ?? data["doc"]]),
  ).toEqual([
    ["subscribed", "resumed"],
    ["added", { _id: 2, owner: "u1" }],
    ["changed", { _id: 1, owner: "u1", n: 1 }],
  ]);
  // A URL alone says it as well.
  const third = await open(parameters);
  await third.untilType("changed");
  expect(typesOf(third.events.slice(1))).toEqual(["subscribed", "added", "added", "changed"]);
});

test("[G1] a stream that breaks inside its snapshot starts with a new snapshot, because half a snapshot cannot be resumed", async () => {
  const { stream: open, items } = await startHttpService({ limits: { snapshotBatchBytes: "1KiB" } });
  const text = "x".repeat(400);
  await items.insertMany(Array.from({ length: 8 }, (_, _id) => ({ _id, owner: "u1", text })));
  const first = await open();
  await first.until(({ data }) => data["last"] === true);
  const snapshots = first.events.filter(({ type }) => type === "snapshot");
  expect(snapshots.length).toBeGreaterThan(2);
  const half = first.events[1]?.id;
  expect([half, ...snapshots.slice(0, -1).map(({ id }) => id)]).toEqual(snapshots.map(() => half));
  const again = await open({}, { ...(await bearer()), ...reconnection(String(half)) });
  await again.until(({ data }) => data["last"] === true);
  expect(again.events[1]?.data["start"]).toBe("snapshot");
  expect(again.events.flatMap((event) => docsOf(event) ?? [])).toHaveLength(8);
});

test("[G4] a stream that breaks inside a transaction gets all of it again", async () => {
  const { stream: open, items, client } = await startHttpService();
  const first = await open();
  await first.untilType("snapshot");
  await client.withSession((session) =>
    session.withTransaction(async () => {
      for (const _id of [1, 2, 3]) await items.insertOne({ _id, owner: "u1" }, { session });
    }),
  );
  await first.until(({ data }) => (data["doc"] as { _id?: number } | undefined)?._id === 3);
  const added = first.events.filter(({ type }) => type === "added");
  await items.insertOne({ _id: 4, owner: "u1" });
  const counts: number[] = [];
  for (const { id } of added) {
    const again = await open({}, { ...(await bearer()), ...reconnection(String(id)) });
    await again.until(({ data }) => (data["doc"] as { _id?: number } | undefined)?._id === 4);
    counts.push(again.events.filter(({ type }) => type === "added").length);
  }
  expect(counts).toEqual([4, 4, 1]);
});

test("[3.3] a Last-Event-ID that is not ours, altered or another user's shows nothing of before", async () => {
  const { stream: open, items } = await startHttpService();
  const mine = await open();
  await mine.untilType("snapshot");
  await items.insertOne({ _id: 1, owner: "u2" });
  const [mark = "", ticket = "", cursor = ""] = mine.lastEventId.split(".");
  const ids = [
    "garbage",
    `${mark}.${ticket}`,
    `${mark}.${ticket.slice(0, -4)}AAAA.${cursor}`,
    mine.lastEventId,
  ];
  for (const id of ids) {
    const other = await open({}, { ...(await bearer({ sub: "u2" })), ...reconnection(id) });
    const snapshot = await other.untilType("snapshot");
    expect(other.events[1]?.data, id).toMatchObject({ start: "reset", reason: "cursor-invalid" });
    expect(docsOf(snapshot)).toEqual([{ _id: 1, owner: "u2" }]);
    other.cut();
  }
});

test("[4] a change of rights resets a stream, and its reconnection continues under the new rights", async () => {
  const { stream: open, items, service, file } = await startHttpService();
  await items.insertMany([
    { _id: 1, owner: "u1", secret: "a" },
    { _id: 2, owner: "u2", n: 1 },
  ]);
  const stream = await open();
  await stream.untilType("snapshot");
  const before = stream.lastEventId;
  const rules = [{ name: "all", filter: { n: 1 } }];
  await service.reload(toConfig({ ...file, collections: { ...COLLECTIONS, items: { rules } } }));
  const again = await stream.until(({ data }) => data["start"] === "reset");
  expect(again?.data).toMatchObject({ reason: "rights-changed" });
  expect(
    docsOf(await stream.until(({ type }) => type === "snapshot", stream.events.indexOf(again!))),
  ).toEqual([{ _id: 2, owner: "u2", n: 1 }]);
  const reconnected = await open({}, { ...(await bearer()), ...reconnection(stream.lastEventId) });
  await items.insertOne({ _id: 3, n: 1 });
  await reconnected.untilType("added");
  expect(typesOf(reconnected.events.slice(1))).toEqual(["subscribed", "added"]);
  const outdated = await open({}, { ...(await bearer()), ...reconnection(before) });
  await outdated.untilType("snapshot");
  expect(outdated.events[1]?.data).toMatchObject({ start: "reset", reason: "rights-changed" });
});

test("[7] a subscription that ended permanently ends its stream, and the answer to the browser's retry stops it", async () => {
  const { stream: open, refusal, items, service, file } = await startHttpService();
  const stream = await open();
  await stream.untilType("snapshot");
  await items.insertOne({ _id: 1, owner: "u1" });
  await stream.untilType("added");
  const earlier = stream.lastEventId;
  const rules = [{ name: "admin", when: { "%%user.roles": { $in: ["admin"] } } }];
  await service.reload(toConfig({ ...file, collections: { ...COLLECTIONS, items: { rules } } }));
  expect(await stream.untilEnded()).toBe("complete");
  expect(stream.messages.at(-1)).toMatchObject({ type: "unsubscribed", reason: "forbidden" });
  for (const id of [stream.lastEventId, earlier]) {
    const retry = await refusal({}, { ...(await bearer()), ...reconnection(id) });
    expect(retry).toMatchObject({ status: 204, text: "" });
  }
  // A first request receives the reason.
  expect(await refusal()).toMatchObject({ status: 403, body: { code: "forbidden" } });
});

test("[5] a token that expires ends the stream, and the retry needs another one", async () => {
  const { stream: open, refusal, items } = await startHttpService();
  const headers = await bearer({ sub: "u1" }, 2);
  const stream = await open({}, headers);
  expect(await stream.untilEnded()).toBe("complete");
  expect(stream.messages.at(-1)).toMatchObject({ type: "error", code: "unauthenticated", retry: "token" });
  await items.insertOne({ _id: 1, owner: "u1" });
  expect(await refusal({}, { ...headers, ...reconnection(stream.lastEventId) })).toMatchObject({
    status: 401,
  });
  // A token that was issued in time continues; after a gap the stream starts with the documents.
  const inTime = { sub: "u1", iat: Math.floor(Date.now() / 1_000) - 60 };
  const renewed = await open({}, { ...(await bearer(inTime)), ...reconnection(stream.lastEventId) });
  await renewed.untilType("added");
  expect(renewed.events[1]?.data["start"]).toBe("resumed");
  const late = { sub: "u1", iat: Math.floor(Date.now() / 1_000) + 5 };
  const afterGap = await open({}, { ...(await bearer(late)), ...reconnection(stream.lastEventId) });
  await afterGap.untilType("snapshot");
  expect(afterGap.events[1]?.data).toMatchObject({ start: "reset", reason: "rights-changed" });
});

test("[5] a draining node announces it, continues to deliver, and ends its streams", async () => {
  const {
    stream: open,
    refusal,
    items,
    service,
  } = await startHttpService({ server: { drainTimeout: "3s" } });
  const stream = await open();
  await stream.untilType("snapshot");
  const drained = service.drain();
  expect((await stream.untilType("draining"))?.data).toMatchObject({ withinMs: 3_000 });
  await items.insertOne({ _id: 1, owner: "u1" });
  expect((await stream.untilType("added"))?.data["doc"]).toEqual({ _id: 1, owner: "u1" });
  await expect(refusal()).rejects.toThrow(/ECONNREFUSED/);
  expect(await stream.untilEnded()).toBe("complete");
  expect(stream.messages.at(-1)).toMatchObject({ type: "error", code: "unavailable" });
  await drained;
});

test("[G6] streams count as connections of the user, of the address and of the node", async () => {
  const {
    stream: open,
    refusal,
    connect,
  } = await startHttpService({
    limits: { connectionsPerUser: 2, connections: 3 },
  });
  await connect({ sub: "u1" });
  const stream = await open();
  const full = await refusal();
  expect(full).toMatchObject({
    status: 429,
    body: { code: "too-many-requests", details: { limit: "connectionsPerUser", value: 2 } },
  });
  expect(Number(full.headers["retry-after"])).toBeGreaterThan(0);
  await open({}, await bearer({ sub: "u2" }));
  expect(await refusal({}, await bearer({ sub: "u3" }))).toMatchObject({
    status: 503,
    body: { code: "unavailable" },
  });
  stream.cut();
  await expect
    .poll(async () => (await refusal().catch(() => ({ status: 200 }))).status, { timeout: 60_000 })
    .toBe(200);
});

test("[G6] new streams, polls and keys are held to the rate of connections", async () => {
  const limits = { connectRatePerAddress: 0.001, connectBurstPerAddress: 2 };
  const { stream: open, refusal, poll } = await startHttpService({ limits });
  await open();
  await poll();
  const refused = await refusal();
  expect(refused).toMatchObject({
    status: 429,
    body: { code: "too-many-requests", details: { limit: "connectRatePerAddress", value: 0.001 } },
  });
  expect(Number(refused.headers["retry-after"])).toBeGreaterThan(100);
});

test("[7] a browser that comes back to a full node receives a stream of one event, because an error status would stop it", async () => {
  const { stream: open, refusal } = await startHttpService({
    limits: { connections: 1, connectRatePerAddress: 0.001, connectBurstPerAddress: 3 },
    server: { sseRetry: "1s" },
  });
  const stream = await open();
  await stream.untilType("snapshot");
  const headers = { ...(await bearer()), ...reconnection(stream.lastEventId) };
  expect(await refusal()).toMatchObject({ status: 503 });
  const full = await open({}, headers);
  expect(await full.untilEnded()).toBe("complete");
  expect(full.messages).toMatchObject([{ type: "error", code: "unavailable", retryAfterMs: 5_000 }]);
  expect(full.retries[0]).toBeGreaterThanOrEqual(5_500);
  expect(full.lastEventId).toBe("");
  expect(await refusal()).toMatchObject({ status: 429 });
  const limited = await open({}, headers);
  expect(await limited.untilEnded()).toBe("complete");
  expect(limited.messages).toMatchObject([{ type: "error", code: "too-many-requests" }]);
});

test("[6] a stream whose client does not read costs a bounded amount, delays no other client, and misses nothing in the end", async () => {
  const {
    stream: open,
    items,
    service,
    connect,
    now,
  } = await startHttpService({
    limits: { outboxBytes: "64KiB" },
    history: { window: "5m" },
    server: { heartbeat: "1s" },
  });
  const slow = await open({ collection: "board" });
  // Following along by now: who is still making up for something does not fall behind.
  await slow.untilType("watermark");
  slow.response.pause();
  const other = await connect({ sub: "u1" });
  await other.ask({ type: "subscribe", id: "a", collection: "board" });
  const text = "x".repeat(20_000);
  // More than the kernel's buffers hold, in steps, so that each is a delivery of its own.
  for (let round = 0; round < 40; round++) {
    const batch = Array.from({ length: 20 }, (_, i) => ({ _id: `${round}-${i}`, text }));
    await items.insertMany(batch);
  }
  await other.fence(await now());
  expect(other.received.filter(({ type }) => type === "added")).toHaveLength(800);
  expect(await metricOf(service, "tidewire_lagged_total")).toBeGreaterThan(0);
  expect(await metricOf(service, "tidewire_outbox_bytes")).toBeLessThan(1_000_000);
  slow.response.resume();
  await expect
    .poll(() => slow.events.filter(({ type }) => type === "added").length, { timeout: 60_000 })
    .toBe(800);
  const ids = slow.events.flatMap(({ data }) => (data["doc"] as { _id: string } | undefined)?._id ?? []);
  expect(new Set(ids).size).toBe(800);
});

test("[6] a stream that drains nothing at all is ended", async () => {
  const {
    stream: open,
    items,
    service,
  } = await startHttpService({
    limits: { outboxBytes: "64KiB", stallTimeout: "1s" },
  });
  const slow = await open({ collection: "board" });
  await slow.untilType("snapshot");
  slow.response.pause();
  const text = "x".repeat(200_000);
  for (let _id = 0; _id < 80; _id++) await items.insertOne({ _id, text });
  await expect.poll(() => service.readiness().connections, { timeout: 60_000 }).toBe(0);
});

test("[4] an anonymous client connects without a token if the configuration permits it, and sees what all may see", async () => {
  const { stream: open, refusal, items } = await startHttpService({ auth: { anonymous: true } });
  await items.insertOne({ _id: 1, secret: "for all" });
  const stream = await open({ collection: "board" }, {});
  expect(docsOf(await stream.untilType("snapshot"))).toEqual([{ _id: 1, secret: "for all" }]);
  expect(await refusal({ collection: "items" }, {})).toMatchObject({
    status: 404,
    body: { code: "unknown-collection" },
  });
});

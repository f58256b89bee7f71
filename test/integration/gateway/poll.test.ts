/** Long polling (docs/protocol.md, section 7). */
import { Agent, request } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { ask, type PollAnswer } from "../../support/http-client.ts";
import { bearer, COLLECTIONS, startHttpService } from "../../support/http-service.ts";
import { metricOf } from "../../support/metric.ts";
import { toConfig } from "../../support/service.ts";

const PATIENCE = { timeout: 60_000 };

const place = ({ cursor, ticket }: PollAnswer) => ({ cursor, ticket });
const typesOf = ({ messages }: PollAnswer) => messages.map(({ type }) => type);
const docsOf = ({ messages }: PollAnswer) =>
  messages.flatMap((message) => message["docs"] ?? message["doc"] ?? []);

test("[7] the first poll returns the snapshot at once, each later one the changes since", async () => {
  const { poll, items } = await startHttpService();
  await items.insertOne({ _id: 1, owner: "u1", secret: "s" });
  const first = await poll({ wait: 60 });
  expect(Object.keys(first)).toEqual(["start", "messages", "cursor", "ticket"]);
  expect(first).toMatchObject({ start: "snapshot", cursor: expect.any(String), ticket: expect.any(String) });
  expect(first.messages).toEqual([
    {
      type: "snapshot",
      query: expect.any(Number),
      docs: [{ _id: 1, owner: "u1" }],
      cursor: first.cursor,
      last: true,
    },
  ]);
  await items.insertOne({ _id: 2, owner: "u1" });
  const second = await poll({ wait: 60, ...place(first) });
  expect([second.start, typesOf(second), docsOf(second)]).toEqual([
    "resumed",
    ["added"],
    [{ _id: 2, owner: "u1" }],
  ]);
  const third = await poll({ wait: 0, ...place(second) });
  expect([third.start, third.messages]).toEqual(["resumed", []]);
});

test("[7] a poll answers as soon as there is a change", async () => {
  const { poll, items, service } = await startHttpService();
  const first = await poll({ wait: 0 });
  const waiting = poll({ wait: 60, ...place(first) });
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(1);
  await items.insertOne({ _id: 1, owner: "u2" });
  await items.insertOne({ _id: 2, owner: "u1" });
  const answer = await waiting;
  expect(docsOf(answer)).toEqual([{ _id: 2, owner: "u1" }]);
  // Its cursor covers the change: the cursor of the change itself, or a later one.
  expect((await poll({ wait: 0, ...place(answer) })).messages).toEqual([]);
});

test("[7] a poll without changes is answered after its wait, with a cursor that is not older", async () => {
  const { poll, items, now } = await startHttpService();
  const first = await poll({ wait: 0 });
  await items.insertOne({ _id: 1, owner: "u2" });
  await now();
  // Longer than the stream of an idle deployment needs for a new position.
  const second = await poll({ wait: 1, ...place(first) });
  expect([second.start, second.messages]).toEqual(["resumed", []]);
  expect(second.cursor).not.toBe(first.cursor);
  await items.insertOne({ _id: 2, owner: "u1" });
  expect(docsOf(await poll({ wait: 60, ...place(second) }))).toEqual([{ _id: 2, owner: "u1" }]);
});

test("[3.3] a poll without a snapshot starts where the stream is, and a cursor that is no good says reset at once", async () => {
  const { poll, items, settled } = await startHttpService();
  await items.insertOne({ _id: 1, owner: "u1" });
  await settled();
  const first = await poll({ snapshot: false, wait: 0 });
  expect([first.start, first.messages]).toEqual(["live", []]);
  await items.insertOne({ _id: 2, owner: "u1" });
  const second = await poll({ snapshot: false, wait: 60, ...place(first) });
  expect([second.start, docsOf(second)]).toEqual(["resumed", [{ _id: 2, owner: "u1" }]]);
  const gap = await poll({ snapshot: false, wait: 60, cursor: "invented" });
  expect(gap).toMatchObject({ start: "reset", reason: "cursor-invalid", messages: [] });
  const reset = await poll({ wait: 60, cursor: "invented" });
  expect(reset).toMatchObject({ start: "reset", reason: "cursor-invalid" });
  expect(docsOf(reset)).toHaveLength(2);
});

test("[7] an answer that is full ends with the change at hand, and its cursor brings the rest", async () => {
  const { poll, items } = await startHttpService({
    limits: { pollBytes: "2KiB" },
    history: { window: "5m" },
  });
  const first = await poll({ wait: 0 });
  const text = "x".repeat(300);
  await items.insertMany(Array.from({ length: 50 }, (_, _id) => ({ _id, owner: "u1", text })));
  const seen: unknown[] = [];
  let last = first;
  for (let polls = 0; seen.length < 50; polls++) {
    expect(polls).toBeLessThan(20);
    last = await poll({ wait: 60, ...place(last) });
    expect(last.start).toBe("resumed");
    expect(JSON.stringify(last.messages).length).toBeLessThan(3_000);
    seen.push(...docsOf(last).map((doc) => (doc as { _id: number })._id));
  }
  expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => i));
  expect(typesOf(await poll({ wait: 0, ...place(last) }))).toEqual([]);
});

test("[G4] an answer never ends inside a transaction, however full it is", async () => {
  const { poll, items, client } = await startHttpService({ limits: { pollBytes: "1KiB" } });
  const first = await poll({ wait: 0 });
  const text = "x".repeat(300);
  await client.withSession((session) =>
    session.withTransaction(async () => {
      for (let _id = 0; _id < 10; _id++) await items.insertOne({ _id, owner: "u1", text }, { session });
    }),
  );
  await items.insertOne({ _id: 10, owner: "u1", text });
  const second = await poll({ wait: 60, ...place(first) });
  expect(docsOf(second)).toHaveLength(10);
  const third = await poll({ wait: 60, ...place(second) });
  expect(docsOf(third)).toEqual([{ _id: 10, owner: "u1", text }]);
});

test("[7] a snapshot is answered whole, however large, and the changes after it go on", async () => {
  const limits = { pollBytes: "1KiB", snapshotBatchBytes: "1KiB" };
  const { poll, items } = await startHttpService({ limits });
  const text = "x".repeat(300);
  await items.insertMany(Array.from({ length: 40 }, (_, _id) => ({ _id, owner: "u1", text })));
  const first = await poll({ wait: 0 });
  expect(first.messages.length).toBeGreaterThan(5);
  expect(docsOf(first)).toHaveLength(40);
  expect(first.messages.findLast(({ type }) => type === "snapshot")).toMatchObject({ last: true });
  await items.deleteOne({ _id: 0 });
  expect(typesOf(await poll({ wait: 60, ...place(first) }))).toEqual(["removed"]);
});

test("[7] a failure is an HTTP error with the error as its body", async () => {
  const { url } = await startHttpService();
  const get = async (parameters: object, headers?: Record<string, string>) => {
    const { status, body } = await ask(
      "GET",
      url("/v1/poll", { ...parameters }),
      headers ?? (await bearer()),
    );
    return [status, body.code];
  };
  expect(await get({}, {})).toEqual([401, "unauthenticated"]);
  expect(await get({}, { Authorization: "Bearer nonsense" })).toEqual([401, "unauthenticated"]);
  expect(await get({}, { Authorization: "Bearer" })).toEqual([401, "unauthenticated"]);
  expect(await get({ collection: "staff" })).toEqual([403, "forbidden"]);
  expect(await get({ collection: "nowhere" })).toEqual([404, "unknown-collection"]);
  expect(await get({ filter: { $where: "1" } })).toEqual([400, "bad-filter"]);
});

test("[G6] a poll counts as a connection while it waits, and no longer", async () => {
  const { poll, service, connect } = await startHttpService({ limits: { connectionsPerUser: 1 } });
  const first = await poll({ wait: 0 });
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(0);
  const waiting = poll({ wait: 60, ...place(first) }).catch((error: unknown) => error);
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(1);
  const refused = await connect({ sub: "u1" });
  expect(await refused.untilClosed()).toMatchObject({ code: 4201 });
  await expect(poll({ wait: 0 })).rejects.toThrow("429");
  await service.stop();
  expect(await waiting).toBeInstanceOf(Error);
});

test("[G6] a client that goes away while its poll waits leaves nothing behind", async () => {
  const { poll, url, service } = await startHttpService();
  const first = await poll({ wait: 0 });
  const sent = request(url("/v1/poll", { wait: 60, ...place(first) }), {
    headers: await bearer(),
    agent: false,
  });
  sent.on("error", () => {});
  sent.end();
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(1);
  sent.destroy();
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(0);
});

test("[7] polls follow each other on one socket", async () => {
  const { url } = await startHttpService();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const headers = await bearer();
  const ports = new Set<number>();
  for (let i = 0; i < 3; i++) {
    await new Promise<void>((resolve, reject) => {
      const sent = request(url("/v1/poll", { wait: 0 }), { agent, headers }, (response) => {
        ports.add(response.socket.localPort ?? 0);
        response.resume().on("end", resolve);
      });
      sent.on("error", reject).end();
    });
  }
  expect(ports.size).toBe(1);
});

test("[4] a change of rights ends a waiting poll, and the next poll reports it", async () => {
  const { poll, url, items, service, file } = await startHttpService();
  await items.insertOne({ _id: 1, n: 1 });
  const reload = (rules: unknown) =>
    service.reload(toConfig({ ...file, collections: { ...COLLECTIONS, items: { rules } } }));
  const starts = (count: number) =>
    expect.poll(() => metricOf(service, "tidewire_subscription_starts_total"), PATIENCE).toBe(count);
  const first = await poll({ wait: 0 });
  const waiting = poll({ wait: 60, ...place(first) });
  await starts(2);
  await reload([{ name: "all", filter: { n: 1 } }]);
  const answer = await waiting;
  expect([answer.start, answer.messages]).toEqual(["resumed", []]);
  const second = await poll({ wait: 60, ...place(answer) });
  expect(second).toMatchObject({ start: "reset", reason: "rights-changed" });
  expect(docsOf(second)).toEqual([{ _id: 1, n: 1 }]);
  const before = await metricOf(service, "tidewire_subscription_starts_total");
  const last = poll({ wait: 60, ...place(second) });
  await starts(before + 1);
  await reload([{ name: "admin", when: { "%%user.roles": { $in: ["admin"] } } }]);
  expect((await last).messages).toMatchObject([{ type: "unsubscribed", reason: "forbidden" }]);
  const refused = await ask("GET", url("/v1/poll", { wait: 0, ...place(second) }), await bearer());
  expect(refused.status).toBe(403);
});

test("[5] a token that expires ends a waiting poll", async () => {
  const { poll, url } = await startHttpService();
  const headers = await bearer({ sub: "u1" }, 2);
  const first = await poll({ wait: 0 }, headers);
  const answer = await ask("GET", url("/v1/poll", { wait: 60, ...place(first) }), headers);
  expect(answer).toMatchObject({ status: 401, body: { code: "unauthenticated", retry: "token" } });
});

test("[5] a node that goes away answers the polls that wait, and keeps no socket for the next", async () => {
  const { poll, url, service } = await startHttpService({ server: { drainTimeout: "2s" } });
  const first = await poll({ wait: 0 });
  const headers = await bearer();
  const waiting = Array.from({ length: 4 }, () =>
    ask("GET", url("/v1/poll", { wait: 60, ...place(first) }), { ...headers, Connection: "keep-alive" }),
  );
  await expect.poll(() => metricOf(service, "tidewire_subscription_starts_total"), PATIENCE).toBe(5);
  const drained = service.drain();
  for (const answer of await Promise.all(waiting)) {
    expect(answer).toMatchObject({ status: 200, body: { start: "resumed", messages: [] } });
    expect(answer.headers.connection).toBe("close");
  }
  await drained;
});

test("[6] an answer that the client does not read is cut off, and costs a bounded amount until then", async () => {
  const { url, items, service } = await startHttpService({
    limits: { outboxBytes: "64KiB", stallTimeout: "1s" },
  });
  const text = "x".repeat(200_000);
  for (let _id = 0; _id < 80; _id++) await items.insertOne({ _id, owner: "u1", text });
  const sent = request(url("/v1/poll", { wait: 0 }), { headers: await bearer(), agent: false });
  const cut = new Promise<void>((resolve) => {
    sent.on("response", (response) => {
      response.pause();
      response.on("error", () => {});
      response.on("close", resolve);
    });
  });
  sent.on("error", () => {});
  sent.end();
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(1);
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(0);
  sent.destroy();
  await cut;
});

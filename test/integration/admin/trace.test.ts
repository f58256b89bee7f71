/** Traces: the way of changes to a user, through a live query, and of one document, as admins with each role see it. */
import { expect, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API } from "../../../src/admin/api/endpoint.ts";
import type { AnswerOf } from "../../../src/admin/api/endpoints.ts";
import { metricOf } from "../../support/metric.ts";
import { DATES_EVENTS } from "../../support/server-features.ts";
import { startTestService, type TestServiceOptions } from "../../support/service.ts";

const ACTOR = "the-secret-of-an-admin-who-may-only-act";
const READER = "the-secret-of-an-admin-who-may-see-documents";
const tokens = [
  { name: "actor", sha256: digestOf(ACTOR).toString("hex"), roles: ["view", "act"] },
  { name: "reader", sha256: digestOf(READER).toString("hex"), roles: ["view", "act", "documents"] },
];
const COLLECTIONS = {
  orders: {
    lookups: { shops: { collection: "members", filter: { user: "%%user.sub" }, value: "shop" } },
    rules: [
      { name: "staff", when: { "%%user.roles": "staff" } },
      { name: "shop", filter: { shop: { $in: "%%lookup.shops" } }, fields: { exclude: ["margin"] } },
    ],
  },
  notes: { rules: [{ name: "staff", when: { "%%user.roles": "staff" } }] },
};

type Trace = AnswerOf<"readTrace">;
type Entry = Trace["entries"][number];
type Change = Extract<Entry, { kind: "change" }>;

async function start(server: Record<string, unknown> = {}, more: Partial<TestServiceOptions> = {}) {
  const started = await startTestService({
    collections: COLLECTIONS,
    ...more,
    server: { admin: { port: 0, tokens, ...server } },
  });
  await started.db.collection("members").insertOne({ user: "ada", shop: "secret-shop" });
  await started.settled();
  const url = `http://127.0.0.1:${started.service.adminAddress.port}${API}`;
  const ask = async <T>(method: string, path: string, body?: unknown, secret = READER) => {
    const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
    const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) };
    const answer = await fetch(url + path, init);
    const text = await answer.text();
    return { status: answer.status, text, body: JSON.parse(text) as T & { readonly code?: string } };
  };
  const trace = async (subject: object, secret = READER) => {
    const { body, status, text } = await ask<{ id: string }>("POST", "/traces", subject, secret);
    expect([status, text]).toEqual([200, expect.any(String)]);
    const read = async (by = secret) => (await ask<Trace>("GET", `/traces/${body.id}`, undefined, by)).body;
    const changes = async (by = secret) =>
      (await read(by)).entries.filter((entry): entry is Change => entry.kind === "change");
    return { id: body.id, read, changes };
  };
  return { ...started, ask, trace };
}

/** A client with the subscription `1` to orders, which is live. */
async function follower({ connect }: Pick<Awaited<ReturnType<typeof start>>, "connect">, claims: object) {
  const client = await connect({ ...claims });
  await client.ask({ type: "subscribe", id: "1", collection: "orders" });
  return client;
}

test("a user's trace shows each event, the rule and clause that decide, what was sent, and every lag", async () => {
  const started = await start();
  const client = await follower(started, { sub: "ada" });
  const { read, changes } = await started.trace({ sub: "ada" });
  expect((await read()).entries[0]).toMatchObject({
    kind: "rights",
    sub: "ada",
    subscription: "1",
    collection: "orders",
    outcome: "follows",
    rule: "shop",
    rules: [
      { name: "staff", applies: false, because: expect.stringContaining("roles") },
      { name: "shop", applies: true },
    ],
  });
  const orders = started.db.collection<{ _id: number; shop: string }>("orders");
  await orders.insertOne({ _id: 1, shop: "secret-shop" });
  await orders.insertOne({ _id: 2, shop: "elsewhere" });
  await orders.updateOne({ _id: 1 }, { $set: { margin: 3 } as never });
  await orders.updateOne({ _id: 1 }, { $set: { shop: "moved" } });
  await client.until(({ type }) => type === "removed");
  await expect.poll(async () => (await changes()).length).toBe(4);
  const [added, other, hidden, removed] = await changes();
  expect(added).toMatchObject({
    operation: "insert",
    documentId: "1",
    before: null,
    after: '{"_id":1,"shop":"secret-shop"}',
    readAfterMs: DATES_EVENTS ? expect.any(Number) : null,
    decisions: [
      {
        effect: "added",
        rules: ["shop"],
        because: expect.stringMatching(
          /"shop":\{"\$in":\["secret-shop"\]\}\} holds; "shop" is "secret-shop"/,
        ),
        matchedAfterMs: expect.any(Number),
        sends: [
          {
            sub: "ada",
            subscriptions: ["1"],
            state: "sent",
            messages: ["added"],
            bytes: expect.any(Number),
            afterMs: expect.any(Number),
          },
        ],
        otherSends: 0,
      },
    ],
  });
  expect(other?.decisions).toMatchObject([
    {
      effect: "none",
      because: expect.stringContaining('"shop" is "elsewhere"'),
      matchedAfterMs: null,
      sends: [],
    },
  ]);
  expect(hidden?.decisions).toMatchObject([
    { effect: "none", because: "no visible field has changed", sends: [] },
  ]);
  expect(removed?.decisions).toMatchObject([{ effect: "removed", sends: [{ messages: ["removed"] }] }]);
});

test("without the role documents nothing of a document is in the answer, and the admin who begins a trace needs it as well", async () => {
  const started = await start();
  const client = await follower(started, { sub: "ada" });
  const byReader = await started.trace({ sub: "ada" });
  const byActor = await started.trace({ sub: "ada" }, ACTOR);
  await started.db
    .collection<{ _id: string; shop: string }>("orders")
    .insertOne({ _id: "secret-id", shop: "secret-shop" });
  await client.until(({ type }) => type === "added");
  for (const [trace, secret] of [
    [byReader, ACTOR],
    [byActor, ACTOR],
    [byActor, READER],
  ] as const) {
    await expect.poll(async () => (await trace.changes(secret)).length).toBe(1);
    const { text, body } = await started.ask<Trace>("GET", `/traces/${trace.id}`, undefined, secret);
    expect(text).not.toContain("secret-");
    expect(body.redacted).toBe(true);
    expect((await trace.changes(secret))[0]).toMatchObject({
      documentId: null,
      decisions: [{ effect: "added", because: '{"shop":{"$in":"…"}} holds' }],
    });
  }
  expect((await byReader.read(READER)).redacted).toBe(false);
});

test("rights of a traced user: a new subscription, a refusal, and the end by a lookup", async () => {
  const started = await start();
  const { read } = await started.trace({ sub: "ada" });
  const client = await follower(started, { sub: "ada" });
  await client.ask({ type: "subscribe", id: "2", collection: "notes" });
  const outcomes = async () =>
    (await read()).entries.flatMap((entry) =>
      entry.kind === "rights" ? [[entry.subscription, entry.outcome]] : [],
    );
  await expect.poll(outcomes).toEqual([
    ["1", "snapshot"],
    ["2", "refused: forbidden"],
  ]);
  await started.db.collection("members").updateOne({ user: "ada" }, { $set: { shop: "b" } });
  await expect
    .poll(async () => JSON.stringify(await outcomes()))
    .toMatch(/"1","(?:moved"|reset: rights-changed")/);
});

test("a live query's trace names its followers; a document's trace names the live queries", async () => {
  const started = await start();
  const clients = await Promise.all(["x", "y"].map((sub) => follower(started, { sub, roles: ["staff"] })));
  await follower(started, { sub: "ada" });
  const { body } = await started.ask<AnswerOf<"liveQueries">>("GET", "/live-queries");
  const liveQuery = body.liveQueries.find(({ subscribers }) => subscribers === 2)?.id ?? "";
  const ofQuery = await started.trace({ liveQuery });
  const ofDocument = await started.trace({ collection: "orders", documentId: 7 });
  const orders = started.db.collection<{ _id: number; shop: string }>("orders");
  await orders.insertMany([6, 7].map((_id) => ({ _id, shop: "a" })));
  for (const client of clients)
    await client.until(({ type, doc }) => type === "added" && (doc as { _id: number })._id === 7);
  await expect.poll(async () => (await ofQuery.changes()).length).toBe(2);
  const [, seven] = await ofQuery.changes();
  expect(seven?.decisions).toMatchObject([
    { liveQuery, effect: "added", rules: ["staff"], because: "the effective filter has no condition" },
  ]);
  expect(seven?.decisions[0]?.sends.map(({ sub }) => sub).sort()).toEqual(["x", "y"]);
  expect(await ofDocument.changes()).toMatchObject([{ documentId: "7" }]);
  const [only] = await ofDocument.changes();
  expect(only?.decisions.map(({ effect, rules }) => [effect, rules]).sort()).toEqual([
    ["added", ["staff"]],
    ["none", ["shop"]],
  ]);
  for (const client of clients) client.socket.terminate();
  await expect.poll(async () => (await ofQuery.read()).ended, { timeout: 90_000 }).toBe("gone");
});

test("sorted results and groups: the match comes later or is merged, and what was sent is there", async () => {
  const started = await start();
  const client = await started.connect({ sub: "x", roles: ["staff"] });
  await client.ask({
    type: "subscribe",
    id: "sorted",
    collection: "orders",
    sort: [["n", 1]],
    limit: 1,
  });
  await client.ask({ type: "subscribe", id: "count", collection: "orders", aggregate: {} });
  const { changes } = await started.trace({ sub: "x" });
  await started.db.collection<{ _id: number; n: number }>("orders").insertOne({ _id: 1, n: 1 });
  await expect
    .poll(async () =>
      (await changes())[0]?.decisions
        .flatMap(({ sends }) => sends.map(({ subscriptions, messages }) => [...subscriptions, ...messages]))
        .sort(),
    )
    .toEqual([
      ["count", "changed"],
      ["sorted", "added"],
    ]);
});

test("a start has its entry in the audit before it begins, and needs one subject that exists", async () => {
  const { ask, trace } = await start();
  await trace({ sub: "ada", seconds: 5 });
  const { body } = await ask<AnswerOf<"audit">>("GET", "/audit?act=trace");
  expect(body.entries).toMatchObject([
    { admin: "token:reader", act: "trace", target: { sub: "ada", seconds: 5 } },
  ]);
  for (const [subject, status, code] of [
    [{}, 400, "bad-request"],
    [{ sub: "a", liveQuery: "0123456789ab.1" }, 400, "bad-request"],
    [{ collection: "orders" }, 400, "bad-request"],
    [{ documentId: 1 }, 400, "bad-request"],
    [{ sub: "a", seconds: 601 }, 400, "bad-request"],
    [{ collection: "orders", documentId: { $oid: "no" } }, 400, "bad-request"],
    [{ collection: "nowhere", documentId: 1 }, 404, "no-collection"],
    [{ liveQuery: "0123456789ab.1" }, 404, "no-live-query"],
  ] as const) {
    const refused = await ask("POST", "/traces", subject);
    expect([subject, refused.status, refused.body.code]).toEqual([subject, status, code]);
  }
});

test("no more than server.admin.traces run at a time; a stop makes room, and its entries stay readable", async () => {
  const { ask, trace, service } = await start({ traces: 2 });
  const running = async () => metricOf(service, "tidewire_traces");
  const first = await trace({ sub: "a" });
  await trace({ sub: "b" });
  expect(await running()).toBe(2);
  expect(await ask("POST", "/traces", { sub: "c" })).toMatchObject({ status: 429, body: { code: "busy" } });
  expect((await ask("DELETE", `/traces/${first.id}`)).status).toBe(200);
  expect(await first.read()).toMatchObject({ ended: "stopped" });
  await trace({ sub: "c" });
  expect(await running()).toBe(2);
  expect(await ask("GET", `/traces/${first.id}`)).toMatchObject({ status: 404, body: { code: "no-trace" } });
  expect((await ask("DELETE", `/traces/${first.id}`)).status).toBe(404);
});

test("a trace ends when its time is over", async () => {
  const { trace } = await start();
  const { read } = await trace({ sub: "a", seconds: 1 });
  await expect.poll(async () => (await read()).ended, { timeout: 30_000 }).toBe("time");
});

test("a trace keeps traceEvents entries; what it drops is counted, and a reader receives changes once", async () => {
  const started = await start({ traceEvents: 10 });
  const client = await follower(started, { sub: "ada" });
  const { id, read } = await started.trace({ sub: "ada" });
  const orders = started.db.collection<{ _id: number; shop: string }>("orders");
  for (let n = 0; n < 10; n++) await orders.insertOne({ _id: n, shop: "secret-shop" });
  await client.until(({ type, doc }) => type === "added" && (doc as { _id: number })._id === 9);
  await expect.poll(async () => (await read()).dropped).toBe(1);
  const first = await read();
  expect(first.entries).toHaveLength(10);
  const rest = await started.ask<Trace>("GET", `/traces/${id}?after=${first.next}`);
  expect(rest.body.entries).toEqual([]);
  await orders.insertOne({ _id: 10, shop: "elsewhere" });
  await expect
    .poll(async () => (await started.ask<Trace>("GET", `/traces/${id}?after=${first.next}`)).body.entries)
    .toMatchObject([{ documentId: "10" }]);
});

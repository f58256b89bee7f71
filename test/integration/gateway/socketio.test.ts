/** Socket.IO as its own client sees it: what it is let in by, what it hears, and how it comes back. */
import { randomBytes } from "node:crypto";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { held } from "../../conformance/scenario.ts";
import { FaultProxy } from "../../support/fault-proxy.ts";
import { COLLECTIONS, type Item } from "../../support/http-service.ts";
import { signToken, startTestService, type TestServiceOptions, toConfig } from "../../support/service.ts";
import { SocketIoClient, type SocketIoOptions } from "../../support/socketio-client.ts";

const PATIENCE = { timeout: 60_000 };
/** Of the library's client: it comes back soon. */
const SOON = { reconnectionDelay: 50, reconnectionDelayMax: 200 };

async function start(options: Partial<TestServiceOptions> = {}) {
  const started = await startTestService({
    collections: COLLECTIONS,
    ...options,
    server: { socketio: true, ...options.server },
  });
  const base = `http://127.0.0.1:${started.service.address.port}`;
  const join = async (
    auth: object | ((give: (auth: object) => void) => void),
    more: SocketIoOptions = {},
    namespace = started.name,
    at = base,
  ) => {
    const client = await SocketIoClient.connect(`${at}/${namespace}`, { auth, ...SOON, ...more });
    onTestFinished(() => client.close());
    return client;
  };
  return { ...started, base, join, items: started.db.collection<Item>("items") };
}

const token = async (sub = "u1", expiresInSeconds?: number) => ({
  token: await signToken({ sub }, expiresInSeconds),
});

/** Without what only says how far everything has come. */
const typesSince = ({ received }: SocketIoClient, from: number) =>
  received.slice(from).flatMap(({ type }) => (type === "watermark" || type === "fenced" ? [] : [type]));

test("a client as it comes, which polls before it has a WebSocket, follows by acknowledgement and events", async () => {
  const { join, items, now } = await start();
  await items.insertOne({ _id: 1, owner: "u1" });
  for (const transports of [["polling", "websocket"], ["polling"], ["websocket"]]) {
    const client = await join(await token(), { transports });
    expect(client.received[0]).toMatchObject({ type: "welcome", user: "u1" });
    const answer = await client.ask("subscribe", { collection: "items" });
    expect(answer).toMatchObject({ type: "subscribed", start: "snapshot", id: expect.any(String) });
    const _id = `by ${transports}`;
    await items.insertOne({ _id, owner: "u1" });
    await client.fence(await now());
    await items.deleteOne({ _id });
    await client.fence(await now());
    const { query } = answer;
    expect(client.received.slice(0, 3)).toMatchObject([
      { type: "welcome" },
      answer,
      { type: "snapshot", query },
    ]);
    expect(
      client.received.filter(({ doc, _id: id }) => id === _id || (doc as Item)?._id === _id),
    ).toMatchObject([
      { type: "added", query, cause: "insert", doc: { _id, owner: "u1" } },
      { type: "removed", query, cause: "delete", _id },
    ]);
    expect(held(client.received)).toEqual([{ _id: 1, owner: "u1" }]);
    expect(client.ofType("subscribed")).toEqual([answer]);
    const { transport } = client.socket.io.engine;
    expect(transport.name).toBe(transports.at(-1));
  }
});

test("a namespace is a database; the default one is that of the configuration, and shows nothing of others", async () => {
  const other = `test-${randomBytes(6).toString("hex")}`;
  const elsewhere = { collection: "items", database: other, rules: [{ name: "everybody", anonymous: true }] };
  const {
    join,
    client: mongo,
    items,
  } = await start({
    collections: { ...COLLECTIONS, elsewhere },
    auth: { anonymous: true },
  });
  onTestFinished(() =>
    mongo
      .db(other)
      .dropDatabase()
      .then(() => {}),
  );
  await items.insertOne({ _id: 1, owner: "u1" });
  await mongo.db(other).collection<Item>("items").insertOne({ _id: 2 });
  const inDefault = await join(await token(), {}, "");
  const inOther = await join(await token(), {}, other);
  expect(await inDefault.ask("subscribe", { collection: "items" })).toMatchObject({ type: "subscribed" });
  expect(await inOther.ask("subscribe", { collection: "elsewhere" })).toMatchObject({ type: "subscribed" });
  expect((await inDefault.until(({ type }) => type === "snapshot"))["docs"]).toEqual([
    { _id: 1, owner: "u1" },
  ]);
  expect((await inOther.until(({ type }) => type === "snapshot"))["docs"]).toEqual([{ _id: 2 }]);
  for (const [client, collection] of [
    [inDefault, "elsewhere"],
    [inOther, "items"],
  ] as const) {
    expect(await client.ask("subscribe", { collection })).toMatchObject({ code: "unknown-collection" });
  }
  // An authenticated user learns that the database does not exist. An anonymous user finds it as empty as any other.
  const lost = await join(await token(), {}, "no-such");
  expect(lost.refusals).toMatchObject([{ data: { code: "unknown-collection", retry: "never" } }]);
  const nobody = await join({}, {}, "no-such");
  expect(await nobody.ask("subscribe", { collection: "items" })).toMatchObject({
    code: "unknown-collection",
  });
});

test("several namespaces of one session are connections of their own", async () => {
  const { join, base, items, now, service } = await start();
  const first = await join(await token("u1"), { forceNew: false, multiplex: true });
  const second = new SocketIoClient(`${base}/`, {
    auth: await token("u2"),
    forceNew: false,
    multiplex: true,
  });
  onTestFinished(() => second.close());
  expect(second.socket.io).toBe(first.socket.io);
  await second.until(({ type }) => type === "welcome");
  expect(service.readiness().connections).toBe(2);
  for (const client of [first, second]) await client.ask("subscribe", { collection: "items" });
  await items.insertMany([
    { _id: 1, owner: "u1" },
    { _id: 2, owner: "u2" },
  ]);
  for (const [client, owner] of [
    [first, "u1"],
    [second, "u2"],
  ] as const) {
    await client.fence(await now());
    expect(held(client.received)).toMatchObject([{ owner }]);
  }
  first.close();
  const heard = first.received.length;
  await expect.poll(() => service.readiness().connections, PATIENCE).toBe(1);
  await items.insertOne({ _id: 3, owner: "u2" });
  await second.fence(await now());
  expect([held(second.received).length, first.received.length]).toEqual([2, heard]);
});

test("a refused client receives a connect_error that says what to do and does not contain the token", async () => {
  const { join, service, items } = await start();
  await items.insertOne({ _id: 1, owner: "u1" });
  const cases: readonly (readonly [object, object])[] = [
    [{ token: "x.y.z" }, { code: "unauthenticated", retry: "never" }],
    [{}, { code: "unauthenticated", retry: "never" }],
    [await token("u1", -60), { code: "unauthenticated", retry: "token" }],
    [{ tokne: "misspelt" }, { code: "bad-request", retry: "never" }],
    [
      { ...(await token()), values: "xml" },
      { code: "bad-request", retry: "never" },
    ],
  ];
  for (const [auth, data] of cases) {
    const client = await join(auth);
    expect(client.refusals).toMatchObject([{ data }]);
    expect(client.socket.active).toBe(false);
    expect(client.received).toEqual([]);
    const said = JSON.stringify([client.refusals[0]?.message, client.refusals[0]?.data]);
    expect(said).not.toContain((auth as { token?: string }).token ?? "misspelt token");
  }
  expect(service.readiness().connections).toBe(0);
  // A new token is asked for by every connect(), where it is asked for at all.
  let expiresIn = -60;
  const client = await join((give) => void token("u1", expiresIn).then(give));
  expect(client.refusals).toHaveLength(1);
  expiresIn = 3600;
  client.socket.connect();
  await client.until(({ type }) => type === "welcome");
});

test("a token may stand in the request's header as well", async () => {
  const { join } = await start();
  const { token: bearer } = await token();
  const client = await join({}, { extraHeaders: { Authorization: `Bearer ${bearer}` } });
  expect(client.received[0]).toMatchObject({ type: "welcome", user: "u1" });
});

test("[4] hidden fields are in no event, and a write to them alone sends none", async () => {
  const { join, items, now } = await start();
  await items.insertOne({ _id: 1, owner: "u1", secret: "s1" });
  const client = await join(await token());
  await client.ask("subscribe", { collection: "items" });
  await client.fence(await now());
  const from = client.received.length;
  await items.updateOne({ _id: 1 }, { $set: { secret: "s2" } });
  await items.insertOne({ _id: 2, owner: "u2" });
  await items.updateOne({ _id: 1 }, { $set: { n: 1, secret: "s3" } });
  await client.fence(await now());
  expect(typesSince(client, from)).toEqual(["changed"]);
  expect(client.ofType("changed")).toMatchObject([{ doc: { _id: 1, owner: "u1", n: 1 } }]);
  expect(JSON.stringify(client.received)).not.toContain("secret");
  const hidden = await client.ask("subscribe", { collection: "items", filter: { secret: "s3" } });
  expect(hidden).toMatchObject({ type: "error", code: "forbidden" });
});

test("an error answers its request by the acknowledgement alone; without one it is an event", async () => {
  const { join, service } = await start();
  const client = await join(await token());
  const subscribe = { id: "a", collection: "items" };
  expect(await client.ask("subscribe", subscribe)).toMatchObject({ type: "subscribed", id: "a" });
  const refused: readonly (readonly [string, unknown, object])[] = [
    ["subscribe", subscribe, { code: "duplicate-id", id: "a" }],
    ["subscribe", { collection: "items", filtre: {} }, { code: "bad-request" }],
    ["subscribe", { collection: "items", filter: { $where: "1" } }, { code: "bad-filter" }],
    ["subscribe", "items", { code: "bad-request" }],
    ["subscribe", [subscribe], { code: "bad-request" }],
    ["unsubscribe", { id: "b" }, { code: "unknown-id", id: "b" }],
    ["refresh", await token("u2"), { code: "forbidden" }],
    ["refresh", { token: "x.y.z" }, { code: "unauthenticated" }],
    ["fence", { operationTime: 1 }, { code: "bad-request" }],
    ["message", "hello", { code: "bad-request" }],
    ["error", {}, { code: "bad-request" }],
    ["__proto__", {}, { code: "bad-request" }],
  ];
  for (const [event, body, error] of refused) {
    expect(await client.ask(event, body as object), `${event} ${JSON.stringify(body)}`).toMatchObject({
      type: "error",
      ...error,
    });
  }
  expect(client.ofType("error")).toEqual([]);
  client.socket.emit("subscribe", subscribe, "one too many");
  expect(await client.until(({ type }) => type === "error")).toMatchObject({ code: "bad-request", id: "a" });
  expect(await client.ask("refresh", await token("u1", 100))).toMatchObject({ type: "refreshed" });
  expect(await client.ask("ping", { nonce: 7 })).toMatchObject({ type: "pong", nonce: 7 });
  expect(await client.ask("unsubscribe", { id: "a" })).toMatchObject({ reason: "requested" });
  expect(client.ends).toEqual([]);
  // A request that is withdrawn at once is answered either way.
  const [asked, taken] = await Promise.all([
    client.ask("subscribe", { ...subscribe, id: "c" }),
    client.ask("unsubscribe", { id: "c" }),
  ]);
  expect([["subscribed", "unsubscribed"], taken.type]).toEqual([
    expect.arrayContaining([asked.type]),
    "unsubscribed",
  ]);
  expect(service.readiness().connections).toBe(1);
});

test("[4] rights that an edit changes come as subscribed, of a namespace's rules alone", async () => {
  const { join, items, service, file, now } = await start();
  await items.insertMany([
    { _id: 1, owner: "u1", n: 1 },
    { _id: 2, owner: "u2", n: 1 },
  ]);
  const client = await join(await token());
  await client.ask("subscribe", { collection: "items" });
  const rules = [{ name: "all", filter: { n: 1 }, fields: { exclude: ["owner"] } }];
  await service.reload(toConfig({ ...file, collections: { ...COLLECTIONS, items: { rules } } }));
  await client.fence(await now());
  expect(client.ofType("subscribed")).toMatchObject([
    { start: "snapshot" },
    { start: "reset", reason: "rights-changed" },
  ]);
  expect(held(client.received)).toEqual([
    { _id: 1, n: 1 },
    { _id: 2, n: 1 },
  ]);
  await service.reload(toConfig({ ...file, collections: { board: COLLECTIONS.board } }));
  expect(await client.until(({ type }) => type === "unsubscribed")).toMatchObject({ reason: "config" });
});

test("[5] a token that expires ends the connection; the client reconnects with a new one, and resumes", async () => {
  const { join, items, now } = await start();
  let expiresIn = 2;
  // Each was issued before the one before it ended: between them lies no time without the right.
  const iat = Math.floor(Date.now() / 1_000);
  const auth = (give: (auth: object) => void) =>
    void signToken({ sub: "u1", iat }, expiresIn).then((signed) => give({ token: signed }));
  const clients = [await join(auth), await join(auth, { transports: ["polling"] })];
  for (const client of clients) {
    await client.ask("subscribe", { id: "a", collection: "items" });
    await client.until(({ type }) => type === "expiring");
  }
  expiresIn = 3600;
  for (const client of clients) {
    await expect.poll(() => client.ofType("welcome").length, PATIENCE).toBe(2);
    expect(client.ends).toHaveLength(1);
    expect(client.ends).not.toContain("io server disconnect");
    // The error comes before the end, on either transport.
    expect(client.ofType("error")).toMatchObject([{ code: "unauthenticated", retry: "token" }]);
  }
  await items.insertOne({ _id: 2, owner: "u1" });
  for (const client of clients) {
    const { ticket } = client.ofType("subscribed")[0] as unknown as { ticket: string };
    const cursor = client.received.findLast((message) => message["cursor"] !== undefined)?.["cursor"];
    const from = client.received.length;
    const answer = await client.ask("subscribe", { id: "a", collection: "items", cursor, ticket });
    expect(answer).toMatchObject({ start: "resumed" });
    await client.fence(await now());
    expect(typesSince(client, from)).toEqual(["subscribed", "added"]);
  }
});

test("[3.2] a draining node announces it, continues to deliver, and its clients find another node by themselves", async () => {
  const leaving = await start({ server: { drainTimeout: "1s" } });
  const { items, file } = leaving;
  const proxy = await FaultProxy.start(leaving.service.address.port);
  const client = await leaving.join(await token(), {}, "", `http://127.0.0.1:${proxy.port}`);
  await client.ask("subscribe", { collection: "items" });
  const drained = leaving.service.drain();
  expect(await client.until(({ type }) => type === "draining")).toMatchObject({ withinMs: 1_000 });
  await items.insertOne({ _id: 1, owner: "u1" });
  await client.until(({ type }) => type === "added");
  const next = await startService(toConfig(file), pino({ level: "silent" }));
  onTestFinished(() => next.stop());
  proxy.target = next.address.port;
  await drained;
  await expect.poll(() => client.ofType("welcome").length, PATIENCE).toBe(2);
  expect(client.ofType("welcome")[1]).toMatchObject({ node: next.id });
  expect(client.refusals.filter(({ data }) => data !== undefined)).toEqual([]);
  expect(client.ofType("error")).toMatchObject([{ code: "unavailable" }]);
});

test("an Origin that is not listed gets 403 on every path in, one that is listed may read the answer", async () => {
  const { base, join } = await start({ server: { origins: ["https://app.example.com"] } });
  const from = (origin: string) => ({ extraHeaders: { Origin: origin } });
  const polled = async (origin: string) =>
    fetch(`${base}/socket.io/?EIO=4&transport=polling`, { headers: { Origin: origin } });
  const refused = await polled("https://evil.example.com");
  expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([403, null]);
  expect(await refused.json()).toMatchObject({ code: "forbidden" });
  const listed = await polled("https://app.example.com");
  expect([listed.status, listed.headers.get("access-control-allow-origin")]).toEqual([
    200,
    "https://app.example.com",
  ]);
  const evil = await join(await token(), from("https://evil.example.com"));
  expect(evil.refusals[0]?.message).toBe("websocket error");
  const good = await join(await token(), from("https://app.example.com"));
  expect(good.received[0]).toMatchObject({ type: "welcome" });
  const preflight = await fetch(`${base}/socket.io/?EIO=4&transport=polling`, {
    method: "OPTIONS",
    headers: {
      Origin: "https://app.example.com",
      "Access-Control-Request-Method": "POST",
      "Access-Control-Request-Headers": "authorization",
    },
  });
  expect([preflight.status, preflight.headers.get("access-control-allow-methods")]).toEqual([
    204,
    "GET, POST",
  ]);
});

test("there is no Socket.IO unless server.socketio is on", async () => {
  const { base } = await start({ server: { socketio: false } });
  expect((await fetch(`${base}/socket.io/?EIO=4&transport=polling`)).status).toBe(404);
  const client = await SocketIoClient.connect(base, { reconnection: false });
  expect(client.refusals[0]?.message).toBe("websocket error");
});

test("a plan counts the subscriptions of Socket.IO", async () => {
  const adminToken = "a-token-for-the-admins-of-a-test-0123456789";
  const started = await start({ server: { admin: { port: 0, token: adminToken } } });
  const client = await started.join(await token());
  expect(await client.ask("subscribe", { collection: "items" })).toMatchObject({ type: "subscribed" });
  const plan = async (collections: object) => {
    const answer = await fetch(`http://127.0.0.1:${started.service.adminAddress.port}/api/v1/plan`, {
      method: "POST",
      headers: { authorization: `Bearer ${adminToken}` },
      body: JSON.stringify({ ...started.file, collections }),
    });
    return answer.json();
  };
  const rules = [{ ...COLLECTIONS.items.rules[0], when: { "%%user.sub": "u2" } }];
  expect(await plan(COLLECTIONS)).toMatchObject({ live: { connections: 1, subscriptions: 1 } });
  expect(JSON.stringify(await plan({ ...COLLECTIONS, items: { rules } }))).toContain('"ends":1');
});

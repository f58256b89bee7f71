/** Tokens that are revoked while their clients follow, come, and come back: at one commit, on every node. */
import { setTimeout as sleep } from "node:timers/promises";
import { SignJWT } from "jose";
import { MongoClient } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { type Revocation, RevocationStore, revocationBytes } from "../../../src/source/revocation-store.ts";
import type { StateDatabase } from "../../../src/source/state-database.ts";
import { prefixed } from "../../../src/source/state-names.ts";
import { FUZZ_FACTOR } from "../../property/seed.ts";
import { ask, SseClient, urlOf } from "../../support/http-client.ts";
import { COLLECTIONS, type Item } from "../../support/http-service.ts";
import { startReplicaSet, testDatabase } from "../../support/mongod.ts";
import {
  SECRET,
  startTestService,
  type TestServiceOptions,
  testConfig,
  toConfig,
} from "../../support/service.ts";
import { SocketIoClient } from "../../support/socketio-client.ts";
import { pidsOf, spawnWorkers } from "../../support/worker-fleet.ts";
import { type Received, WsClient } from "../../support/ws-client.ts";

const TRIALS = 200 * FUZZ_FACTOR;
const PATIENCE = { timeout: 60_000 };
const REVOKED = { type: "error", code: "unauthenticated", retry: "token", details: { reason: "revoked" } };

interface Claims {
  readonly sub?: string;
  readonly iss?: string;
  readonly jti?: string;
  /** In seconds. */
  readonly iat?: number | null;
}

/** A token that was issued a minute ago, or at the given time. */
function tokenOf({ iat = Math.floor(Date.now() / 1_000) - 60, ...claims }: Claims = {}): Promise<string> {
  const jwt = new SignJWT({ sub: "u1", ...claims })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1h");
  if (iat !== null) jwt.setIssuedAt(iat);
  return jwt.sign(new TextEncoder().encode(SECRET));
}

async function start(options: Partial<TestServiceOptions> = {}) {
  const started = await startTestService({
    collections: COLLECTIONS,
    heartbeatMs: 1_000,
    ...options,
    server: { socketio: true, ...options.server },
  });
  return { ...started, ...withStore(started, started.client.db(`${started.name}-state`)) };
}

async function startWithMetric(options: Partial<TestServiceOptions> = {}) {
  const started = await start(options);
  const metric = async (name: string) => {
    const text = await (await fetch(`http://127.0.0.1:${started.service.adminAddress.port}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
  };
  return { ...started, metric };
}

type Started = Awaited<ReturnType<typeof startTestService>>;

function withStore({ service, file, now, db }: Started, state: StateDatabase) {
  const store = new RevocationStore(state);
  const nodes = [service];
  return {
    state,
    store,
    items: db.collection<Item>("items"),
    /** Another node of the same fleet. @returns Its URL for WebSockets. */
    async addNode(untilReady = true) {
      const other = await startService(toConfig(file), pino({ level: "silent" }));
      onTestFinished(() => other.stop());
      nodes.push(other);
      if (untilReady) await expect.poll(() => other.readiness().ready, PATIENCE).toBe(true);
      return `ws://127.0.0.1:${other.address.port}/v1/ws`;
    },
    /** Revokes a user's tokens issued until now, or until the given time. */
    revoke: (revocation: Partial<Revocation> = {}) =>
      store.revoke({
        sub: "u1",
        iss: null,
        jti: null,
        issuedBeforeMs: revocation.jti === undefined ? Date.now() : null,
        expiresAtMs: Date.now() + 3_600_000,
        ...revocation,
      }),
    /** Waits until all nodes have reached all writes so far. */
    async settled() {
      const time = await now();
      for (const { address } of nodes) {
        const token = await tokenOf({ sub: "bystander" });
        const bystander = await WsClient.connect(`ws://127.0.0.1:${address.port}/v1/ws`, { token });
        await bystander.fence(time);
        bystander.socket.terminate();
      }
    },
  };
}

async function follow(url: string, token: string): Promise<WsClient> {
  const client = await WsClient.connect(url, { token });
  onTestFinished(() => client.socket.terminate());
  await client.ask({ type: "subscribe", id: "a", collection: "items" });
  return client;
}

test("at the commit of a revocation every connection of the token closes, on every node and transport, and no other", async () => {
  const { url, service, name, revoke, addNode, settled, items, store } = await start();
  const urls = [url, await addNode()];
  const base = `http://127.0.0.1:${service.address.port}`;
  const token = await tokenOf();
  const bearer = { Authorization: `Bearer ${token}` };
  const sockets = await Promise.all(urls.map((at) => follow(at, token)));
  const others = await Promise.all(urls.map(async (at) => follow(at, await tokenOf({ sub: "u2" }))));
  const stream = await SseClient.stream(urlOf(base, "/v1/sse", { collection: "items" }), bearer);
  const key = String((await ask("POST", `${base}/v1/key`, bearer)).body["key"]);
  const unused = String((await ask("POST", `${base}/v1/key`, bearer)).body["key"]);
  const byKey = await SseClient.stream(urlOf(base, "/v1/sse", { collection: "items", key }));
  await byKey.untilType("watermark");
  const io = await SocketIoClient.connect(`${base}/${name}`, { auth: { token }, reconnectionDelay: 50 });
  const pollUrl = (more: object) => urlOf(base, "/v1/poll", { collection: "items", ...more });
  const { cursor, ticket } = (await ask("GET", pollUrl({ wait: 0 }), bearer)).body;
  const poll = ask("GET", pollUrl({ wait: 60, cursor, ticket }), bearer);
  onTestFinished(() => {
    stream.cut();
    byKey.cut();
    io.close();
  });

  await revoke();
  await items.insertOne({ _id: "later", owner: "u1" });
  for (const socket of sockets) {
    expect((await socket.untilClosed()).code).toBe(4102);
    expect(socket.received.at(-1)).toMatchObject(REVOKED);
  }
  for (const events of [stream, byKey]) {
    expect(await events.untilEnded()).toBe("complete");
    expect(events.messages.at(-1)).toMatchObject(REVOKED);
  }
  await expect.poll(() => io.ends.length, PATIENCE).toBeGreaterThan(0);
  expect(io.received.filter(({ type }) => type === "error")).toMatchObject([REVOKED]);
  expect(await poll).toMatchObject({ status: 401, body: { details: { reason: "revoked" } } });
  const received = [...sockets, io]
    .flatMap((client) => client.received)
    .concat(stream.messages, byKey.messages);
  expect(JSON.stringify(received)).not.toContain("later");

  await settled();
  for (const at of urls) {
    const again = await WsClient.connect(at, { token });
    expect((await again.untilClosed()).code).toBe(4102);
    expect(again.received).toMatchObject([REVOKED]);
  }
  expect(await ask("GET", pollUrl({ wait: 0 }), bearer)).toMatchObject({
    status: 401,
    body: { code: "unauthenticated" },
  });
  expect((await ask("POST", `${base}/v1/key`, bearer)).status).toBe(401);
  for (const headers of [{}, { "Last-Event-ID": byKey.lastEventId }]) {
    const used = Object.keys(headers).length === 0 ? unused : key;
    const { refused } = await SseClient.open(
      urlOf(base, "/v1/sse", { collection: "items", key: used }),
      headers,
    );
    expect(refused).toMatchObject({ status: 401, body: { details: { reason: "revoked" } } });
  }
  await expect.poll(() => io.refusals.length, PATIENCE).toBeGreaterThan(0);
  expect(io.refusals.at(-1)?.data).toMatchObject({ code: "unauthenticated", details: { reason: "revoked" } });
  expect(others.map(({ closed }) => closed)).toEqual([undefined, undefined]);

  expect(await store.undo({ sub: "u1", iss: null, jti: null })).toBe(true);
  await settled();
  for (const at of urls) expect((await follow(at, token)).closed).toBeUndefined();
});

test("iat decides to the second; a token without iat counts as older; jti and iss narrow a revocation down", async () => {
  const { url, revoke, settled, store } = await start();
  const at = Math.floor(Date.now() / 1_000) - 30;
  const isLetIn = async (claims: Claims) => {
    const client = await WsClient.connect(url, { token: await tokenOf(claims) });
    const isOpen = client.closed === undefined;
    client.socket.terminate();
    return isOpen;
  };
  // Revoked in the middle of second `at`: a token of that second is refused, whichever half it is of.
  await revoke({ sub: "second", issuedBeforeMs: at * 1_000 + 500 });
  await revoke({ sub: "exact", issuedBeforeMs: at * 1_000 });
  await revoke({ sub: "one", jti: "stolen" });
  await revoke({ sub: "issuer", iss: "https://a" });
  await revoke({ sub: "both", iss: "https://a", jti: "stolen" });
  await revoke({ sub: "expired", expiresAtMs: Date.now() + 50 });
  await settled();
  await sleep(60); // until it has expired
  const cases: [boolean, Claims][] = [
    [false, { sub: "second", iat: at - 1 }],
    [false, { sub: "second", iat: at }],
    [true, { sub: "second", iat: at + 1 }],
    [false, { sub: "second", iat: null }],
    [false, { sub: "exact", iat: at }],
    [true, { sub: "exact", iat: at + 1 }],
    [false, { sub: "one", jti: "stolen" }],
    [false, { sub: "one", jti: "stolen", iat: null }],
    [true, { sub: "one", jti: "other" }],
    [true, { sub: "one" }],
    [true, { sub: "two", jti: "stolen" }],
    [false, { sub: "issuer", iss: "https://a" }],
    [true, { sub: "issuer", iss: "https://b" }],
    [true, { sub: "issuer" }],
    [false, { sub: "both", iss: "https://a", jti: "stolen" }],
    [true, { sub: "both", iss: "https://b", jti: "stolen" }],
    [true, { sub: "both", iss: "https://a" }],
    [true, { sub: "expired" }],
  ];
  for (const [expected, claims] of cases)
    expect(await isLetIn(claims), JSON.stringify(claims)).toBe(expected);
  // A second revocation never takes back what the first one covers.
  await revoke({ sub: "exact", issuedBeforeMs: (at - 20) * 1_000 });
  await settled();
  expect(await isLetIn({ sub: "exact", iat: at })).toBe(false);
  expect(await store.undo({ sub: "one", iss: null, jti: null })).toBe(false);
  expect(await store.undo({ sub: "one", iss: null, jti: "stolen" })).toBe(true);
  await settled();
  expect(await isLetIn({ sub: "one", jti: "stolen" })).toBe(true);
});

test("[3.1] refresh to a revoked token is refused and ends nothing; refresh away from one in time keeps the connection", async () => {
  const { url, revoke, settled, items, now } = await start();
  const now_ = Math.floor(Date.now() / 1_000);
  const [old, newer] = [await tokenOf({ jti: "old" }), await tokenOf({ iat: now_, jti: "newer" })];
  const client = await follow(url, old);
  const from = client.received.length;
  client.send({ type: "refresh", token: newer });
  await client.until(({ type }) => type === "refreshed", from);
  await revoke({ jti: "old" });
  await settled();
  client.send({ type: "refresh", token: old });
  expect(await client.until(({ type }) => type === "error")).toMatchObject(REVOKED);
  await items.insertOne({ _id: "seen", owner: "u1" });
  await client.fence(await now());
  expect(client.closed).toBeUndefined();
  expect(JSON.stringify(client.received)).toContain("seen");
});

test("no change written after a revocation ever arrives: hundreds of trials with writes going on, on two nodes", async () => {
  const USERS = 4;
  const { url, addNode, revoke, items, now } = await start({ limits: { outboxBytes: "4MiB" } });
  const urls = [url, await addNode()];
  let going = true;
  const background = (async () => {
    for (let n = 0; going; n++) {
      await items.updateMany({ _id: { $in: [1, 2, 3, 4] } }, { $set: { n } });
    }
  })();
  await items.insertMany([1, 2, 3, 4].map((_id) => ({ _id, owner: "u1" })));
  let leaked = 0;
  let messages = 0;
  const trial = async (number: number, user: number) => {
    const jti = `${number}/${user}`;
    const token = await tokenOf({ jti });
    const client = await WsClient.connect(urls[user % 2]!, { token });
    const subscribe = () => client.send({ type: "subscribe", id: "a", collection: "items" });
    // Half of them are in the middle of their snapshot, or catch up, when the token is revoked.
    if (number % 2 === 0) subscribe();
    else await client.ask({ type: "subscribe", id: "a", collection: "items" });
    await revoke({ jti });
    await items.insertOne({ _id: `secret ${jti}`, owner: "u1" });
    await client.untilClosed();
    await items.deleteOne({ _id: `secret ${jti}` });
    expect(client.closed?.code).toBe(4102);
    messages += client.received.length;
    if (JSON.stringify(client.received).includes(`secret ${jti}`)) leaked++;
  };
  for (let number = 0; number < TRIALS / USERS; number++) {
    await Promise.all(Array.from({ length: USERS }, (_, user) => trial(number, user)));
  }
  going = false;
  await background;
  await now();
  console.log(`revocations: ${TRIALS} trials, ${messages} messages, ${leaked} after a revocation`);
  expect(leaked).toBe(0);
});

test("a token that is revoked while it is being verified is not let in, and a snapshot ahead of the stream is not sent", async () => {
  const { url, revoke, items, settled } = await start();
  await items.insertOne({ _id: "before", owner: "u1" });
  for (let trial = 0; trial < 100; trial++) {
    const jti = `hello-${trial}`;
    const token = await tokenOf({ jti });
    const opened = WsClient.connect(url, { token, silent: true });
    const client = await opened;
    const revoked = revoke({ jti }).then(() => items.insertOne({ _id: `secret ${jti}`, owner: "u1" }));
    client.send({ type: "hello", token });
    await client.until(({ type }) => type === "welcome" || type === "error");
    if (client.closed === undefined) client.send({ type: "subscribe", id: "a", collection: "items" });
    await revoked;
    await client.untilClosed();
    expect(client.closed?.code).toBe(4102);
    expect(JSON.stringify(client.received)).not.toContain(`secret ${jti}`);
  }
  await settled();
});

test("a node that starts reads the revocations before it accepts connections", async () => {
  const { url, revoke, settled, addNode, items } = await start();
  await items.insertOne({ _id: 1, owner: "u1" });
  const token = await tokenOf();
  const first = await follow(url, token);
  const answer = first.received.find(({ type }) => type === "subscribed") as Received;
  const { ticket, cursor } = answer as unknown as { ticket: string; cursor: string };
  await revoke();
  await settled();
  const other = await addNode(false);
  // Whatever it answers before it is ready, it never welcomes the token.
  const codes = new Set<number>();
  const close = async () => {
    const { code } = await (await WsClient.connect(other, { token })).untilClosed();
    codes.add(code);
    return code;
  };
  await expect.poll(close, PATIENCE).not.toBe(1013);
  expect([...codes].filter((code) => code !== 1013)).toEqual([4102]);
  const newer = await tokenOf({ iat: Math.floor(Date.now() / 1_000) + 1 });
  const client = await WsClient.connect(other, { token: newer });
  onTestFinished(() => client.socket.terminate());
  // The tickets of a user go on with a token that is not revoked.
  const resumed = await client.ask({ type: "subscribe", id: "a", collection: "items", cursor, ticket });
  expect(resumed).toMatchObject({ start: "resumed" });
});

test("where the state lies among the documents it has names of its own, and both are followed by one narrow stream", async () => {
  const { client, name, uri, db } = await testDatabase();
  const options = { collections: COLLECTIONS, mongodb: { stateDatabase: name }, auth: {} };
  const file = testConfig(uri, name, { ...options, auth: { revocation: "on" } });
  const service = await startService(toConfig(file), pino({ level: "silent" }));
  onTestFinished(() => service.stop());
  await expect.poll(() => service.readiness(), PATIENCE).toMatchObject({ ready: true, revocation: "on" });
  const own = (await db.listCollections().toArray())
    .map((found) => found.name)
    .filter((found) => found !== "items");
  expect(own.length).toBeGreaterThan(2);
  expect(own.filter((found) => !found.startsWith("tidewire."))).toEqual([]);
  const url = `ws://127.0.0.1:${service.address.port}/v1/ws`;
  const socket = await follow(url, await tokenOf());
  const now = async () => (await client.db("admin").command({ ping: 1 }))["operationTime"];
  const started = { service, file, now, db } as unknown as Started; // what the store needs of it
  const { revoke } = withStore(started, prefixed(db, "tidewire."));
  await revoke();
  expect((await socket.untilClosed()).code).toBe(4102);
});

test("state under the names of another configuration is not passed over: the node does not start", async () => {
  const { db, name, uri } = await testDatabase();
  await db.collection<{ _id: string }>("keys").insertOne({ _id: "tickets" });
  const file = testConfig(uri, name, { collections: COLLECTIONS, mongodb: { stateDatabase: name } });
  await expect(startService(toConfig(file), pino({ level: "silent" }))).rejects.toThrow(
    /without the prefix tidewire\.[\s\S]*getCollection\("revocations"\)\.renameCollection\("tidewire\.revocations"\)/,
  );
});

test("auth.revocation: off follows nothing, and says so", async () => {
  const { url, revoke, settled, service } = await start({ auth: { revocation: "off" } });
  const client = await follow(url, await tokenOf());
  await revoke();
  await settled();
  expect(client.closed).toBeUndefined();
  expect(service.readiness()).toMatchObject({ ready: true, revocation: "off" });
});

test("images are not switched on for collections of the same name in other databases", async () => {
  const { client, name, items, settled, state } = await start();
  const other = client.db(`${name}-other`);
  onTestFinished(() => other.dropDatabase().then(() => {}));
  await other.createCollection("items");
  await other.collection("items").insertOne({});
  await state.collection("items").insertOne({});
  await items.insertOne({ _id: 1 });
  await settled();
  await settled();
  for (const db of [other, client.db(`${name}-state`)]) {
    const [found] = await db.listCollections({ name: "items" }).toArray();
    expect(found).not.toHaveProperty("options.changeStreamPreAndPostImages");
  }
});

test("a collection of revocations that is dropped or edited by hand is read again before a token is accepted", async () => {
  const { url, revoke, settled, state, service, metric } = await startWithMetric();
  const [revoked, good] = [await tokenOf(), await tokenOf({ sub: "u2" })];
  const client = await follow(url, good);
  await revoke();
  await settled();
  expect(await metric("tidewire_revocations")).toBe(1);
  // No whole document comes with this event.
  await state.collection("revocations").updateOne({ sub: "u1" }, { $set: { issuedBefore: new Date(0) } });
  await expect
    .poll(async () => (await WsClient.connect(url, { token: revoked })).closed, PATIENCE)
    .toBeUndefined();
  await revoke();
  await settled();
  expect((await (await WsClient.connect(url, { token: revoked })).untilClosed()).code).toBe(4102);
  await state.command({ drop: "revocations" });
  await expect
    .poll(async () => (await WsClient.connect(url, { token: revoked })).closed, PATIENCE)
    .toBeUndefined();
  expect(service.readiness().ready).toBe(true);
  await revoke({ sub: "u2" });
  expect((await client.untilClosed()).code).toBe(4102);
});

test("while a revocation is not valid, the node refuses and closes every connection", async () => {
  const { url, settled, state, service } = await start();
  const client = await follow(url, await tokenOf());
  await state.collection<{ _id: string }>("revocations").insertOne({ _id: "of a newer version" });
  expect((await client.untilClosed()).code).toBe(1013);
  expect(service.readiness()).toMatchObject({ ready: false, status: "revocations-unknown" });
  const refused = await WsClient.connect(url, { token: await tokenOf() });
  expect((await refused.untilClosed()).code).toBe(1013);
  await state.collection<{ _id: string }>("revocations").deleteOne({ _id: "of a newer version" });
  await expect.poll(() => service.readiness().ready, { timeout: 60_000 }).toBe(true);
  await settled();
  await follow(url, await tokenOf());
});

test("as many revocations as auth.revocationBytes holds are followed; one more, and no token is accepted until there is room", async () => {
  const { url, revoke, settled, service, store, metric } = await startWithMetric({
    auth: { revocationBytes: "1KiB" },
  });
  const subs = Array.from({ length: 20 }, (_, index) => `user-${index}`);
  let bytes = 0;
  let fit = 0;
  for (const sub of subs) {
    const size = revocationBytes({ sub, iss: null, jti: null, issuedBeforeMs: 1, expiresAtMs: 1 });
    if (bytes + size > 1_024) break;
    bytes += size;
    fit++;
    await revoke({ sub });
  }
  await settled();
  expect(await metric("tidewire_revocations")).toBe(fit);
  expect(await metric("tidewire_revocation_bytes")).toBe(bytes);
  const [bystander, concerned] = [
    await follow(url, await tokenOf()),
    await follow(url, await tokenOf({ sub: "last" })),
  ];
  await revoke({ sub: "last" });
  // It takes effect on those who are here, but cannot be remembered for those who come.
  expect((await concerned.untilClosed()).code).toBe(4102);
  expect(bystander.closed).toBeUndefined();
  expect(service.readiness()).toMatchObject({ ready: false, status: "too-many-revocations" });
  const refused = await WsClient.connect(url, { token: await tokenOf() });
  expect((await refused.untilClosed()).code).toBe(1013);
  expect(await store.undo({ sub: "last", iss: null, jti: null })).toBe(true);
  await expect.poll(() => service.readiness().ready, { timeout: 60_000 }).toBe(true);
  await follow(url, await tokenOf({ sub: "last" }));
});

test("workers and nodes that are killed, before and after a revocation, never let the token in again", async () => {
  const { client, uri, name, db } = await testDatabase();
  const config = testConfig(uri, name, { collections: COLLECTIONS });
  const { service, health, url } = await spawnWorkers(config, 2);
  const now = async () => (await client.db("admin").command({ ping: 1 }))["operationTime"];
  const started = { file: config, now, db } as unknown as Started; // what the store needs of it
  const { revoke, items } = withStore(started, client.db(`${name}-state`));
  const token = await tokenOf();
  const clients = await Promise.all(Array.from({ length: 6 }, () => follow(url, token)));
  expect(new Set(clients.map(({ received }) => received[0]?.["node"])).size).toBe(2);
  await revoke();
  await items.insertOne({ _id: "later", owner: "u1" });
  for (const socket of clients) {
    expect((await socket.untilClosed()).code).toBe(4102);
    expect(JSON.stringify(socket.received)).not.toContain("later");
  }
  const [pid] = pidsOf(await health());
  process.kill(pid!, "SIGKILL");
  const newer = await tokenOf({ sub: "u2" });
  for (let attempt = 0; attempt < 40; attempt++) {
    const socket = await WsClient.connect(url, { token }).catch(() => null);
    if (socket !== null) expect([4102, 1013, 1006, 1012]).toContain((await socket.untilClosed()).code);
  }
  await expect.poll(async () => (await health()).ready, { timeout: 60_000 }).toBe(true);
  await follow(url, newer);
  await service.kill("SIGKILL");
  await service.start();
  await expect.poll(async () => (await health()).ready, { timeout: 60_000 }).toBe(true);
  const again = await WsClient.connect(`${service.url.replace("http", "ws")}/v1/ws`, { token });
  expect((await again.untilClosed()).code).toBe(4102);
});

test("after the stream has lost its position, the node reads the revocations from the gap before it continues", async () => {
  const set = await startReplicaSet({ members: 1 });
  onTestFinished(() => set.stop());
  const client = await new MongoClient(set.uri).connect();
  onTestFinished(() => client.close());
  const db = client.db("shop");
  const file = testConfig(set.uri, "shop", { collections: COLLECTIONS });
  const service = await startService(toConfig(file), pino({ level: "silent" }));
  onTestFinished(() => service.stop());
  await expect.poll(() => service.readiness().ready, PATIENCE).toBe(true);
  const now = async () => (await client.db("admin").command({ ping: 1 }))["operationTime"];
  const started = { service, file, now, db } as unknown as Started; // what the store needs of it
  const { revoke, items } = withStore(started, client.db("shop-state"));
  const url = `ws://127.0.0.1:${service.address.port}/v1/ws`;
  for (let round = 0; round < 3; round++) {
    const token = await tokenOf({ jti: `${round}` });
    const [revoked, other] = [await follow(url, token), await follow(url, await tokenOf({ sub: "u2" }))];
    const lost = { failCommands: ["getMore", "aggregate"], errorCode: 286, appName: "tidewire-stream" };
    await client.db("admin").command({ configureFailPoint: "failCommand", mode: "alwaysOn", data: lost });
    await expect.poll(() => service.readiness().ready, PATIENCE).toBe(false);
    await revoke({ jti: `${round}` });
    await items.insertOne({ _id: `secret ${round}`, owner: "u1" });
    const early = await WsClient.connect(url, { token });
    onTestFinished(() => early.socket.terminate());
    if (early.closed === undefined) early.send({ type: "subscribe", id: "a", collection: "items" });
    await client.db("admin").command({ configureFailPoint: "failCommand", mode: "off" });
    expect((await revoked.untilClosed()).code).toBe(4102);
    expect([4102, 1013]).toContain((await early.untilClosed()).code);
    expect(JSON.stringify([...revoked.received, ...early.received])).not.toContain(`secret ${round}`);
    await expect.poll(() => service.readiness().ready, PATIENCE).toBe(true);
    expect(other.closed).toBeUndefined();
    expect((await (await WsClient.connect(url, { token })).untilClosed()).code).toBe(4102);
    await items.deleteMany({});
  }
});

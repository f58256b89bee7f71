/** Behind nginx and HAProxy, as `config/` has them, plain and by TLS: two nodes, and nobody is bound to one of them. */
import { randomInt } from "node:crypto";
import { request } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { expect, onTestFinished, test } from "vitest";
import { ask, SseClient, urlOf } from "../support/http-client.ts";
import { COLLECTIONS } from "../support/http-service.ts";
import { isWithout } from "../support/installed.ts";
import { makeCertificate, startHaproxy, startNginx } from "../support/load-balancer.ts";
import {
  followByPolls,
  followBySocketIo,
  followBySse,
  followByWebSocket,
  type MessageFollower,
} from "../support/message-follower.ts";
import { testDatabase } from "../support/mongod.ts";
import { Oracle } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { RandomWriter } from "../support/random-writer.ts";
import { signToken, startTestService, testConfig } from "../support/service.ts";
import { type ServiceConfig, type SpawnedService, spawnService } from "../support/spawn-service.ts";

const BALANCERS = [
  ["nginx", startNginx],
  ["HAProxy", startHaproxy],
] as const;
const FOLLOW = [followByWebSocket, followBySse, followByPolls, followBySocketIo];
const RULE = {
  name: "owner",
  filter: { owner: "%%user.sub" },
  fields: { exclude: ["secret", "meta.hidden"] },
};
const WRITES = 150;
const PATIENCE = { timeout: 60_000, interval: 20 };

const skipped = isWithout("nginx", "haproxy", "openssl");

/** Two nodes as processes of their own, which trust the proxies about addresses. */
async function startNodes() {
  const { client, db, name: database, uri } = await testDatabase();
  const server = { heartbeat: "1s", socketio: true, trustedProxies: ["127.0.0.1"], drainTimeout: "1s" };
  const collections = { things: { rules: [RULE] } };
  const file = testConfig(uri, database, { collections, server, history: { window: "5m" } });
  // The log reports the port. The type names only the fields that the tests read.
  const config = { ...file, log: { level: "info" } } as unknown as ServiceConfig;
  const first = await spawnService({ config });
  const second = await spawnService({ config });
  const oracle = new Oracle(client, `${database}-state`);
  for (const node of [first, second]) await isReady(node);
  await oracle.learnEpoch();
  return { client, db, database, first, second, oracle };
}

async function isReady({ url }: SpawnedService): Promise<void> {
  const status = () =>
    ask("GET", `${url}/readyz`).then(
      (answer) => answer.status,
      () => 0,
    );
  await expect.poll(status, PATIENCE).toBe(200);
}

/** How many connections of a kind a node has welcomed, from its metrics. */
async function welcomed({ adminUrl }: SpawnedService, transport: string): Promise<number> {
  const { text } = await ask("GET", `${adminUrl}/metrics`);
  const pattern = `^tidewire_connections_opened_total\\{transport="${transport}"\\} (\\d+)`;
  return Number(new RegExp(pattern, "m").exec(text)?.[1] ?? 0);
}

test.skipIf(skipped)(
  "[G2] behind nginx and HAProxy no change is lost or repeated when a node is killed, another drains, and the proxy is reloaded",
  async () => {
    const seed = Number(process.env["TIDEWIRE_TEST_SEED"] ?? randomInt(2 ** 31));
    console.log(`seed ${seed}`);
    const { client, db, database, first, second, oracle } = await startNodes();
    const certificate = await makeCertificate();
    const nodes = [first.listening.port, second.listening.port] as const;
    const balancers = await Promise.all(BALANCERS.map(([, start]) => start(nodes, certificate)));
    const token = await signToken({ sub: "u1" });
    const options = { oracle, collection: "things", token, ca: certificate.ca };
    const followers: MessageFollower[] = balancers.flatMap(({ plain, tls }) =>
      [plain, tls].flatMap((base) => FOLLOW.map((follow) => follow({ ...options, base }))),
    );
    const writer = new RandomWriter(client, db, "things", new Random(seed));
    const query = {
      database,
      collection: "things",
      filter: { owner: "u1" },
      projections: [{ secret: 0, "meta.hidden": 0 }],
    };
    /** Writes while something happens; afterwards everybody has it. */
    const during = async (what: () => Promise<unknown>) => {
      await Promise.all([what(), writer.write(WRITES)]);
      await writer.write(20);
      const { operationTime } = await client.db("admin").command({ ping: 1 });
      for (const follower of followers) await follower.equalsFind(query, operationTime.toBigInt());
    };
    const resumptions = () =>
      followers.map(({ starts }) => starts.filter((start) => start === "resumed").length);

    await during(async () => {});
    await during(() => first.kill("SIGKILL"));
    // All of them on the other one, at whichever they were.
    await first.start();
    await isReady(first);
    await during(() => second.kill("SIGTERM"));
    await second.start();
    await isReady(second);
    const before = resumptions();
    await during(async () => {
      for (const balancer of balancers) balancer.reload();
    });
    await expect
      .poll(() => resumptions().every((count, index) => count > before[index]!), PATIENCE)
      .toBe(true);
    await during(async () => {});
    for (const { starts, held } of followers) {
      // The first one, and those that broke off inside it.
      expect(starts.filter((start) => start !== "resumed" && start !== "snapshot")).toEqual([]);
      expect(held.changes).toBeGreaterThan(50);
    }
    for (const node of [first, second]) expect(await welcomed(node, "poll")).toBeGreaterThan(0);
  },
);

async function startBehind(start: (typeof BALANCERS)[number][1], limits: Record<string, unknown> = {}) {
  const world = await startTestService({
    collections: COLLECTIONS,
    limits,
    server: { trustedProxies: ["127.0.0.1"] },
  });
  const { port } = world.service.address;
  const certificate = await makeCertificate();
  return { ...world, certificate, balancer: await start([port, port], certificate) };
}

test.skipIf(skipped).each(BALANCERS)(
  "behind %s clients are distinguished by their addresses, not by headers that they send",
  async (_name, start) => {
    const limits = { connectRatePerAddress: 0.001, connectBurstPerAddress: 3 };
    const { balancer } = await startBehind(start, limits);
    const token = await signToken({ sub: "u1" });
    const statusFrom = (localAddress: string, saysItIs: string) =>
      new Promise((resolve, reject) => {
        const headers = { Authorization: `Bearer ${token}`, "X-Forwarded-For": saysItIs };
        const url = urlOf(balancer.plain, "/v1/poll", { collection: "items", wait: 0 });
        request(url, { localAddress, headers, agent: false }, (response) => {
          resolve(response.resume().statusCode);
        })
          .once("error", reject)
          .end();
      });
    const from = async (address: string) => {
      const statuses: unknown[] = [];
      for (let n = 0; n < 4; n++) statuses.push(await statusFrom(address, `10.1.1.${n}`));
      return statuses;
    };
    expect(await from("127.0.0.2")).toEqual([200, 200, 200, 429]);
    expect(await from("127.0.0.3")).toEqual([200, 200, 200, 429]);
  },
);

test.skipIf(skipped).each(BALANCERS)(
  "%s answers no request in plain text, and sends none to a node",
  async (_name, start) => {
    const { balancer } = await startBehind(start);
    const authorization = `Bearer ${await signToken({ sub: "u1" })}`;
    const url = (base: string) => urlOf(base, "/v1/poll", { collection: "items", wait: 0 });
    const statusOf = async (base: string) =>
      (await fetch(url(base), { headers: { authorization }, redirect: "manual" })).status;
    expect(await statusOf(balancer.plain)).toBe(200);
    expect(await statusOf(balancer.refused)).toBe(403);
    const upgrade = { connection: "upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
    const status = await new Promise((resolve, reject) => {
      const headers = { ...upgrade, "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==", authorization };
      request(`${balancer.refused}/v1/ws`, { headers, agent: false }, (response) => {
        resolve(response.resume().statusCode);
      })
        .once("upgrade", (response) => resolve(response.statusCode))
        .once("error", reject)
        .end();
    });
    expect(status).toBe(403);
  },
);

test.skipIf(skipped).each(BALANCERS)(
  "behind %s one connection of HTTP/2 carries more streams than a browser opens of HTTP/1.1, and WebSockets where it says so",
  async (_name, start) => {
    const { balancer, certificate, db } = await startBehind(start);
    const session = connectHttp2(balancer.tls, { ca: certificate.ca });
    onTestFinished(() => session.destroy());
    const authorization = `Bearer ${await signToken({ sub: "u1" })}`;
    const streams = Array.from({ length: 8 }, () => {
      const stream = session.request({ ":path": "/v1/sse?collection=board", authorization });
      stream.setEncoding("utf8");
      const got = { text: "" };
      stream.on("data", (text) => {
        got.text += text;
      });
      return got;
    });
    await expect
      .poll(() => streams.every(({ text }) => text.includes("event: snapshot")), PATIENCE)
      .toBe(true);
    await db.collection<{ _id: number }>("items").insertOne({ _id: 1 });
    await expect.poll(() => streams.every(({ text }) => text.includes("event: added")), PATIENCE).toBe(true);
    // Where the proxy takes WebSockets inside of HTTP/2 (RFC 8441), browsers send them so.
    if (session.remoteSettings.enableConnectProtocol !== true) return;
    const socket = session.request({
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":scheme": "https",
      ":path": "/v1/ws",
      "sec-websocket-version": "13",
      "sec-websocket-protocol": "tidewire.v1",
      authorization,
    });
    let heard = "";
    socket.on("data", (bytes) => {
      heard += String(bytes);
    });
    await expect.poll(() => heard, PATIENCE).toContain('"type":"welcome"');
  },
);

test.skipIf(skipped).each(BALANCERS)(
  "behind %s a token of 10 KB gets a short key, which opens one stream on whichever node",
  async (_name, start) => {
    const { first, second, db } = await startNodes();
    const certificate = await makeCertificate();
    const { plain } = await start([first.listening.port, second.listening.port], certificate);
    const token = await signToken({ sub: "u1", groups: "g".repeat(7_500) });
    expect(token.length).toBeGreaterThan(10_000);
    const issued = await ask("POST", `${plain}/v1/key`, { Authorization: `Bearer ${token}` });
    expect(issued.status).toBe(200);
    const key = String(issued.body["key"]);
    expect(key).toHaveLength(43);
    const url = urlOf(plain, "/v1/sse", { collection: "things", key });
    const { stream } = await SseClient.open(url);
    onTestFinished(() => stream?.cut());
    await stream?.untilType("snapshot");
    await db.collection<{ _id: number; owner: string }>("things").insertOne({ _id: 1, owner: "u1" });
    await stream?.untilType("added");
    // The proxy spreads these over both nodes.
    for (let n = 0; n < 4; n++) {
      const { refused } = await SseClient.open(url);
      expect(refused).toMatchObject({ status: 401, body: { details: { reason: "invalid" } } });
    }
    const { stream: again } = await SseClient.open(url, { "Last-Event-ID": stream?.lastEventId ?? "" });
    onTestFinished(() => again?.cut());
    expect((await again?.untilType("subscribed"))?.data).toMatchObject({ start: "resumed" });
  },
);

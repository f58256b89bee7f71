/** Both sides of every limit. Groups, since each needs a service whose limits are within reach. */
import { once } from "node:events";
import { connect } from "node:net";
import { expect } from "vitest";
import { WebSocket } from "ws";
import { signToken, type TestServiceOptions } from "../../support/service.ts";
import type { WsClient } from "../../support/ws-client.ts";
import { brief, eventually, held, type Note, type Scenario, type World } from "../scenario.ts";

interface Group {
  readonly title: string;
  readonly options: Partial<TestServiceOptions>;
  readonly scenarios: readonly Scenario[];
}

const ofType = (client: WsClient, type: string) => client.received.filter((got) => got.type === type);
const subscribe = (client: WsClient, id: string, more: object = {}) =>
  client.ask({ type: "subscribe", id, collection: "notes", ...more });

const REQUESTS: Group = {
  title: "limits on requests",
  options: {
    limits: {
      messageBytes: "2KiB",
      subscriptions: 3,
      requestsPerSecond: 5,
      requestBurst: 20,
      snapshotDocuments: 10,
      snapshotBatchBytes: "1KiB",
    },
  },
  scenarios: [
    {
      name: "[5] a message of limits.messageBytes is taken, one byte more closes with 1009",
      only: "ws",
      async run(world) {
        const client = await world.connect({ sub: world.me });
        const message = (bytes: number) => {
          const text = JSON.stringify({
            type: "subscribe",
            id: "a",
            collection: "notes",
            filter: { title: "" },
          });
          return text.replace('""', `"${"x".repeat(bytes - text.length)}"`);
        };
        expect(Buffer.byteLength(message(2_048))).toBe(2_048);
        client.socket.send(message(2_048));
        expect(await client.until(({ type }) => type === "subscribed")).toMatchObject({ id: "a" });
        client.socket.send(message(2_049));
        expect((await client.untilClosed()).code).toBe(1009);
      },
    },
    {
      name: "[5] fragments count together against limits.messageBytes",
      only: "ws",
      async run(world) {
        const client = await world.connect({ sub: world.me });
        for (let n = 0; n < 30; n++) client.socket.send("x".repeat(100), { fin: false });
        expect((await client.untilClosed()).code).toBe(1009);
      },
    },
    {
      name: "[5] too-many-subscriptions names the limit; one that ends makes room",
      only: "ws",
      async run(world) {
        const client = await world.connect({ sub: world.me });
        for (const id of ["a", "b", "c"]) expect(brief(await subscribe(client, id))[0]).toBe("subscribed");
        expect(await subscribe(client, "d")).toMatchObject({
          type: "error",
          code: "too-many-subscriptions",
          retry: "later",
          id: "d",
          details: { limit: "subscriptions", value: 3 },
        });
        await client.ask({ type: "unsubscribe", id: "b" });
        expect(brief(await subscribe(client, "d"))[0]).toBe("subscribed");
      },
    },
    {
      name: "[5] the first offence of the rate limit is an error with the time to wait; after that time requests succeed",
      only: "ws",
      async run(world) {
        const client = await world.connect({ sub: world.me });
        for (let nonce = 0; nonce < 25; nonce++) client.send({ type: "ping", nonce });
        await eventually(
          () => ofType(client, "pong").length + ofType(client, "error").length === 25,
          "answers",
        );
        const [error] = ofType(client, "error");
        expect(error).toMatchObject({
          code: "too-many-requests",
          retry: "later",
          details: { limit: "requestsPerSecond", value: 5 },
        });
        const waitMs = Number(error?.["retryAfterMs"]);
        expect(waitMs).toBeGreaterThan(0);
        expect(waitMs).toBeLessThanOrEqual(200);
        // At least those of the burst were served.
        expect(ofType(client, "pong").length).toBeGreaterThanOrEqual(19);
        const from = client.received.length;
        await new Promise((resolve) => setTimeout(resolve, waitMs + 50));
        client.send({ type: "ping" });
        expect(await client.until(({ type }) => type !== "watermark", from)).toEqual({ type: "pong" });
      },
    },
    {
      name: "[5] a client that continues is closed with 4429, whether the messages are well-formed or not",
      only: "ws",
      async run(world) {
        for (const text of ['{"type":"ping"}', '{"type":"nonsense"}', '{"type":"unsubscribe","id":"none"}']) {
          const client = await world.connect({ sub: world.me });
          for (let n = 0; n < 200; n++) client.socket.send(text);
          expect((await client.untilClosed()).code, text).toBe(4429);
          expect(client.received.at(-1)).toMatchObject({ type: "error", code: "too-many-requests" });
        }
      },
    },
    {
      name: "[4] subscribing is charged by the filter's size",
      only: "ws",
      async run(world) {
        const client = await world.connect({ sub: world.me });
        const filter = { title: "x".repeat(1_800) };
        for (let n = 0; n < 12; n++) {
          client.send({ type: "subscribe", id: `${n}`, collection: "notes", filter });
          client.send({ type: "unsubscribe", id: `${n}` });
        }
        await client.until(({ type }) => type === "error");
        expect(ofType(client, "error").map((error) => error["code"])).toContain("too-many-requests");
        expect(ofType(client, "unsubscribed").length).toBeLessThanOrEqual(11);
      },
    },
    {
      name: "[5] every message is charged by its size, also one without a filter and one that is refused",
      only: "ws",
      async run(world) {
        const pad = "x".repeat(1_800);
        const messages = [
          { type: "subscribe", collection: "unknown", fields: [pad] },
          { type: "nonsense", pad },
        ];
        for (const message of messages) {
          const client = await world.connect({ sub: world.me });
          for (let n = 0; n < 12; n++) client.send({ ...message, id: `${n}` });
          await eventually(() => ofType(client, "error").length === 12, "answers");
          const refused = ofType(client, "error").filter(({ code }) => code === "too-many-requests");
          expect(refused.length, message.type).toBeGreaterThan(0);
        }
      },
    },
    {
      name: "[5] small messages cost one request each, whatever they ask for",
      only: "ws",
      async run(world) {
        const client = await world.connect({ sub: world.me });
        // `hello` was one as well.
        for (let n = 0; n < 19; n++)
          client.send({ type: "subscribe", id: `${n}`, collection: "unknown", fields: ["x".repeat(800)] });
        await eventually(() => ofType(client, "error").length === 19, "answers");
        expect(ofType(client, "error").map(({ code }) => code)).not.toContain("too-many-requests");
      },
    },
    {
      name: "[3.1] unsubscribe is never refused for its rate",
      only: "ws",
      async run(world) {
        const client = await world.connect({ sub: world.me });
        await subscribe(client, "a");
        for (let n = 0; n < 40; n++) client.send({ type: "ping" });
        expect(await client.ask({ type: "unsubscribe", id: "a" })).toMatchObject({ type: "unsubscribed" });
        await eventually(() => ofType(client, "error").length > 0, "requests were refused at that time");
      },
    },
    {
      name: "[5] snapshot-too-large names the limit and leaves nothing behind; one document less is served",
      async run(world) {
        const docs = (from: number, to: number): Note[] =>
          Array.from({ length: to - from }, (_, n) => ({ _id: `${world.me}/${from + n}`, owner: world.me }));
        await world.notes.insertMany(docs(0, 10));
        const fits = await world.follow({ sub: world.me }, { collection: "notes" });
        await fits.settle();
        expect(held(fits.received)).toHaveLength(10);
        await fits.leave();
        await world.notes.insertMany(docs(10, 11));
        const large = await world.follow({ sub: world.me }, { collection: "notes", filter: { n: null } });
        expect(large.answer).toMatchObject({
          type: "error",
          code: "snapshot-too-large",
          message: expect.stringContaining("sort with limit"),
          retry: "never",
          details: { limit: "snapshotDocuments", value: 10 },
        });
        const live = await world.follow({ sub: world.me }, { collection: "notes", snapshot: false });
        expect(brief(live.answer)).toEqual(["subscribed", "live"]);
      },
    },
  ],
};

/** Opens sockets until the service refuses; gives those that got in and how the last one ended. */
async function fill(world: World, claims: Record<string, unknown> | null, headers: Record<string, string>[]) {
  const clients: WsClient[] = [];
  for (const header of headers) clients.push(await world.connect(claims, { headers: header }));
  return clients;
}

const from = (address: string) => ({ "x-forwarded-for": address });

const COUNTS: Group = {
  title: "limits on connections, behind a proxy that is trusted",
  options: {
    server: { trustedProxies: ["127.0.0.0/8", "::1", "10.0.0.0/8"] },
    limits: { connectionsPerUser: 2, connectionsPerAddress: 3, connections: 100 },
    auth: { anonymous: true },
  },
  scenarios: [
    {
      name: "[5] more connections of one user than limits.connectionsPerUser close with 4201; one that ends makes room",
      only: "ws",
      async run(world) {
        const addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(from);
        const [first, , third] = await fill(world, { sub: world.me }, addresses);
        expect((await third?.untilClosed())?.code).toBe(4201);
        expect(third?.received).toMatchObject([
          {
            type: "error",
            code: "too-many-requests",
            retry: "later",
            retryAfterMs: expect.any(Number),
            details: { limit: "connectionsPerUser", value: 2 },
          },
        ]);
        await first?.close();
        const again = await world.connect({ sub: world.me }, { headers: from("192.0.2.4") });
        expect(ofType(again, "welcome")).toHaveLength(1);
        const other = await world.connect({ sub: `${world.me}-other` }, { headers: from("192.0.2.5") });
        expect(ofType(other, "welcome")).toHaveLength(1);
      },
    },
    {
      name: "[5] more connections from one address than limits.connectionsPerAddress close with 4201",
      only: "ws",
      async run(world) {
        const clients = await fill(world, null, Array(4).fill(from("198.51.100.1")));
        expect((await clients.at(-1)?.untilClosed())?.code).toBe(4201);
        expect(clients.at(-1)?.received).toMatchObject([
          { code: "too-many-requests", details: { limit: "connectionsPerAddress", value: 3 } },
        ]);
        const elsewhere = await world.connect(null, { headers: from("198.51.100.2") });
        expect(ofType(elsewhere, "welcome")).toHaveLength(1);
      },
    },
    {
      name: "[rules.md 5] X-Forwarded-For: the last hop that no trusted proxy vouches against is the client",
      only: "ws",
      async run(world) {
        // Addresses that the client wrote in front have no effect, and trusted hops behind do not hide it.
        const headers = [
          "1.1.1.1, 203.0.113.9",
          "2.2.2.2,203.0.113.9 ",
          "203.0.113.9, 10.1.2.3",
          "::ffff:203.0.113.9",
        ];
        const clients = await fill(world, null, headers.map(from));
        expect((await clients.at(-1)?.untilClosed())?.code).toBe(4201);
      },
    },
    {
      name: "[rules.md 5] X-Forwarded-For of any content is survived",
      only: "ws",
      async run(world) {
        const garbage = [
          "unknown",
          "10.0.0.1:80",
          "[::1]:443",
          ",,,",
          "%00",
          "10.0.0.1, _hidden, 10.0.0.2",
          "999.1.1.1",
        ];
        for (const value of garbage) {
          const client = await world.connect(null, { headers: from(value) });
          expect(client.received[0]?.type, value).toBe("welcome");
          await client.close();
        }
      },
    },
  ],
};

const UNTRUSTED: Group = {
  title: "limits on connections, without a proxy",
  options: { limits: { connectionsPerAddress: 2 }, auth: { anonymous: true } },
  scenarios: [
    {
      name: "[rules.md 5] X-Forwarded-For counts for nothing where no proxy is trusted",
      only: "ws",
      async run(world) {
        const clients = await fill(world, null, ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(from));
        expect((await clients.at(-1)?.untilClosed())?.code).toBe(4201);
      },
    },
  ],
};

const FULL: Group = {
  title: "a node that is full",
  options: { limits: { connections: 2 }, auth: { anonymous: true } },
  scenarios: [
    {
      name: "[5] more connections than limits.connections close with 4200 and a time to wait; one that ends makes room",
      only: "ws",
      async run(world) {
        const clients = await fill(world, null, [{}, {}, {}]);
        expect((await clients.at(-1)?.untilClosed())?.code).toBe(4200);
        expect(clients.at(-1)?.received).toMatchObject([
          { type: "error", code: "unavailable", retry: "later", retryAfterMs: expect.any(Number) },
        ]);
        await clients[0]?.close();
        const again = await world.connect(null);
        expect(ofType(again, "welcome")).toHaveLength(1);
      },
    },
  ],
};

/** The answer to an upgrade, as bytes: also of one that is refused. */
async function upgrade(url: string, headers: Record<string, string>, path = "/v1/ws"): Promise<string> {
  const { port } = new URL(url);
  const socket = connect(Number(port), "127.0.0.1");
  const lines = [
    `GET ${path} HTTP/1.1`,
    "Host: localhost",
    ...Object.entries({
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...headers,
    }).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  let answer = "";
  socket.on("data", (data) => {
    answer += data;
    if (answer.startsWith("HTTP/1.1 101")) socket.destroy();
  });
  socket.on("error", () => {});
  await once(socket, "close");
  return answer;
}
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);

const RATES: Group = {
  title: "limits on connecting",
  options: {
    limits: { connectRatePerAddress: 0.5, connectBurstPerAddress: 3 },
    server: { trustedProxies: ["127.0.0.1"] },
  },
  scenarios: [
    {
      name: "[rules.md 5] connections of one address beyond the rate get 503 and Retry-After before the upgrade, others none",
      only: "ws",
      async run(world) {
        const { url } = world.service;
        const answers: string[] = [];
        for (let n = 0; n < 4; n++) answers.push(await upgrade(url, from("192.0.2.7")));
        expect(answers.map(statusOf)).toEqual([101, 101, 101, 503]);
        expect(answers[3]).toMatch(/^Retry-After: [1-9]\d*\r$/m);
        expect(statusOf(await upgrade(url, from("192.0.2.8")))).toBe(101);
      },
    },
  ],
};

const NODE_RATE: Group = {
  title: "limits on connecting to the node",
  options: { limits: { connectRate: 1 } },
  scenarios: [
    {
      name: "[rules.md 5] connections beyond limits.connectRate get 503",
      only: "ws",
      async run(world) {
        const { url } = world.service;
        const statuses: number[] = [];
        for (let n = 0; n < 4; n++) statuses.push(statusOf(await upgrade(url, {})));
        expect(statuses[0]).toBe(101);
        expect(statuses).toContain(503);
      },
    },
  ],
};

const EDGE: Group = {
  title: "before the upgrade",
  options: { server: { origins: ["https://app.example.com", "http://localhost:3000"] } },
  scenarios: [
    {
      name: "[2] an Origin that is not listed gets 403, one that is listed and none at all pass",
      only: "ws",
      async run(world) {
        const { url } = world.service;
        const cases: readonly (readonly [string, number])[] = [
          ["https://app.example.com", 101],
          ["http://localhost:3000", 101],
          ["https://app.example.com:444", 403],
          ["http://app.example.com", 403],
          ["https://app.example.com.evil.test", 403],
          ["https://evil.test", 403],
          ["https://app.example.com/", 403],
          ["null", 403],
          ["*", 403],
          ["", 403],
        ];
        for (const [Origin, status] of cases) {
          expect(statusOf(await upgrade(url, { Origin })), Origin).toBe(status);
        }
        expect(statusOf(await upgrade(url, {}))).toBe(101);
      },
    },
    {
      name: "[2] a request that offers subprotocols but not tidewire.v1 gets 400, one that offers none is version 1",
      only: "ws",
      async run(world) {
        const { url } = world.service;
        const offer = async (offered: string) => upgrade(url, { "Sec-WebSocket-Protocol": offered });
        expect(statusOf(await offer("chat"))).toBe(400);
        const newer = await offer("tidewire.v2, tidewire.v10");
        expect(statusOf(newer)).toBe(400);
        expect(newer.split("\r\n\r\n")[1]).toMatch(/supported are: tidewire\.v1\n$/);
        const answer = await offer("chat, tidewire.v1");
        expect(statusOf(answer)).toBe(101);
        expect(answer).toMatch(/^Sec-WebSocket-Protocol: tidewire\.v1\r$/im);
        expect(await upgrade(url, {})).not.toMatch(/Sec-WebSocket-Protocol/i);
        const socket = new WebSocket(url);
        await once(socket, "open");
        socket.send(JSON.stringify({ type: "hello", token: await signToken({ sub: world.me }) }));
        const [data] = await once(socket, "message");
        expect(JSON.parse(String(data))).toMatchObject({ type: "welcome" });
        socket.terminate();
      },
    },
    {
      name: "[2] no extension is agreed on: permessage-deflate is off",
      only: "ws",
      async run(world) {
        const answer = await upgrade(world.service.url, { "Sec-WebSocket-Extensions": "permessage-deflate" });
        expect(statusOf(answer)).toBe(101);
        expect(answer).not.toMatch(/Sec-WebSocket-Extensions/i);
      },
    },
    {
      name: "[2] whatever is no WebSocket for us is answered and ended: nothing is left hanging",
      only: "ws",
      async run(world) {
        const { url } = world.service;
        expect(statusOf(await upgrade(url, {}, "/v1/wss"))).toBe(404);
        expect(statusOf(await upgrade(url, {}, "/"))).toBe(404);
        expect(statusOf(await upgrade(url, {}, "/v1/ws?token=x"))).toBe(101);
        expect(statusOf(await upgrade(url, { Upgrade: "h2c" }))).toBeGreaterThanOrEqual(400);
        expect(statusOf(await upgrade(url, { "Sec-WebSocket-Version": "7" }))).toBeGreaterThanOrEqual(400);
        expect(statusOf(await upgrade(url, { "Sec-WebSocket-Key": "short" }))).toBe(400);
      },
    },
  ],
};

const NO_ORIGINS: Group = {
  title: "before the upgrade, without server.origins",
  options: {},
  scenarios: [
    {
      name: "[8] with server.origins unset every request that bears an Origin gets 403, one without passes",
      only: "ws",
      async run(world) {
        const { url } = world.service;
        expect(statusOf(await upgrade(url, { Origin: "http://127.0.0.1" }))).toBe(403);
        expect(statusOf(await upgrade(url, { Origin: "null" }))).toBe(403);
        expect(statusOf(await upgrade(url, {}))).toBe(101);
      },
    },
  ],
};

const ANY_ORIGIN: Group = {
  title: "before the upgrade, with any origin",
  options: { server: { origins: ["*"] } },
  scenarios: [
    {
      name: "[2] server.origins: * lets every origin in",
      only: "ws",
      async run(world) {
        for (const Origin of ["https://any.test", "null"]) {
          expect(statusOf(await upgrade(world.service.url, { Origin }))).toBe(101);
        }
      },
    },
  ],
};

export const LIMITS: readonly Group[] = [
  REQUESTS,
  COUNTS,
  UNTRUSTED,
  FULL,
  RATES,
  NODE_RATE,
  EDGE,
  NO_ORIGINS,
  ANY_ORIGIN,
];

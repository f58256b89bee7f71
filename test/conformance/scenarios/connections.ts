/** A connection's life: hello, refresh, ids, fences, clocks. For WebSockets, which alone have connections. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { SignJWT } from "jose";
import { expect } from "vitest";
import { WebSocket } from "ws";
import { SECRET, signToken } from "../../support/service.ts";
import type { Received, WsClient } from "../../support/ws-client.ts";
import { brief, briefly, eventually, held, type Scenario, type World } from "../scenario.ts";

const WELCOME_FIELDS = [
  "type",
  "connection",
  "node",
  "heartbeat",
  "user",
  "expires",
  "reconnect",
  "limits",
] as const;

const subscribe = (client: WsClient, id: string, more: object = {}) =>
  client.ask({ type: "subscribe", id, collection: "notes", ...more });
const ofType = (client: WsClient, type: string) => client.received.filter((got) => got.type === type);

/** Sends one message before `welcome`, and gives what came of it. */
async function refusedHello(
  world: World,
  message: string | Buffer,
): Promise<{ code: number; errors: Received[] }> {
  const client = await world.open();
  client.socket.send(message);
  const { code } = await client.untilClosed();
  expect(ofType(client, "welcome")).toEqual([]);
  return { code, errors: ofType(client, "error") };
}

const hello = (token: string) => JSON.stringify({ type: "hello", token });

async function tokenOf(
  claims: Record<string, unknown>,
  { secret = SECRET, alg = "HS256" }: { secret?: string; alg?: string } = {},
): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret));
}
const seconds = (fromNow: number) => Math.floor(Date.now() / 1_000) + fromNow;

/** A WebSocket that sends messages with `hello`, or with the upgrade if its header has the token. */
async function sendEarly(world: World, messages: readonly (object | string)[], byHeader = false) {
  const token = await signToken({ sub: world.me });
  const client = await world.open(byHeader ? { authorization: `Bearer ${token}` } : {});
  // In one segment, so that no token can be verified in between.
  const stream = (client.socket as unknown as { _socket: Socket })._socket; // the library keeps it so
  stream.cork();
  if (!byHeader) client.socket.send(hello(token));
  for (const message of messages)
    client.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  stream.uncork();
  return client;
}

const note = { type: "subscribe", id: "a", collection: "notes" };
const pings = (count: number) => Array.from({ length: count }, (_, nonce) => ({ type: "ping", nonce }));

const EARLY: readonly Scenario[] = [
  ...[false, true].map((byHeader) => ({
    name: `[3.1] messages that follow ${byHeader ? "the upgrade of a header with a token" : "hello"} at once are answered in their order, after welcome`,
    async run(world: World) {
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me });
      const written = await world.now();
      const fence = {
        type: "fence",
        id: "f",
        operationTime: { $timestamp: { t: written.getHighBits(), i: written.getLowBits() } },
      };
      const client = await sendEarly(world, [{ type: "ping", nonce: "first" }, note, fence], byHeader);
      await client.until(({ type }) => type === "fenced");
      expect(client.received.map(({ type }) => type).filter((type) => type !== "watermark")).toEqual([
        "welcome",
        "pong",
        "subscribed",
        "snapshot",
        "fenced",
      ]);
      expect(held(client.received)).toHaveLength(1);
    },
  })),
  {
    name: "[3.1] of early messages, an ended subscription, a wrong message and a second hello are answered as after welcome",
    async run(world) {
      const client = await sendEarly(world, [
        note,
        { type: "unsubscribe", id: "a" },
        { type: "no-such", id: "b" },
        JSON.parse(hello(await signToken({ sub: `${world.me}-other` }))),
        { type: "ping", nonce: "last" },
      ]);
      await client.until(({ type }) => type === "pong");
      await client.until(({ type }) => type === "unsubscribed");
      expect(ofType(client, "welcome")).toMatchObject([{ user: world.me }]);
      expect(client.received[0]?.type).toBe("welcome");
      expect(ofType(client, "error")).toMatchObject([
        { code: "bad-request", id: "b" },
        { code: "bad-request" },
      ]);
    },
  },
  {
    name: "[3.1] limits.earlyMessages: so many wait, one more closes with 4400, and hello is not counted",
    async run(world) {
      const fits = await sendEarly(world, pings(32));
      await eventually(() => ofType(fits, "pong").length === 32, "every early message was answered");
      const over = await sendEarly(world, [note, ...pings(32)]);
      expect((await over.untilClosed()).code).toBe(4400);
      expect(over.received.map(({ type }) => type)).toEqual(["error"]);
      expect(over.received).toMatchObject([
        { code: "bad-request", retry: "never", details: { limit: "earlyMessages", value: 32 } },
      ]);
    },
  },
  {
    name: "[3.1] early messages are discarded with the connection if the token is refused",
    async run(world) {
      for (const authorization of [undefined, "Bearer nonsense"]) {
        const client = await world.open(authorization === undefined ? {} : { authorization });
        if (authorization === undefined) client.socket.send(hello("x.y.z"));
        for (const message of [note, { type: "ping" }]) client.send(message);
        expect((await client.untilClosed()).code).toBe(4401);
        expect(client.received).toMatchObject([{ type: "error", code: "unauthenticated" }]);
      }
    },
  },
  {
    name: "[3.1] an early frame that is not one JSON object closes with 4400 after welcome, like a later one",
    async run(world) {
      const client = await sendEarly(world, [note, "nonsense"]);
      expect((await client.untilClosed()).code).toBe(4400);
      expect(client.received[0]?.type).toBe("welcome");
      expect(client.received.at(-1)).toMatchObject({ type: "error", code: "bad-request" });
    },
  },
];

const HELLO: readonly Scenario[] = [
  {
    name: "[3.2] welcomes with all that a client needs to know, and nothing more",
    async run(world) {
      const token = await signToken({ sub: world.me }, 1_000);
      const client = await world.connect(null, { token });
      const [welcome] = ofType(client, "welcome");
      expect(Object.keys(welcome ?? {})).toEqual(WELCOME_FIELDS);
      expect(welcome).toMatchObject({
        user: world.me,
        heartbeat: 25_000,
        reconnect: { minMs: 250, maxMs: 30_000, factor: 2, stableAfterMs: 5_000 },
        limits: { messageBytes: 65_536, subscriptions: 100, requestsPerSecond: 50, outboxBytes: 1_048_576 },
      });
      const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
      expect(welcome?.["expires"]).toBe(exp * 1_000);
    },
  },
  {
    name: "[3.1] a token in the request's header makes hello optional, which may still set values, and is not answered",
    async run(world) {
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me, at: new Date(0) });
      const token = await signToken({ sub: world.me });
      const client = await world.open({ authorization: `Bearer ${token}` });
      client.send({ type: "hello", values: "ejson" });
      await client.until(({ type }) => type === "welcome");
      await subscribe(client, "a");
      client.send({ type: "hello", values: "json" });
      const error = await client.until(({ type }) => type === "error");
      expect(error).toMatchObject({ code: "bad-request" });
      expect(ofType(client, "welcome")).toHaveLength(1);
      const snapshot = await client.until(({ type }) => type === "snapshot");
      expect(JSON.stringify(snapshot)).toContain('"at":{"$date"');
    },
  },
  {
    name: "[8] a bad token in the header is answered like one in hello, after the upgrade",
    async run(world) {
      const client = await world.open({ authorization: "Bearer nonsense" });
      expect((await client.untilClosed()).code).toBe(4401);
      expect(client.received).toMatchObject([{ type: "error", code: "unauthenticated", retry: "never" }]);
    },
  },
  {
    name: "[3.1] cookies never authenticate, and a client without a token is refused if anonymous is off",
    async run(world) {
      const cookie = `token=${await signToken({ sub: world.me })}; authorization=Bearer ${await signToken({ sub: world.me })}`;
      const client = await world.open({ cookie });
      client.send({ type: "hello" });
      expect((await client.untilClosed()).code).toBe(4401);
      expect(client.received).toMatchObject([{ type: "error", code: "unauthenticated", retry: "never" }]);
    },
  },
  {
    name: "[5] distinguishes a token that another may replace (4100, 4101) from one that is not genuine (4401)",
    async run(world) {
      const { me: sub } = world;
      const cases: readonly (readonly [string, string, number, string])[] = [
        ["expired", await tokenOf({ sub, exp: seconds(-60) }), 4100, "token"],
        ["not yet valid", await tokenOf({ sub, exp: seconds(60), nbf: seconds(30) }), 4100, "token"],
        [
          "of another secret",
          await tokenOf({ sub, exp: seconds(60) }, { secret: "x".repeat(40) }),
          4401,
          "never",
        ],
        ["of another algorithm", await tokenOf({ sub, exp: seconds(60) }, { alg: "HS384" }), 4401, "never"],
        ["without exp", await tokenOf({ sub }), 4401, "never"],
        [
          "whose sub is no string",
          await tokenOf({ sub: 7 as unknown as string, exp: seconds(60) }),
          4401,
          "never",
        ],
        ["no token at all", "x.y.z", 4401, "never"],
      ];
      for (const [what, token, closeCode, retry] of cases) {
        const { code, errors } = await refusedHello(world, hello(token));
        expect(code, what).toBe(closeCode);
        expect(errors, what).toMatchObject([{ code: "unauthenticated", retry }]);
        expect(JSON.stringify(errors)).not.toContain(token);
      }
    },
  },
  {
    name: "[3.1] whatever comes before hello closes with 4400, in words first",
    async run(world) {
      for (const message of [
        JSON.stringify({ type: "ping" }),
        JSON.stringify({ type: "subscribe", id: "a", collection: "notes" }),
        JSON.stringify({ type: "hello", tokne: "misspelt" }),
        JSON.stringify({ type: "hello", values: "xml" }),
        JSON.stringify({ type: "no-such" }),
        "[]",
        "null",
        '"hello"',
        "{",
        "",
      ]) {
        const { code, errors } = await refusedHello(world, message);
        expect(code, message).toBe(4400);
        expect(errors, message).toMatchObject([{ code: "bad-request", retry: "never" }]);
      }
    },
  },
  ...EARLY,
  {
    name: "[2] a binary frame closes with 4400, and so does a frame after welcome that is not one JSON object",
    async run(world) {
      for (const frame of [
        Buffer.from('{"type":"ping"}'),
        "[1]",
        "nonsense",
        '{"type":"ping"}{"type":"ping"}',
      ]) {
        const client = await world.connect({ sub: world.me });
        client.socket.send(frame);
        expect((await client.untilClosed()).code).toBe(4400);
        expect(client.received.at(-1)).toMatchObject({ type: "error", code: "bad-request", retry: "never" });
      }
    },
  },
  {
    name: "[3.1] a second hello is refused and changes nothing",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      client.socket.send(hello(await signToken({ sub: `${world.me}-other` })));
      expect(await client.until(({ type }) => type === "error")).toMatchObject({ code: "bad-request" });
      expect(ofType(client, "welcome")).toHaveLength(1);
    },
  },
  {
    name: "[1] unknown types and fields of client messages are bad-request, with paths and reasons, and the connection lives",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      const cases: readonly (readonly [Record<string, unknown>, string])[] = [
        [{ type: "subscrib", id: "a" }, "type"],
        [{ id: "a" }, "type"],
        [{ type: "subscribe", id: "a", collection: "notes", filters: {} }, ""],
        [{ type: "subscribe", id: "a", collection: "notes", filter: [] }, "filter"],
        [{ type: "subscribe", id: "a", collection: "notes", limit: 5 }, "limit"],
        [{ type: "subscribe", id: "a", collection: "notes", ticket: "t" }, "ticket"],
        [{ type: "subscribe", id: "a", collection: 1 }, "collection"],
        [{ type: "subscribe", id: "a", collection: "notes", snapshot: "no" }, "snapshot"],
        [{ type: "subscribe", id: "a" }, "collection"],
        [{ type: "unsubscribe" }, "id"],
        [{ type: "unsubscribe", id: "" }, "id"],
        [{ type: "unsubscribe", id: "x".repeat(65) }, "id"],
        [{ type: "fence", id: "a", operationTime: { t: 1, i: 1 } }, "operationTime.$timestamp"],
        [
          { type: "fence", id: "a", operationTime: { $timestamp: { t: -1, i: 1 } } },
          "operationTime.$timestamp.t",
        ],
        [{ type: "refresh" }, "token"],
        [{ type: "ping", nonce: {} }, "nonce"],
      ];
      for (const [message, path] of cases) {
        const from = client.received.length;
        client.send(message);
        const error = await client.until(({ type }) => type === "error", from);
        expect(error, JSON.stringify(message)).toMatchObject({ code: "bad-request", retry: "never" });
        const details = error?.["details"] as { problems: { path: string; reason: string }[] };
        expect(
          details.problems.map((problem) => problem.path),
          JSON.stringify(message),
        ).toContain(path);
        expect(details.problems.every(({ reason }) => reason.length > 0)).toBe(true);
        const hasId = typeof message["id"] === "string" && /^.{1,64}$/.test(message["id"]);
        expect(error?.["id"]).toBe(hasId ? message["id"] : undefined);
      }
      client.send({ type: "ping", nonce: "still here" });
      expect(await client.until(({ type }) => type === "pong")).toEqual({
        type: "pong",
        nonce: "still here",
      });
    },
  },
  {
    name: "[3.1] a key that JavaScript treats specially is an unknown field like any other",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      for (const key of ["__proto__", "constructor", "prototype", "toString"]) {
        const from = client.received.length;
        client.socket.send(`{"type":"ping","${key}":{"nonce":"x"}}`);
        const answer = await client.until(({ type }) => type === "error" || type === "pong", from);
        expect(answer, key).toMatchObject({ type: "error", code: "bad-request" });
      }
    },
  },
];

const IDS: readonly Scenario[] = [
  {
    name: "[3.1] ping is answered with the same nonce, or none",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      for (const nonce of [undefined, "a", 0, -1.5, "", "\ud800"]) {
        const from = client.received.length;
        client.send({ type: "ping", nonce });
        const pong = await client.until(({ type }) => type === "pong", from);
        expect(pong).toEqual(nonce === undefined ? { type: "pong" } : { type: "pong", nonce });
      }
    },
  },
  {
    name: "[3.1] after unsubscribed nothing comes for the id, which may be used again",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      await subscribe(client, "a");
      const answer = await client.ask({ type: "unsubscribe", id: "a" });
      expect(answer).toEqual({ type: "unsubscribed", id: "a", reason: "requested" });
      const from = client.received.length;
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me });
      await client.fence(await world.now());
      expect(client.received.slice(from).map(({ type }) => type)).toEqual(["fenced"]);
      expect(brief(await subscribe(client, "a"))).toEqual(["subscribed", "snapshot"]);
    },
  },
  {
    name: "[3.1] unsubscribe in the moment of subscribing is answered once, and nothing follows",
    async run(world) {
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me });
      // A subscription without a snapshot starts where the node is, and brings what the node has not read yet.
      await world.settled();
      const client = await world.connect({ sub: world.me });
      const from = client.received.length;
      client.send({ type: "subscribe", id: "a", collection: "notes" });
      client.send({ type: "unsubscribe", id: "a" });
      client.send({ type: "subscribe", id: "a", collection: "notes", snapshot: false });
      await client.fence(await world.now());
      expect(briefly(client.received.slice(from))).toEqual([
        ["unsubscribed", "requested"],
        ["subscribed", "live"],
        ["fenced"],
      ]);
    },
  },
  {
    name: "[5] an id in use is duplicate-id, an unknown one is unknown-id; neither affects active subscriptions",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      const first = await subscribe(client, "a");
      const again = await subscribe(client, "a", { filter: { n: 1 } });
      expect(again).toMatchObject({ type: "error", code: "duplicate-id", retry: "never", id: "a" });
      const unknown = await client.ask({ type: "unsubscribe", id: "b" });
      expect(unknown).toMatchObject({ type: "error", code: "unknown-id", retry: "never", id: "b" });
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me, n: 2 });
      await client.fence(await world.now());
      expect(ofType(client, "added")).toMatchObject([{ query: first["query"] }]);
    },
  },
  {
    name: "[3.1] an error of subscribe leaves the id free",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      expect(brief(await subscribe(client, "a", { collection: "staff" }))).toEqual(["error", "forbidden"]);
      expect(brief(await subscribe(client, "a"))).toEqual(["subscribed", "snapshot"]);
    },
  },
  {
    name: "[3.1] ids are any text of 1 to 64 characters",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      for (const id of ["x".repeat(64), "__proto__", "constructor", " ", "\u0000", "\ud83d\ude00", "a\nb"]) {
        expect(brief(await subscribe(client, id)), JSON.stringify(id)).toEqual(["subscribed", "snapshot"]);
        expect(await client.ask({ type: "unsubscribe", id })).toMatchObject({ type: "unsubscribed", id });
      }
    },
  },
  {
    name: "[3.2] counts the live queries of each connection from 1, also when other connections follow them",
    async run(world) {
      await world.notes.insertOne({ _id: `${world.me}/0`, owner: world.me });
      const filters = [{ n: 1 }, { n: 2 }, { title: null }];
      for (const order of [
        [0, 1, 2],
        [2, 0, 1],
        [1, 2, 0],
      ]) {
        const client = await world.connect({ sub: world.me });
        for (const [index, which] of order.entries()) {
          const answer = await subscribe(client, `${which}`, { filter: filters[which] });
          expect(answer).toMatchObject({ type: "subscribed", query: index + 1 });
        }
        await world.notes.insertOne({ _id: `${world.me}/${order.join("")}`, owner: world.me });
        await client.fence(await world.now());
        // Changes come under the number of this very connection.
        expect(new Set(ofType(client, "added").map((added) => added["query"]))).toEqual(
          new Set([order.indexOf(2) + 1]),
        );
        // Another live query gets another number, and one that is followed again its own.
        await client.ask({ type: "unsubscribe", id: "2" });
        expect(await subscribe(client, "more", { filter: { n: 3 } })).toMatchObject({ query: 4 });
        const again = await subscribe(client, "again", { filter: filters[2] });
        expect(again).toMatchObject({ query: order.indexOf(2) + 1 });
      }
    },
  },
  {
    name: "[3.3] shared: an equal subscription of the same connection receives the live query's number, and nothing twice",
    async run(world) {
      await world.notes.insertOne({ _id: `${world.me}/0`, owner: world.me });
      const client = await world.connect({ sub: world.me });
      const first = await subscribe(client, "a", { filter: { $and: [{ n: { $ne: 1 } }, { title: null }] } });
      const second = await subscribe(client, "b", { filter: { title: null, n: { $ne: 1 } } });
      expect(second).toMatchObject({ type: "subscribed", start: "shared", query: first["query"] });
      expect(Object.keys(second)).toEqual(["type", "id", "query", "start", "cursor", "ticket"]);
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me });
      await client.fence(await world.now());
      expect(ofType(client, "snapshot")).toHaveLength(1);
      expect(ofType(client, "added")).toHaveLength(1);
      await client.ask({ type: "unsubscribe", id: "a" });
      await world.notes.insertOne({ _id: `${world.me}/2`, owner: world.me });
      await client.fence(await world.now());
      expect(ofType(client, "added")).toHaveLength(2);
      await client.ask({ type: "unsubscribe", id: "b" });
      await world.notes.insertOne({ _id: `${world.me}/3`, owner: world.me });
      await client.fence(await world.now());
      expect(ofType(client, "added")).toHaveLength(2);
    },
  },
  {
    name: "[3.3] shared: of subscriptions sent in one breath one reads, and each is answered",
    async run(world) {
      await world.notes.insertOne({ _id: `${world.me}/0`, owner: world.me });
      const client = await world.connect({ sub: world.me });
      const ids = ["a", "b", "c", "d"];
      for (const id of ids) client.send({ type: "subscribe", id, collection: "notes" });
      await client.fence(await world.now());
      const answers = ofType(client, "subscribed");
      expect(answers.map((answer) => answer["id"]).sort()).toEqual(ids);
      expect(answers.map((answer) => answer["start"]).sort()).toEqual([
        "shared",
        "shared",
        "shared",
        "snapshot",
      ]);
      expect(new Set(answers.map((answer) => answer["query"])).size).toBe(1);
      expect(ofType(client, "snapshot")).toHaveLength(1);
    },
  },
  {
    name: "[3.3] shared: one that wants the documents where another began without gets a snapshot, which replaces",
    async run(world) {
      await world.notes.insertOne({ _id: `${world.me}/0`, owner: world.me });
      await world.settled();
      const client = await world.connect({ sub: world.me });
      const first = await subscribe(client, "a", { snapshot: false });
      const second = await subscribe(client, "b");
      expect(second).toMatchObject({ start: "snapshot", query: first["query"] });
      const third = await subscribe(client, "c", { snapshot: false });
      expect(third).toMatchObject({ start: "shared", query: first["query"] });
      await client.fence(await world.now());
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me });
      await client.fence(await world.now());
      expect(ofType(client, "snapshot")).toHaveLength(1);
      expect(ofType(client, "added")).toHaveLength(1);
      expect(held(client.received.filter(({ type }) => type !== "subscribed"))).toHaveLength(2);
    },
  },
  {
    name: "[3.1] many subscriptions of one connection each get theirs",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      const ids = Array.from({ length: 50 }, (_, n) => `${n}`);
      for (const id of ids)
        client.send({ type: "subscribe", id, collection: "notes", filter: { n: Number(id) } });
      await client.fence(await world.now());
      await world.notes.insertMany(
        ids.map((id) => ({ _id: `${world.me}/${id}`, owner: world.me, n: Number(id) })),
      );
      await client.fence(await world.now());
      const queryOf = new Map(ofType(client, "subscribed").map((answer) => [answer["query"], answer["id"]]));
      const got = ofType(client, "added").map((added) => [
        queryOf.get(added["query"]),
        `${(added["doc"] as { n: number }).n}`,
      ]);
      expect(got.sort()).toEqual(ids.map((id) => [id, id]).sort());
    },
  },
];

const REFRESH: readonly Scenario[] = [
  {
    name: "[3.1] refresh takes a new token of the same user, and answers with the new expiry",
    async run(world) {
      const client = await world.connect({ sub: world.me }, { expiresInSeconds: 100 });
      await subscribe(client, "a");
      const token = await signToken({ sub: world.me }, 500);
      const from = client.received.length;
      client.send({ type: "refresh", token });
      await client.until(({ type }) => type === "refreshed", from);
      await client.fence(await world.now());
      const refreshed = client.received.slice(from).filter(({ type }) => type !== "snapshot");
      expect(refreshed.map(({ type }) => type)).toEqual(["refreshed", "tickets", "fenced"]);
      const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
      expect(refreshed[0]).toEqual({ type: "refreshed", expires: exp * 1_000 });
    },
  },
  {
    name: "[3.1] refresh with another user's token is forbidden, with a bad one unauthenticated; the old stays in force",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      await subscribe(client, "a");
      const refused: readonly (readonly [string, string])[] = [
        [await signToken({ sub: `${world.me}-other` }), "forbidden"],
        [await signToken({ noSub: true }), "forbidden"],
        ["nonsense", "unauthenticated"],
        [await tokenOf({ sub: world.me, exp: seconds(-10) }), "unauthenticated"],
      ];
      for (const [token, code] of refused) {
        const from = client.received.length;
        client.send({ type: "refresh", token });
        expect(await client.until(({ type }) => type === "error", from)).toMatchObject({ code });
      }
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me });
      await client.fence(await world.now());
      expect(ofType(client, "added")).toHaveLength(1);
    },
  },
  {
    name: "[4] refresh to narrower claims: the living subscription is reset to what may be seen now, at once",
    async run(world) {
      const other = `${world.me}-other`;
      await world.notes.insertMany([
        { _id: `${world.me}/1`, owner: world.me, title: world.me, secret: "s" },
        { _id: `${other}/1`, owner: other, title: world.me },
      ]);
      const filter = { title: world.me };
      const client = await world.connect({ sub: world.me, roles: ["admin"] });
      const first = await subscribe(client, "a", { filter });
      await client.fence(await world.now());
      expect(held(client.received)).toHaveLength(2);
      const from = client.received.length;
      client.send({ type: "refresh", token: await signToken({ sub: world.me }) });
      const again = await client.until(({ type }) => type === "subscribed", from);
      expect(again).toMatchObject({ id: "a", start: "reset", reason: "rights-changed" });
      expect(again?.["query"]).not.toBe(first["query"]);
      expect(again?.["ticket"]).not.toBe(first["ticket"]);
      await world.notes.updateOne({ _id: `${other}/1` }, { $set: { n: 1 } });
      await client.fence(await world.now());
      expect(held(client.received.slice(from))).toEqual([
        { _id: `${world.me}/1`, owner: world.me, title: world.me },
      ]);
      expect(JSON.stringify(client.received.slice(from))).not.toContain(`${other}/1`);
    },
  },
  {
    name: "[4] refresh to claims that no rule serves ends the subscription as forbidden, and the connection lives",
    async run(world) {
      const client = await world.connect({ sub: world.me, roles: ["admin"] });
      await subscribe(client, "a", { collection: "staff" });
      await subscribe(client, "b", { filter: { owner: world.me } });
      const from = client.received.length;
      client.send({ type: "refresh", token: await signToken({ sub: world.me }) });
      expect(await client.until(({ type }) => type === "unsubscribed", from)).toEqual({
        type: "unsubscribed",
        id: "a",
        reason: "forbidden",
      });
      await world.db.collection("staff").insertOne({ n: 1 });
      await client.fence(await world.now());
      expect(ofType(client, "added")).toEqual([]);
      expect(await client.ask({ type: "unsubscribe", id: "a" })).toMatchObject({ code: "unknown-id" });
      expect(await client.ask({ type: "unsubscribe", id: "b" })).toMatchObject({ type: "unsubscribed" });
    },
  },
  {
    name: "[3.1] announces once that the token expires, then stops pushing and closes with 4100",
    async run(world) {
      const client = await world.connect({ sub: world.me }, { expiresInSeconds: 6 });
      await subscribe(client, "a");
      const [welcome] = ofType(client, "welcome");
      expect((await client.untilClosed()).code).toBe(4100);
      expect(Date.now()).toBeGreaterThanOrEqual(Number(welcome?.["expires"]));
      expect(ofType(client, "expiring")).toHaveLength(1);
      expect(Number(ofType(client, "expiring")[0]?.["inMs"])).toBeLessThanOrEqual(6_000);
      expect(client.received.at(-1)).toMatchObject({
        type: "error",
        code: "unauthenticated",
        retry: "token",
      });
    },
  },
  {
    name: "[3.1] a refresh in time keeps the connection beyond the first token's expiry",
    async run(world) {
      const client = await world.connect({ sub: world.me }, { expiresInSeconds: 6 });
      await client.until(({ type }) => type === "expiring");
      client.send({ type: "refresh", token: await signToken({ sub: world.me }, 600) });
      await client.until(({ type }) => type === "refreshed");
      const first = Number(ofType(client, "welcome")[0]?.["expires"]);
      await eventually(() => Date.now() > first + 200, "Date.now()");
      await client.fence(await world.now());
      expect(client.closed).toBeUndefined();
      expect(ofType(client, "expiring")).toHaveLength(1);
    },
  },
];

const FENCES: readonly Scenario[] = [
  {
    name: "[3.1] fenced comes once all changes up to the operation time have been sent: read your own writes",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      await subscribe(client, "a");
      for (let n = 0; n < 20; n++) {
        await world.notes.insertOne({ _id: `${world.me}/${n}`, owner: world.me });
        const fenced = await client.fence(await world.now());
        expect(Object.keys(fenced)).toEqual(["type", "id", "cursor"]);
        expect(ofType(client, "added")).toHaveLength(n + 1);
      }
    },
  },
  {
    name: "[3.1] a fence waits for the snapshot of a subscription that is just being made",
    async run(world) {
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me });
      const client = await world.connect({ sub: world.me });
      const { t, i } = await world.now();
      client.send({ type: "subscribe", id: "a", collection: "notes" });
      client.send({ type: "fence", id: "f", operationTime: { $timestamp: { t, i } } });
      await client.until(({ type }) => type === "fenced");
      const types = client.received.map(({ type }) => type).filter((type) => type !== "watermark");
      expect(types).toEqual(["welcome", "subscribed", "snapshot", "fenced"]);
    },
  },
  {
    name: "[3.1] a fence on a time that does not come is unavailable after limits.fenceTimeout; [8] 16 may wait",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      const { t, i } = await world.now();
      const operationTime = { $timestamp: { t: t + 3_600, i } };
      for (let n = 0; n < 17; n++) client.send({ type: "fence", id: `f${n}`, operationTime });
      await eventually(() => ofType(client, "error").length === 17, "ofType(client, 'error').length");
      const [tooMany, ...timedOut] = ofType(client, "error");
      expect(tooMany).toMatchObject({
        code: "too-many-requests",
        id: "f16",
        retry: "later",
        details: { limit: "fences", value: 16 },
      });
      expect(timedOut.map((error) => [error["code"], error["id"], error["retry"]])).toEqual(
        Array.from({ length: 16 }, (_, n) => ["unavailable", `f${n}`, "later"]),
      );
      expect(await client.fence(await world.now())).toMatchObject({ type: "fenced" });
    },
  },
];

const CLOCKS: readonly Scenario[] = [
  {
    name: "[3.2] an idle connection gets a watermark at least every heartbeat, good to resume from",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      const { ticket } = (await subscribe(client, "a")) as unknown as { ticket: string };
      const startMs = Date.now();
      await eventually(() => ofType(client, "watermark").length >= 3, "ofType(client, 'watermark').length");
      expect(Date.now() - startMs).toBeLessThan(3 * 1_000 + 10_000);
      const cursor = String(ofType(client, "watermark").at(-1)?.["cursor"]);
      const again = await world.follow({ sub: world.me }, { collection: "notes", cursor, ticket });
      expect(brief(again.answer)).toEqual(["subscribed", "resumed"]);
    },
  },
  {
    name: "[3.2] watermarks come beside traffic too, so that a quiet query's cursor stays young",
    async run(world) {
      const client = await world.connect({ sub: world.me });
      await subscribe(client, "busy");
      const busy = setInterval(() => client.send({ type: "ping" }), 50);
      await eventually(() => ofType(client, "watermark").length >= 2, "ofType(client, 'watermark').length");
      clearInterval(busy);
    },
  },
  {
    name: "[6] pings at every heartbeat, and closes with 4000 who gives no sign of life",
    async run(world) {
      const socket = new WebSocket(world.service.url, ["tidewire.v1"], { autoPong: false });
      const received: Received[] = [];
      let pings = 0;
      socket.on("ping", () => pings++);
      socket.on("message", (data) => received.push(JSON.parse(String(data))));
      await once(socket, "open");
      socket.send(hello(await signToken({ sub: world.me })));
      const [code] = await once(socket, "close");
      expect(code).toBe(4000);
      expect(pings).toBeGreaterThan(0);
      expect(received.at(-1)).toMatchObject({ type: "error", code: "unavailable", retry: "now" });
    },
  },
  {
    name: "[6] any frame from the client counts as an answer",
    async run(world) {
      const socket = new WebSocket(world.service.url, ["tidewire.v1"], { autoPong: false });
      await once(socket, "open");
      socket.send(hello(await signToken({ sub: world.me })));
      let pings = 0;
      socket.on("ping", () => {
        pings++;
        socket.send('{"type":"ping"}');
      });
      await eventually(() => pings >= 3, "pings");
      expect(socket.readyState).toBe(WebSocket.OPEN);
      socket.terminate();
    },
  },
  {
    name: "[3.1] a silent client is closed with 4408, with or without a hello",
    async run(world) {
      const client = await world.open();
      expect((await client.untilClosed()).code).toBe(4408);
      expect(client.received).toMatchObject([{ type: "error", code: "bad-request", retry: "never" }]);
    },
  },
];

const ws = (scenarios: readonly Scenario[]) =>
  scenarios.map((scenario) => ({ ...scenario, only: "ws" as const }));

export const CONNECTIONS = ws([...HELLO, ...IDS, ...REFRESH]);
/** Need `limits.fenceTimeout` and `server.heartbeat` to be short. */
export const IMPATIENT = ws([...FENCES, ...CLOCKS]);

/** The scenarios of those who are nobody; for a service that lets them in. */
export const ANONYMOUS: readonly Scenario[] = [
  {
    name: "[3.1] without a token the user is null, and sees what the rules give to anonymous users",
    only: "ws",
    async run(world) {
      await world.notes.insertMany([
        { _id: `${world.me}/1`, owner: world.me, public: true, title: "t", secret: "s" },
        { _id: `${world.me}/2`, owner: world.me },
      ]);
      const client = await world.connect(null);
      expect(ofType(client, "welcome")[0]).toMatchObject({ user: null, expires: null });
      await subscribe(client, "a", { collection: "board", filter: { owner: world.me } });
      await client.fence(await world.now());
      expect(held(client.received)).toEqual([{ _id: `${world.me}/1`, owner: world.me, title: "t" }]);
    },
  },
  {
    name: "[3.1] a bad token does not make its bearer anonymous",
    only: "ws",
    async run(world) {
      const client = await world.open();
      client.send({ type: "hello", token: "nonsense" });
      expect((await client.untilClosed()).code).toBe(4401);
    },
  },
  {
    name: "[3.1] an anonymous connection cannot be refreshed to a user",
    only: "ws",
    async run(world) {
      const client = await world.connect(null);
      client.send({ type: "refresh", token: await signToken({ sub: world.me }) });
      expect(await client.until(({ type }) => type === "error")).toMatchObject({ code: "forbidden" });
    },
  },
  {
    name: "[5] an anonymous client receives the same answer for a forbidden collection as for a missing one, byte for byte but the name",
    async run(world) {
      const answers: string[] = [];
      for (const collection of ["notes", "staff", "nosuch"]) {
        const reader = await world.follow(null, { collection });
        expect(reader.answer).toMatchObject({ type: "error", code: "unknown-collection" });
        answers.push(JSON.stringify(reader.answer).replaceAll(collection, "NAME"));
      }
      expect(new Set(answers).size).toBe(1);
    },
  },
  {
    name: "[3.3] an anonymous client resumes with an anonymous ticket, and not with a user's ticket",
    async run(world) {
      const filter = { owner: world.me };
      const first = await world.follow(null, { collection: "board", filter });
      await first.settle();
      const again = await world.follow(null, { collection: "board", filter, ...first.place });
      expect(brief(again.answer)).toEqual(["subscribed", "resumed"]);
      const somebody = await world.follow({ sub: world.me }, { collection: "board", filter, ...first.place });
      expect(brief(somebody.answer)).toEqual(["subscribed", "reset", "cursor-invalid"]);
      await somebody.settle();
      const back = await world.follow(null, { collection: "board", filter, ...somebody.place });
      expect(brief(back.answer)).toEqual(["subscribed", "reset", "cursor-invalid"]);
    },
  },
];

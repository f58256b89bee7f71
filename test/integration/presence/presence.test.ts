/** Presence on one node: who may enter, what followers see, and how an entry ends. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { ask } from "../../support/http-client.ts";
import { change, changesOf, enter, PATIENCE, startPresence } from "../../support/presence.ts";
import { SECRET, signToken, startTestService } from "../../support/service.ts";
import { SocketIoClient } from "../../support/socketio-client.ts";

test("[3.5] followers see an entry, its new data and its end, and no field of the service", async () => {
  const { connect, follow } = await startPresence();
  const follower = await follow("r1");
  const ada = await connect({ sub: "ada" });
  expect(await enter(ada, "r1", { data: { typing: false } })).toEqual({ type: "entered", id: "e" });
  const { doc } = await change(follower, "added");
  expect(doc).toEqual({
    _id: expect.any(String),
    room: "r1",
    user: "ada",
    data: { typing: false },
    since: expect.any(String),
  });
  await enter(ada, "r1", { data: { typing: true } });
  const { doc: changed } = await change(follower, "changed");
  expect(changed).toEqual({ ...(doc as object), data: { typing: true } });
  const from = ada.received.length;
  ada.send({ type: "leave", id: "e" });
  expect(await ada.until(({ type }) => type === "left", from)).toEqual({
    type: "left",
    id: "e",
    reason: "requested",
  });
  expect(await change(follower, "removed")).toMatchObject({ _id: (doc as { _id: string })._id });
});

test("[3.5] two tabs of a user are two entries, and the same tab is one", async () => {
  const { connect, entries } = await startPresence();
  const [one, two] = [await connect({ sub: "ada" }), await connect({ sub: "ada" })];
  await enter(one, "r1");
  await enter(two, "r1");
  expect(await entries.countDocuments()).toBe(1);
  await enter(two, "r1", { id: "f", tab: "tab-2" });
  expect(await entries.countDocuments()).toBe(2);
});

const [A, B] = ["https://a.example", "https://b.example"];
const issuedBy = (issuer: string[]) => ({ jwt: { algorithms: ["HS256"], secret: SECRET, issuer } });

test("[3.5] with several issuers an entry names the issuer, so that users who share a sub differ; with one it does not", async () => {
  const several = await startPresence({ auth: issuedBy([A, B]) });
  const follower = await several.follow("r1", { sub: "follower", iss: A });
  for (const [n, iss] of [A, B].entries()) {
    await enter(await several.connect({ sub: "ada", iss }), "r1");
    const isNew = ({ type }: { type: string }) => type === "added" && changesOf(follower).length > n;
    expect(await follower.until(isNew, 0)).toBeDefined();
  }
  const shown = changesOf(follower).map((one) => one["doc"]);
  const entry = { _id: expect.any(String), room: "r1", user: "ada", data: null, since: expect.any(String) };
  expect(shown).toEqual([
    { ...entry, iss: A },
    { ...entry, iss: B },
  ]);
  const one = await startPresence({ auth: issuedBy([A]) });
  const alone = await one.follow("r1", { sub: "follower", iss: A });
  await enter(await one.connect({ sub: "ada", iss: A }), "r1");
  expect((await change(alone, "added"))["doc"]).toEqual(entry);
});

test("[3.5] rules of presence see the issuer, and an entry from before there were several receives it", async () => {
  const { connect, entries } = await startPresence({
    auth: issuedBy([A, B]),
    presence: { rules: [{ name: "those of A", filter: { iss: A } }] },
  });
  const ada = await connect({ sub: "ada", iss: A });
  expect(await enter(ada, "r1")).toMatchObject({ type: "entered" });
  expect(await enter(await connect({ sub: "ada", iss: B }), "r1")).toMatchObject({ code: "forbidden" });
  await entries.updateOne({ room: "r1" }, { $unset: { iss: "" } });
  const again = await connect({ sub: "ada", iss: A });
  expect(await enter(again, "r1")).toMatchObject({ type: "entered" });
  expect(await entries.find().toArray()).toMatchObject([{ user: "ada", iss: A }]);
});

test("[3.5] an entry that is left and entered again at once is there", async () => {
  const { connect, entries } = await startPresence();
  const ada = await connect({ sub: "ada" });
  ada.send({ type: "enter", id: "a", room: "r1", tab: "t" });
  ada.send({ type: "leave", id: "a" });
  ada.send({ type: "enter", id: "b", room: "r1", tab: "t" });
  expect(await ada.until((message) => message.type === "entered" && message.id === "b")).toBeDefined();
  ada.send({ type: "leave", id: "b" });
  ada.send({ type: "enter", id: "c", room: "r1", tab: "t", data: { n: 1 } });
  expect(await ada.until((message) => message.type === "entered" && message.id === "c")).toBeDefined();
  expect(await entries.findOne({}, { projection: { _id: 0, data: 1 } })).toEqual({ data: { n: 1 } });
  expect(ada.received.filter(({ type }) => type === "left").map((message) => message["reason"])).toEqual([
    "requested",
    "requested",
  ]);
});

test("[3.5] data of any shape is stored as it is, and names that MongoDB would interpret are refused", async () => {
  const { connect, entries, follow } = await startPresence();
  const follower = await follow("r1");
  const ada = await connect({ sub: "ada" });
  const data = { _bsontype: "ObjectId", "a.b": [null, { __proto__x: 1.5 }], "": "ü" };
  expect(await enter(ada, "r1", { data })).toMatchObject({ type: "entered" });
  expect((await change(follower, "added"))["doc"]).toMatchObject({ data });
  expect(await entries.countDocuments({ "data._bsontype": "ObjectId" })).toBe(1);
  for (const bad of [{ $set: 1 }, { a: [{ $date: "2026-01-01" }] }, [], "text", null])
    expect(await enter(ada, "r1", { id: "bad", data: bad })).toMatchObject({ code: "bad-request" });
  expect(await enter(ada, "r\ud800", { id: "bad" })).toMatchObject({ code: "bad-request" });
});

/** Objects in one another. */
const nested = (levels: number): object =>
  JSON.parse(`${'{"a":'.repeat(levels - 1)}{}${"}".repeat(levels - 1)}`);

test("[3.5] data that nests deeper than MongoDB stores is refused, and those who enter at the same time are not affected", async () => {
  const { connect, follow, entries, service } = await startPresence({
    limits: { messageDepth: 1_000 },
    presence: { rules: [{ name: "anyone", allow: { dataBytes: "16KiB" } }] },
  });
  const follower = await follow("r1");
  const clients = await Promise.all(["deepest", "u1", "u2", "u3"].map((sub) => connect({ sub })));
  const [deepest, ...others] = clients as [(typeof clients)[0], ...typeof clients];
  for (const levels of [400, 190, 100, 900]) {
    const answers = await Promise.all([
      enter(deepest, "r1", { data: nested(levels) }),
      ...others.map((other) => enter(other, "r1", { data: { levels } })),
    ]);
    expect([levels, answers]).toMatchObject([
      levels,
      [
        { code: "bad-request", details: { problems: [{ path: "data" }] } },
        ...others.map(() => ({ type: "entered" })),
      ],
    ]);
  }
  expect(await entries.countDocuments({ "data.levels": 900 })).toBe(3);
  const from = follower.received.length;
  expect(await enter(deepest, "r1", { data: nested(99) })).toMatchObject({ type: "entered" });
  expect((await change(follower, "added", from))["doc"]).toMatchObject({ user: "deepest", data: nested(99) });
  const url = (levels: number) =>
    `http://127.0.0.1:${service.address.port}/v1/enter?room=r2&tab=t&data=${JSON.stringify(nested(levels))}`;
  const Authorization = `Bearer ${await signToken({ sub: "polls" })}`;
  const statuses = [99, 100].map(
    async (levels) => (await ask("POST", url(levels), { Authorization })).status,
  );
  expect(await Promise.all(statuses)).toEqual([200, 400]);
});

test("[3.5] refuses clients without a user, rooms without a rule, and too much of anything, each on both sides", async () => {
  const { connect, entries } = await startPresence({
    auth: { anonymous: true },
    presence: {
      rules: [
        {
          name: "staff",
          when: { "%%user.role": "staff" },
          filter: { room: { $in: ["r1", "r2", "r3"] }, user: "%%user.sub", "data.mood": { $ne: "bad" } },
          allow: { dataBytes: "20B", rooms: 2 },
        },
      ],
    },
  });
  const anonymous = await connect();
  expect(await enter(anonymous, "r1")).toMatchObject({ code: "unauthenticated" });
  const nobody = await connect({ role: "staff" });
  expect(await enter(nobody, "r1")).toMatchObject({ code: "unauthenticated" });
  const guest = await connect({ sub: "guest" });
  expect(await enter(guest, "r1")).toMatchObject({ code: "forbidden" });
  const ada = await connect({ sub: "ada", role: "staff" });
  expect(await enter(ada, "r9")).toMatchObject({ code: "forbidden" });
  const data = { text: "123456789" }; // 20 bytes as JSON
  expect(await enter(ada, "r1", { data })).toMatchObject({ type: "entered" });
  expect(await enter(ada, "r1", { data: { text: "1234567890" } })).toMatchObject({
    code: "bad-request",
    details: { limit: "dataBytes", value: 20 },
  });
  expect(await enter(ada, "r1", { data: { mood: "bad" } })).toMatchObject({ code: "forbidden" });
  expect(await enter(ada, "r1", { id: "other" })).toMatchObject({ code: "duplicate-id" });
  expect(await enter(ada, "r2")).toMatchObject({ code: "duplicate-id" });
  expect(await enter(ada, "r2", { id: "f" })).toMatchObject({ type: "entered" });
  expect(await enter(ada, "r3", { id: "g" })).toMatchObject({
    code: "too-many-subscriptions",
    details: { limit: "rooms", value: 2 },
  });
  expect(await ada.ask({ type: "leave", id: "g" })).toMatchObject({ code: "unknown-id" });
  await ada.ask({ type: "leave", id: "f" });
  expect(await enter(ada, "r3", { id: "g" })).toMatchObject({ type: "entered" });
  expect(await entries.find({}, { projection: { _id: 0, room: 1, data: 1 } }).toArray()).toEqual([
    { room: "r1", data },
    { room: "r3", data: null },
  ]);
});

test("[3.5] a service without presence says so", async () => {
  const { connect } = await startTestService({ collections: { items: { rules: [{ name: "all" }] } } });
  const ada = await connect({ sub: "ada" });
  expect(await enter(ada, "r1")).toMatchObject({ code: "bad-request" });
  expect(await ada.ask({ type: "leave", id: "e" })).toMatchObject({ code: "bad-request" });
});

test("a node has at most presence.entries entries, and room again after one has left", async () => {
  const { connect } = await startPresence({ presence: { entries: 2 } });
  const ada = await connect({ sub: "ada" });
  for (const room of ["r1", "r2"])
    expect(await enter(ada, room, { id: room })).toMatchObject({ type: "entered" });
  expect(await enter(ada, "r3", { id: "r3" })).toMatchObject({
    code: "unavailable",
    details: { limit: "entries", value: 2 },
  });
  await ada.ask({ type: "leave", id: "r1" });
  expect(await enter(ada, "r3", { id: "r3" })).toMatchObject({ type: "entered" });
});

test("followers have filters, counts and the rules of the collection, and cannot ask for the node of an entry", async () => {
  const { connect } = await startPresence({
    collections: { presence: { rules: [{ name: "own rooms", filter: { room: { $in: "%%user.rooms" } } }] } },
  });
  const ada = await connect({ sub: "ada" });
  await enter(ada, "r1", { id: "1" });
  await enter(ada, "r2", { id: "2" });
  const bob = await connect({ sub: "bob", rooms: ["r1"] });
  await bob.ask({ type: "subscribe", id: "all", collection: "presence" });
  const snapshot = await bob.until((message) => message.type === "snapshot" && message.last);
  expect(snapshot?.["docs"]).toMatchObject([{ room: "r1" }]);
  await bob.ask({ type: "subscribe", id: "count", collection: "presence", aggregate: { by: "room" } });
  const counts = await bob.until((message) => message.type === "snapshot" && message["query"] === 2);
  expect(counts?.["docs"]).toEqual([{ _id: "r1", count: 1 }]);
  const hidden = { type: "subscribe", id: "h", collection: "presence", filter: { node: { $exists: true } } };
  expect(await bob.ask(hidden)).toMatchObject({ code: "forbidden", details: { path: "node" } });
});

test("a client that is cut off for less than the ttl was never away, and its return writes nothing", async () => {
  const { connect, follow, countWrites } = await startPresence();
  const follower = await follow("r1");
  await enter(await connect({ sub: "ada" }), "r1", { data: { n: 1 } });
  await change(follower, "added");
  const writes = await countWrites();
  for (let i = 0; i < 20; i++) {
    const cut = await connect({ sub: "ada" });
    expect(await enter(cut, "r1", { data: { n: 1 } })).toMatchObject({ type: "entered" });
    cut.socket.terminate();
  }
  const back = await connect({ sub: "ada" });
  await enter(back, "r1", { data: { n: 1 } });
  // Longer than the ttl after the first cut.
  await sleep(4_500);
  expect(await writes()).toBe(0);
  expect(changesOf(follower)).toHaveLength(1);
});

test("a connection that ends without leave leaves after the ttl, and not before", async () => {
  const { connect, follow } = await startPresence();
  const follower = await follow("r1");
  const ada = await connect({ sub: "ada" });
  await enter(ada, "r1");
  await change(follower, "added");
  const cutAtMs = performance.now();
  ada.socket.terminate();
  await change(follower, "removed");
  expect(performance.now() - cutAtMs).toBeGreaterThan(3_000);
});

test("[7] clients without a WebSocket enter by repeated requests, and leave at once", async () => {
  const { service, follow, entries } = await startPresence();
  const follower = await follow("r1");
  const base = `http://127.0.0.1:${service.address.port}/v1`;
  const headers = { Authorization: `Bearer ${await signToken({ sub: "ada" })}` };
  const post = async (path: string) => {
    const response = await fetch(`${base}/${path}`, { method: "POST", headers });
    return { status: response.status, body: await response.json() };
  };
  const data = encodeURIComponent(JSON.stringify({ n: 1 }));
  const entered = await post(`enter?room=r1&tab=t&data=${data}`);
  expect(entered).toEqual({ status: 200, body: { type: "entered", ttl: 3_000 } });
  expect((await change(follower, "added"))["doc"]).toMatchObject({ user: "ada", data: { n: 1 } });
  for (let i = 0; i < 5; i++) {
    await sleep(1_000);
    await post(`enter?room=r1&tab=t&data=${data}`);
  }
  expect(changesOf(follower)).toHaveLength(1);
  expect(await post("leave?room=r1&tab=t")).toEqual({
    status: 200,
    body: { type: "left", reason: "requested" },
  });
  await change(follower, "removed");
  await post("enter?room=r2&tab=t");
  await expect.poll(() => entries.countDocuments(), PATIENCE).toBe(0);
  expect(await post("enter?room=r1")).toMatchObject({ status: 400, body: { code: "bad-request" } });
  expect(await post("enter?room=r1&tab=t&data={")).toMatchObject({
    status: 400,
    body: { code: "bad-request" },
  });
  const anonymous = await fetch(`${base}/enter?room=r1&tab=t`, { method: "POST" });
  expect(anonymous.status).toBe(401);
});

test("clients of Socket.IO enter and leave by events with acknowledgements", async () => {
  const { service, name, entries } = await startPresence({ server: { socketio: true } });
  const client = await SocketIoClient.connect(`http://127.0.0.1:${service.address.port}/${name}`, {
    auth: { token: await signToken({ sub: "ada" }) },
  });
  expect(await client.ask("enter", { room: "r1", tab: "t", id: "e" })).toEqual({ type: "entered", id: "e" });
  expect(await entries.countDocuments()).toBe(1);
  expect(await client.ask("leave", { id: "e" })).toMatchObject({ type: "left", reason: "requested" });
  expect(await entries.countDocuments()).toBe(0);
});

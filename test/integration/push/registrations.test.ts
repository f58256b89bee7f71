/** Push registrations: who may make them, what is sent, and that nothing is sent without a right (docs/protocol.md, section 7.1). */
import { connect } from "node:net";
import { jwtVerify } from "jose";
import type { Db } from "mongodb";
import { expect, test } from "vitest";
import { PushStore } from "../../../src/source/push-store.ts";
import { testDatabase } from "../../support/mongod.ts";
import { PushClient } from "../../support/push-client.ts";
import { ORDERS, startPushService } from "../../support/push-world.ts";
import { signToken, startTestService } from "../../support/service.ts";

test("[7.1] a user who is not connected receives a document that matches, with the texts of its visible fields", async () => {
  const { as, endpoint, orders } = await startPushService({ urgency: "high", ttl: "1h" });
  const browser = endpoint.subscription("browser");
  const id = await as("ada").registered(browser, { filter: { status: "open" }, data: { page: 1 } });
  await orders.insertOne({ _id: "other", number: 1, owner: "bob", status: "open" });
  await orders.insertOne({ _id: "sent", number: 2, owner: "ada", status: "sent" });
  await orders.insertOne({ _id: "o/3", number: 3, owner: "ada", status: "open", item: "tea", margin: 99 });
  await endpoint.until(({ title }) => title === "Order 3");
  const [push] = endpoint.received;
  expect(endpoint.received).toHaveLength(1);
  expect(push?.payload).toEqual({
    title: "Order 3",
    body: "tea for ada",
    url: "/orders/o%2F3",
    data: { page: 1 },
    collection: "orders",
    change: "added",
    registration: id,
  });
  expect(push?.headers).toMatchObject({
    ttl: "3600",
    urgency: "high",
    topic: id,
    "content-encoding": "aes128gcm",
    authorization: expect.stringMatching(/^vapid t=[\w.-]+, k=[\w-]{87}$/),
  });
});

test("[7.1] on: a document that matches at last, that changes, and that leaves, each only where it is asked for", async () => {
  const { as, endpoint, orders } = await startPushService();
  const ada = as("ada");
  const [added, changed, removed] = ["added", "changed", "removed"].map((name) =>
    endpoint.subscription(name),
  );
  await ada.registered(added!, { filter: { status: "open" } });
  await ada.registered(changed!, { filter: { status: "open" }, on: ["changed"] });
  await ada.registered(removed!, { filter: { status: "open" }, on: ["removed"] });
  await orders.insertOne({ _id: 1, number: 1, owner: "ada", status: "new" });
  await orders.updateOne({ _id: 1 }, { $set: { status: "open" } });
  await expect.poll(() => endpoint.accepted("added")).toHaveLength(1);
  await orders.updateOne({ _id: 1 }, { $set: { item: "tea" } });
  await expect.poll(() => endpoint.accepted("changed")).toHaveLength(1);
  await orders.deleteOne({ _id: 1 });
  await expect.poll(() => endpoint.accepted("removed")).toHaveLength(1);
  expect(endpoint.accepted().map(({ change, title, body }) => [change, title, body])).toEqual([
    ["added", "Order 1", " for ada"],
    ["changed", "Order 1 is open", "tea for ada"],
    ["removed", "An order has left", undefined],
  ]);
});

test("[7.1] an equal request renews the registration, and each user lists and removes only their own", async () => {
  const { as, endpoint, orders, pushes } = await startPushService();
  const [ada, bob] = [as("ada"), as("bob")];
  const browser = endpoint.subscription();
  const first = await ada.register(browser, { data: 1 });
  const second = await ada.register(browser, { data: 2 });
  expect([first.status, second.status, second.body["id"]]).toEqual([201, 201, first.body["id"]]);
  const id = String(first.body["id"]);
  expect(await ada.list()).toEqual([
    {
      id,
      collection: "orders",
      filter: {},
      on: ["added"],
      endpoint: browser.endpoint,
      data: 2,
      expires: second.body["expires"],
      state: "active",
    },
  ]);
  expect(await bob.list()).toEqual([]);
  expect((await bob.remove(id)).body).toEqual({ removed: false });
  await orders.insertOne({ _id: 1, owner: "ada" });
  await endpoint.until(({ data }) => data === 2);
  expect((await ada.remove(id)).body).toEqual({ removed: true });
  expect((await ada.remove(id)).body).toEqual({ removed: false });
  await orders.insertOne({ _id: 2, owner: "ada" });
  await expect.poll(() => pushes.countDocuments()).toBe(0);
  expect(endpoint.accepted()).toHaveLength(1);
  expect(await ada.list()).toEqual([]);
});

test("[7.1] GET names the key that browsers need, and nobody without a user gets anything", async () => {
  const { as, base, endpoint } = await startPushService();
  const { body } = await as("ada").ask("GET", "/v1/push");
  expect(body["key"]).toMatch(/^[\w-]{87}$/);
  const anonymous = await fetch(`${base}/v1/push`);
  expect([anonymous.status, ((await anonymous.json()) as { code: string }).code]).toEqual([
    401,
    "unauthenticated",
  ]);
  const nobody = new PushClient(() => base, { role: "admin" });
  expect((await nobody.register(endpoint.subscription())).body).toMatchObject({
    code: "unauthenticated",
    retry: "never",
  });
  expect((await as("ada").ask("PUT", "/v1/push")).status).toBe(405);
  expect((await as("ada").ask("GET", "/v1/push/abc")).status).toBe(405);
  expect((await as("ada").ask("GET", "/v1/push/abc/def")).status).toBe(404);
});

test("[7.1] a request is refused as a subscribe is, and what the endpoint cannot be", async () => {
  const { as, endpoint, pushes } = await startPushService();
  const [ada, browser] = [as("ada"), endpoint.subscription()];
  const codeOf = async (options: object) => {
    const { status, body } = await ada.register(browser, options);
    return [status, body["code"]];
  };
  expect(await codeOf({ collection: "notes" })).toEqual([403, "forbidden"]);
  expect(await codeOf({ collection: "none" })).toEqual([404, "unknown-collection"]);
  expect(await codeOf({ filter: { $where: "1" } })).toEqual([400, "bad-filter"]);
  expect(await codeOf({ filter: { margin: 1 } })).toEqual([403, "forbidden"]);
  expect(await codeOf({ sort: [["at", 1]] })).toEqual([400, "bad-request"]);
  expect(await codeOf({ data: "x".repeat(1_023) })).toEqual([400, "bad-request"]);
  expect(await codeOf({ data: "x".repeat(70_000) })).toEqual([400, "bad-request"]);
  const secret = { ...browser, endpoint: "https://user:hunter2@127.0.0.1/" };
  const refused = await ada.register(secret);
  expect([refused.status, JSON.stringify(refused.body)]).toEqual([
    400,
    expect.not.stringContaining("hunter2"),
  ]);
  const deep = JSON.parse(`${'{"a":'.repeat(200)}1${"}".repeat(200)}`);
  expect(await codeOf({ filter: deep })).toEqual([400, "bad-request"]);
  expect(await pushes.countDocuments()).toBe(0);
});

test("[7.1] pages of other origins may not register, and a preflight names the methods", async () => {
  const { base } = await startPushService({}, { server: { origins: ["https://app.example.com"] } });
  const ask = (origin: string, path = "/v1/push") =>
    fetch(`${base}${path}`, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
      },
    });
  const allowed = await ask("https://app.example.com");
  expect([allowed.status, allowed.headers.get("access-control-allow-methods")]).toEqual([204, "GET, POST"]);
  expect(
    (await ask("https://app.example.com", "/v1/push/abc")).headers.get("access-control-allow-methods"),
  ).toBe("DELETE");
  expect((await ask("https://evil.example.com")).status).toBe(403);
});

test("[7.1] limits.pushPerUser and limits.pushRegistrations, on both sides, also for requests that arrive together", async () => {
  const { as, endpoint, metric } = await startPushService(
    {},
    { limits: { pushPerUser: 3, pushRegistrations: 5 } },
  );
  const ada = as("ada");
  const answers = await Promise.all(Array.from({ length: 6 }, () => ada.register(endpoint.subscription())));
  const statuses = answers.map(({ status }) => status).sort();
  expect(statuses).toEqual([201, 201, 201, 429, 429, 429]);
  expect(answers.find(({ status }) => status === 429)?.body).toMatchObject({
    code: "too-many-subscriptions",
    details: { limit: expect.stringMatching(/^push/) },
  });
  expect(await ada.list()).toHaveLength(3);
  expect(await metric("tidewire_limit_hits_total")).toBe(3);
});

/** Registrations of one user, as a node writes them whose clock is `skewMs` ahead. */
function registering(state: Db, skewMs = 0) {
  const store = new PushStore(state);
  let nowMs = Date.now() + skewMs;
  const identity = {
    claims: "{}",
    sub: "ada",
    subject: "ada",
    issuedAtMs: 1,
    tokenId: null,
    signedBy: "k",
  };
  const request = { collection: "orders", filter: "{}", on: ["added"], endpoint: "https://push.example/" };
  const put = async (id: string, pushPerUser: number, lifetimeMs = 600_000) => {
    const times = { createdAtMs: ++nowMs, expiresAtMs: nowMs + lifetimeMs };
    const keys = { p256dh: "", auth: "", data: null };
    const registration = { id, partition: 0, identity, request: { ...request, ...keys }, ...times };
    const limits = { pushPerUser, pushRegistrations: 1_000 };
    return store.put({ ...registration, start: null, revision: id }, limits);
  };
  return { store, put, list: () => store.list("ada", Date.now()) };
}

test("[7.1] limits.pushPerUser holds for registrations that were removed and made again", async () => {
  const { client, name } = await testDatabase();
  const { store, put: putWithin, list } = registering(client.db(`${name}-state`));
  const put = (id: string) => putWithin(id, 2);
  // No holder erases the removed ones.
  expect([await put("a"), await put("b"), await put("c")]).toEqual([null, null, "pushPerUser"]);
  await store.remove("ada", "a");
  await store.remove("ada", "b");
  expect([await put("d"), await put("e")]).toEqual([null, null]);
  expect([await put("a"), await put("b")]).toEqual(["pushPerUser", "pushPerUser"]);
  expect([await put("d"), await put("e")]).toEqual([null, null]);
  expect((await list()).map(({ id }) => id)).toEqual(["d", "e"]);
});

test("[7.1] limits.pushPerUser does not count a registration that has expired, and counts it when it is renewed", async () => {
  const { client, name } = await testDatabase();
  const { put, list } = registering(client.db(`${name}-state`));
  // No holder erases the expired ones.
  expect([await put("a", 2, -1_000), await put("b", 2, -1_000)]).toEqual([null, null]);
  expect([await put("c", 2), await put("d", 2), await put("e", 2)]).toEqual([null, null, "pushPerUser"]);
  expect([await put("a", 2), await put("c", 2)]).toEqual(["pushPerUser", null]);
  expect(await put("a", 3)).toBeNull();
  expect((await list()).map(({ id }) => id)).toEqual(["c", "d", "a"]);
});

test("[7.1] registrations of one user that were removed or have expired, and that no node has erased, are at most twice limits.pushPerUser with the others", async () => {
  const { client, name } = await testDatabase();
  const state = client.db(`${name}-state`);
  const { store, put, list } = registering(state);
  const documents = () => state.collection("pushes").countDocuments();
  const answers = [];
  for (let n = 0; n < 10; n++) {
    answers.push(await put(`r${n}`, 2));
    await store.remove("ada", `r${n}`);
  }
  expect(answers).toEqual([null, null, null, null, ...Array.from({ length: 6 }, () => "pushPerUser")]);
  expect(await documents()).toBe(4);
  expect([await put("e0", 2, -1_000), await put("r0", 2), await put("r1", 2)]).toEqual([
    "pushPerUser",
    null,
    null,
  ]);
  // A holder erases what was removed, and the places are free.
  await store.erase([{ id: "r2", revision: "r2" }], 1n);
  await store.remove("ada", "r0");
  expect([await put("e0", 2, -1_000), await put("e1", 2)]).toEqual([null, "pushPerUser"]);
  expect(await documents()).toBe(4);
  expect((await list()).map(({ id }) => id)).toEqual(["r1"]);
});

test("[7.1] limits.pushPerUser is exact over nodes whose clocks differ, for requests that arrive together", async () => {
  const { client, name } = await testDatabase();
  const state = client.db(`${name}-state`);
  const nodes = [0, -60_000, 60_000].map((skewMs) => registering(state, skewMs));
  for (let most = 1; most <= 15; most++) {
    const asked = nodes.flatMap(({ put }, n) => [0, 1, 2].map((i) => put(`${most}-${n}-${i}`, most)));
    const answers = await Promise.all(asked);
    expect(answers.filter((refusal) => refusal === null)).toHaveLength(1);
    expect(await nodes[0]?.list()).toHaveLength(most);
  }
});

test("[7.1] the place of a registration that a node began and never made is free after a minute", async () => {
  const { client, name } = await testDatabase();
  const state = client.db(`${name}-state`);
  const { put, list } = registering(state);
  await put("a", 2);
  const users = state.collection<{ _id: string; pending: { id: string; at: Date }[] }>("pushUsers");
  const begun = (ageMs: number) =>
    users.updateOne({ _id: "ada" }, [
      { $set: { pending: [{ id: "b", at: { $subtract: ["$$NOW", ageMs] } }] } },
    ]);
  await begun(30_000);
  expect(await put("c", 2)).toBe("pushPerUser");
  // The registration itself may be asked for again.
  expect(await put("b", 2)).toBeNull();
  expect(await put("c", 2)).toBe("pushPerUser");
  await begun(60_001);
  expect(await put("c", 3)).toBeNull();
  expect((await list()).map(({ id }) => id)).toEqual(["a", "b", "c"]);
  expect((await users.findOne({ _id: "ada" }))?.pending).toEqual([]);
});

test("[7.1] a body that is larger than limits.messageBytes is refused, and not read to its end", async () => {
  const { base } = await startPushService({}, { limits: { messageBytes: "4KiB" } });
  const token = await signToken({ sub: "ada" });
  const { hostname, port } = new URL(base);
  const most = 4_096 + 1_048_576;
  const socket = connect(Number(port), hostname);
  const headers = ["host: x", `authorization: Bearer ${token}`, "content-length: 1073741824"];
  socket.write(`POST /v1/push HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`);
  socket.write(Buffer.alloc(most + 1, " "));
  let answer = "";
  for await (const part of socket) answer += part;
  expect(answer).toMatch(/^HTTP\/1.1 400 .*connection: close.*messageBytes/is);
  const whole = await fetch(`${base}/v1/push`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: " ".repeat(most),
  });
  expect([whole.status, whole.headers.get("connection")]).toEqual([400, "keep-alive"]);
});

test("[7.1] without VAPID keys there are no registrations", async () => {
  const { service } = await startTestService({ collections: ORDERS });
  const response = await fetch(`http://127.0.0.1:${service.address.port}/v1/push`, { method: "POST" });
  expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([
    404,
    expect.not.stringContaining("push"),
  ]);
});

test("[7.1] a registration outlives its token", async () => {
  const { base, endpoint, orders } = await startPushService();
  const expiresInSeconds = 2;
  const ada = new PushClient(() => base, { sub: "ada" }, expiresInSeconds);
  await ada.registered(endpoint.subscription());
  await expect.poll(async () => (await ada.ask("GET", "/v1/push")).status).toBe(401);
  await orders.insertOne({ _id: 1, owner: "ada" });
  await endpoint.until(() => true);
});

test("[7.1] a registration ends after push.lifetime or with the browser's subscription", async () => {
  const { as, endpoint, orders, pushes, metric } = await startPushService();
  const ada = as("ada");
  // Long enough for the request on a busy machine, which would be refused after that.
  const soon = Date.now() + 8_000;
  const { body } = await ada.register({ ...endpoint.subscription("soon"), expirationTime: soon as never });
  expect(body["expires"]).toBe(soon);
  const { body: lasting } = await ada.register(endpoint.subscription("lasting"));
  expect(Number(lasting["expires"])).toBeGreaterThan(Date.now() + 29 * 86_400_000);
  await expect.poll(() => pushes.countDocuments()).toBe(1);
  expect(await metric("tidewire_push_removed_total")).toBe(1);
  await orders.insertOne({ _id: 1, owner: "ada" });
  await endpoint.until(() => true);
  expect(endpoint.received.map(({ browser }) => browser)).toEqual(["lasting"]);
});

test("[7.1] a browser that registers for another user receives nothing more for the one before", async () => {
  const { as, endpoint, orders } = await startPushService();
  const [ada, bob, eve] = [as("ada"), as("bob"), as("eve")];
  const browser = endpoint.subscription("shared");
  const others = endpoint.subscription("others");
  await ada.registered(browser);
  await ada.registered(others);
  // The endpoint alone proves nothing: anybody may have learned it.
  await eve.registered({ ...browser, keys: { ...browser.keys, auth: others.keys.auth } });
  expect(await ada.list()).toHaveLength(2);
  await bob.registered(browser);
  expect((await ada.list()).map((one) => one["endpoint"])).toEqual([others.endpoint]);
  expect(await bob.list()).toHaveLength(1);
  expect(await eve.list()).toHaveLength(1);
  await orders.insertOne({ _id: 1, owner: "ada", number: 1 });
  await orders.insertOne({ _id: 2, owner: "bob", number: 2 });
  await endpoint.until(({ title }) => title === "Order 2");
  await endpoint.until(({ title }) => title === "Order 1");
  expect(endpoint.accepted("shared").map(({ title }) => title)).toEqual(["Order 2"]);
  expect(endpoint.accepted("others").map(({ title }) => title)).toEqual(["Order 1"]);
  // A renewal by the same user, who has other registrations in the same browser, removes none of them.
  await bob.registered(browser, { filter: { status: "open" } });
  await bob.registered(browser);
  expect(await bob.list()).toHaveLength(2);
});

test("[7.1] push.skipConnected skips a user who follows the same live query, and nobody else", async () => {
  const { as, endpoint, orders, connect, outcomes, settled } = await startPushService({
    skipConnected: true,
  });
  const filter = { status: "open" };
  await as("ada").registered(endpoint.subscription("ada"), { filter });
  await as("bob").registered(endpoint.subscription("bob"), { filter });
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "q", collection: "orders", filter });
  await orders.insertOne({ _id: 1, owner: "ada", status: "open" });
  await orders.insertOne({ _id: 2, owner: "bob", status: "open" });
  await endpoint.until(({ body }) => String(body).includes("bob"));
  await expect.poll(async () => (await outcomes())["skipped"]).toBe(1);
  client.socket.terminate();
  await settled();
  await orders.insertOne({ _id: 3, owner: "ada", status: "open" });
  await expect.poll(() => endpoint.accepted("ada")).toHaveLength(1);
});

test("the token of a push service is signed with the configured keys", async () => {
  const { as, endpoint, orders } = await startPushService();
  const ada = as("ada");
  await ada.registered(endpoint.subscription());
  await orders.insertOne({ _id: 1, owner: "ada" });
  await endpoint.until(() => true);
  const { authorization = "" } = endpoint.received[0]?.headers ?? {};
  const [, token = "", key = ""] = /^vapid t=(\S+), k=(\S+)$/.exec(authorization) ?? [];
  expect(key).toBe((await ada.ask("GET", "/v1/push")).body["key"]);
  const point = Buffer.from(key, "base64url");
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString("base64url"));
  const { payload } = await jwtVerify(
    token,
    { kty: "EC", crv: "P-256", x: String(x), y: String(y) },
    { audience: endpoint.url },
  );
  expect(payload.sub).toBe("mailto:ops@example.com");
});

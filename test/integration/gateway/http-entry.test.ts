/** How streams, polls and keys are asked for: parameters, methods, origins, keys. */
import { expect, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { ask, SseClient, urlOf } from "../../support/http-client.ts";
import { bearer, startHttpService } from "../../support/http-service.ts";
import { toConfig } from "../../support/service.ts";

const APP = "https://app.example.com";
const PATHS = [
  ["GET", "/v1/sse"],
  ["GET", "/v1/poll"],
  ["POST", "/v1/key"],
] as const;

test("[7] a token in a URL is refused whatever it is called, and is not repeated in the answer", async () => {
  const { url } = await startHttpService();
  const headers = await bearer();
  const token = headers["Authorization"]?.slice("Bearer ".length) ?? "";
  const parameters = [
    ...[
      "token",
      "access_token",
      "id_token",
      "accessToken",
      "jwt",
      "auth",
      "authorization",
      "bearer",
      "Token",
    ].map((name) => ({ [name]: token })),
    { key: token },
    { ticket: token, cursor: "x" },
    { key: `Bearer ${token}` },
    { [token]: "" },
    { token: "short" },
  ];
  for (const given of parameters) {
    for (const path of ["/v1/sse", "/v1/poll"]) {
      const { status, text, body } = await ask("GET", url(path, given), headers);
      expect([status, body.code], Object.keys(given)[0]?.slice(0, 20)).toEqual([400, "bad-request"]);
      expect(text).toContain("POST /v1/key");
      expect(text).not.toContain(token.slice(0, 30));
      expect(text).not.toContain("short");
    }
  }
});

test("[1] a parameter that is unknown, given twice or of the wrong kind is refused by name", async () => {
  const { base, url } = await startHttpService();
  const headers = await bearer();
  const problemsOf = async (address: string) => {
    const { status, body } = await ask("GET", address, headers);
    const problems = body.details?.["problems"] as { path: string }[] | undefined;
    return [status, ...(problems ?? []).map(({ path }) => path)];
  };
  expect(await problemsOf(url("/v1/sse", { filtre: "{}" }))).toEqual([400, "filtre"]);
  expect(await problemsOf(url("/v1/sse", { wait: 1 }))).toEqual([400, "wait"]);
  expect(await problemsOf(url("/v1/sse", { documents: "delta" }))).toEqual([400, "documents"]);
  expect(await problemsOf(url("/v1/poll", { key: "x" }))).toEqual([400, "key"]);
  expect(await problemsOf(`${url("/v1/poll", { wait: 0 })}&wait=1`)).toEqual([400, "wait"]);
  expect(await problemsOf(`${base}/v1/poll?wait=0`)).toEqual([400, "collection"]);
  const wrong = { filter: "[", sort: "at", limit: "ten", snapshot: "yes", values: "xml", wait: 61 };
  expect(await problemsOf(url("/v1/poll", wrong))).toEqual([400, ...Object.keys(wrong)]);
  expect(await problemsOf(url("/v1/poll", { filter: "[]" }))).toEqual([400, "filter"]);
  expect(await problemsOf(url("/v1/poll", { limit: 5 }))).toEqual([400, "limit"]);
  expect(await problemsOf(url("/v1/poll", { ticket: "x" }))).toEqual([400, "ticket"]);
  // An empty value counts as left out: a client may fill in what it has.
  const empty = { wait: 0, cursor: "", ticket: "", filter: "", fields: "", sort: "", limit: "", values: "" };
  expect(await problemsOf(url("/v1/poll", empty))).toEqual([200]);
});

test.each(PATHS)("%s %s takes no other method, and says so", async (method, path) => {
  const { base } = await startHttpService();
  for (const other of ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"].filter((name) => name !== method)) {
    const { status, headers } = await ask(other, `${base}${path}?collection=items`, await bearer());
    expect([status, headers["allow"]], other).toEqual([405, `${method}, OPTIONS`]);
  }
});

test("[8] a page of an origin that is not listed gets 403, with nothing that it could read", async () => {
  const { base } = await startHttpService({ server: { origins: [APP] } });
  for (const Origin of ["https://evil.example.com", "null", `${APP}:444`, "http://app.example.com"]) {
    for (const [method, path] of PATHS) {
      const url = `${base}${path}?collection=items`;
      const refused = await ask(method, url, { ...(await bearer()), Origin });
      expect(refused).toMatchObject({ status: 403, body: { code: "forbidden" } });
      const preflight = await ask("OPTIONS", url, { Origin, "Access-Control-Request-Method": method });
      expect(preflight.status).toBe(403);
      for (const { headers } of [refused, preflight]) {
        expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
      }
    }
  }
});

test("[8] a page of a listed origin may ask with a token, and reads answers and errors; never with cookies", async () => {
  const { base, stream: open } = await startHttpService({ server: { origins: [APP] } });
  for (const [method, path] of PATHS) {
    const url = `${base}${path}?collection=items&wait=0`;
    const preflight = await ask("OPTIONS", url, {
      Origin: APP,
      "Access-Control-Request-Method": method,
      "Access-Control-Request-Headers": "authorization",
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers).toMatchObject({
      "access-control-allow-origin": APP,
      "access-control-allow-methods": method,
      vary: "Origin",
    });
    expect(preflight.headers["access-control-allow-headers"]?.toLowerCase()).toContain("authorization");
    const unauthenticated = await ask(method, `${base}${path}?collection=items`, { Origin: APP });
    expect(unauthenticated.status).toBe(401);
    expect(unauthenticated.headers["access-control-allow-origin"]).toBe(APP);
    expect(unauthenticated.headers).not.toHaveProperty("access-control-allow-credentials");
  }
  const stream = await open({}, { ...(await bearer()), Origin: APP });
  expect(stream.response.headers).toMatchObject({ "access-control-allow-origin": APP, vary: "Origin" });
});

test('[8] "*" lets in every page, without naming it', async () => {
  const { base, poll, url } = await startHttpService({ server: { origins: ["*"] } });
  const Origin = "https://anywhere.example.com";
  const answer = await ask("GET", url("/v1/poll", { wait: 0 }), { ...(await bearer()), Origin });
  expect(answer.status).toBe(200);
  expect(answer.headers["access-control-allow-origin"]).toBe("*");
  expect(answer.headers).not.toHaveProperty("vary");
  const preflight = await ask("OPTIONS", `${base}/v1/key`, {
    Origin,
    "Access-Control-Request-Method": "POST",
  });
  expect(preflight.headers["access-control-allow-origin"]).toBe("*");
  // A "*" there would not cover Authorization.
  expect(preflight.headers["access-control-allow-headers"]).toContain("Authorization");
  await poll({ wait: 0 });
});

test("[7] a key opens one stream, and only the browser's own reconnection may repeat it", async () => {
  const { stream: open, refusal, items, key: giveKey } = await startHttpService();
  await items.insertOne({ _id: 1, owner: "u1" });
  const key = await giveKey();
  const stream = await open({ key }, {});
  expect((await stream.untilType("snapshot"))?.data["docs"]).toEqual([{ _id: 1, owner: "u1" }]);
  expect(stream.messages[0]).toMatchObject({ type: "welcome", user: "u1" });
  stream.cut();
  expect(await refusal({ key }, {})).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
  await items.insertOne({ _id: 2, owner: "u1" });
  const again = await open({ key }, { "Last-Event-ID": stream.lastEventId });
  expect((await again.untilType("added"))?.data["doc"]).toEqual({ _id: 2, owner: "u1" });
  expect(again.events[1]?.data["start"]).toBe("resumed");
});

test("[7] the first event already lets a browser come back with its key", async () => {
  const { stream: open, items, key: giveKey } = await startHttpService();
  await items.insertOne({ _id: 1, owner: "u1" });
  const key = await giveKey();
  const stream = await open({ key }, {});
  const { id = "" } = (await stream.untilType("subscribed"))!;
  stream.cut();
  const again = await open({ key }, { "Last-Event-ID": id });
  expect((await again.untilType("snapshot"))?.data["docs"]).toEqual([{ _id: 1, owner: "u1" }]);
});

test("[7] a spent key is no use with an id of another user, a ticket out of a URL, or an invented id", async () => {
  const { stream: open, refusal, key: giveKey, poll } = await startHttpService();
  const [mine, theirs] = await Promise.all([giveKey({ sub: "u1" }), giveKey({ sub: "u2" })]);
  const first = await open({ key: mine }, {});
  const other = await open({ key: theirs }, {});
  for (const stream of [first, other]) await stream.untilType("snapshot");
  const { ticket, cursor } = await poll({ wait: 0 });
  const [mark = ""] = first.lastEventId.split(".");
  const ids = [
    other.lastEventId,
    `${mark}.${ticket}.${cursor}`,
    `.${ticket}.${cursor}`,
    `${ticket}.${cursor}`,
    first.lastEventId.replace(/^[^.]*/, other.lastEventId.split(".")[0] ?? ""),
    "invented",
  ];
  for (const id of ids) {
    expect(await refusal({ key: mine }, { "Last-Event-ID": id }), id).toMatchObject({ status: 401 });
  }
});

test("[7] a key is valid on every node, once in total, and the ids of its stream are valid on every node", async () => {
  const { stream: open, items, key: giveKey, file } = await startHttpService();
  const other = await startService(toConfig(file));
  try {
    await expect.poll(() => other.readiness().ready, { timeout: 60_000 }).toBe(true);
    const there = (key: string) =>
      urlOf(`http://127.0.0.1:${other.address.port}`, "/v1/sse", { collection: "items", key });
    const key = await giveKey();
    const { stream } = await SseClient.open(there(key));
    await stream?.untilType("snapshot");
    stream?.cut();
    await expect(open({ key }, {})).rejects.toThrow("401");
    await items.insertOne({ _id: 1, owner: "u1" });
    const again = await open({ key }, { "Last-Event-ID": stream?.lastEventId ?? "" });
    await again.untilType("added");
    // Two nodes asked at once: one of them takes it.
    const contested = await giveKey();
    const answers = await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        const url = i % 2 === 0 ? there(contested) : undefined;
        if (url === undefined)
          return open({ key: contested }, {}).then(
            () => 200,
            () => 401,
          );
        const { stream: taken } = await SseClient.open(url);
        taken?.cut();
        return taken === undefined ? 401 : 200;
      }),
    );
    expect(answers.filter((status) => status === 200)).toHaveLength(1);
  } finally {
    await other.stop();
  }
});

test("[7] a used key is saved until its token expires, and nothing of its claims can be read", async () => {
  const { stream: open, key: giveKey, client, name } = await startHttpService();
  // Long enough that the random text of a key never contains it.
  const claims = { sub: "a-readable-sub", note: "a-readable-claim" };
  const key = await giveKey(claims);
  await open({ key }, {});
  const saved = client.db(`${name}-state`).collection("urlKeys");
  const [document, ...more] = await saved.find().toArray();
  expect(more).toEqual([]);
  expect(document?.["expiresAt"].getTime()).toBeGreaterThan(Date.now() + 3_500_000);
  expect(document?.["expiresAt"].getTime()).toBeLessThan(Date.now() + 3_700_000);
  const text = JSON.stringify(document);
  for (const hidden of [key, ...Object.values(claims)]) {
    expect(text).not.toContain(hidden);
    expect(text).not.toContain(Buffer.from(hidden).toString("base64url"));
  }
});

test("[7] a user holds auth.urlKeysPerUser keys: a further one evicts the oldest, while its stream stays open", async () => {
  const {
    stream: open,
    refusal,
    key: giveKey,
    items,
  } = await startHttpService({ auth: { urlKeysPerUser: 2 } });
  const first = await giveKey();
  const stream = await open({ key: first }, {});
  await stream.untilType("snapshot");
  const [second, theirs] = [await giveKey(), await giveKey({ sub: "u2" })];
  const unused = [await giveKey(), await giveKey()];
  for (const key of [second, first]) {
    const refused = await refusal({ key }, { "Last-Event-ID": stream.lastEventId });
    expect(refused).toMatchObject({ status: 401, body: { retry: "token", details: { reason: "invalid" } } });
  }
  await items.insertOne({ _id: 1, owner: "u1" });
  await stream.untilType("added");
  for (const key of [...unused, theirs]) await open({ key }, {});
});

test("[7] a key speaks for its token no longer than that is valid", async () => {
  const { stream: open, refusal, key: giveKey } = await startHttpService();
  const key = await giveKey({ sub: "u1" }, 2);
  const stream = await open({ key }, {});
  expect(await stream.untilEnded()).toBe("complete");
  expect(stream.messages.at(-1)).toMatchObject({ type: "error", code: "unauthenticated" });
  const refused = await refusal({ key }, { "Last-Event-ID": stream.lastEventId });
  expect(refused).toMatchObject({ status: 401, body: { retry: "token", details: { reason: "expired" } } });
});

test("[7] a key is given for a token alone, and never beside one", async () => {
  const { base, refusal, key: giveKey } = await startHttpService({ auth: { anonymous: true } });
  const none = await ask("POST", `${base}/v1/key`);
  expect(none).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
  const key = await giveKey();
  expect(await refusal({ key }, await bearer())).toMatchObject({
    status: 400,
    body: { code: "bad-request" },
  });
  const answer = await ask("POST", `${base}/v1/key`, await bearer());
  expect(answer.headers["cache-control"]).toBe("no-store");
  const { expires } = answer.body as unknown as { expires: number };
  expect(expires - Date.now()).toBeGreaterThan(25_000);
  expect(expires - Date.now()).toBeLessThanOrEqual(30_000);
  // It is random: nothing of the token is in it.
  expect(answer.body["key"]).toMatch(/^[\w-]{43}$/);
});

test("a node serves nothing else: the demo's page is the demo's alone", async () => {
  const { base } = await startHttpService();
  for (const path of ["/", "/demo", "/demo/page.js", "/demo/api/board"]) {
    const { status, text } = await ask("GET", base + path);
    expect([status, text]).toEqual([404, expect.stringContaining("there are /v1/ws")]);
  }
});

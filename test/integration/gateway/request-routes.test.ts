/** Every way in by a plain request is charged to its user, whatever address the request comes from. */
import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { dial, envelope, FOLLOW, post } from "../../support/http2-calls.ts";
import { pushSection } from "../../support/push-world.ts";
import { signToken, startTestService } from "../../support/service.ts";

const collections = {
  things: { rules: [{ name: "all" }] },
  presence: { rules: [{ name: "everyone" }] },
};
const FENCE = JSON.stringify({ operationTime: { t: 1, i: 1 } });

/** A request for each route, with its body. */
const ROUTES: readonly (readonly [method: string, path: string, body?: string])[] = [
  ["GET", "/v1/sse?collection=things"],
  ["GET", "/v1/poll?collection=things&wait=0"],
  ["POST", "/v1/key"],
  ["POST", "/v1/enter?room=r&tab=t"],
  ["POST", "/v1/leave?room=r&tab=t"],
  ["GET", "/v1/push"],
  ["POST", "/v1/push", "{}"],
  ["DELETE", "/v1/push/unknown"],
  ["POST", "/v1/connect/tidewire.v1.LiveQueries/Fence", FENCE],
  [
    "POST",
    "/v1/connect/tidewire.v1.LiveQueries/Fence",
    JSON.stringify({ ...JSON.parse(FENCE), connection: "unknown" }),
  ],
];
/** The way in that makes a connection, whose messages are charged. */
const CONNECTIONS = ["/v1/ws"];

test("limits.userRequestsPerSecond: a user has one rate for requests from all addresses, on every route", async () => {
  const { service } = await startTestService({
    collections,
    presence: { ttl: "3s", rules: [{ name: "anyone" }] },
    push: pushSection({ templates: {} }),
    server: { trustedProxies: ["127.0.0.1"], grpc: { port: 0 } },
    limits: { userRequestsPerSecond: 0.001, userRequestBurst: 2 },
  });
  const refusals = async () => {
    const hits = await service.metrics.limitHits.get();
    return hits.values.find(({ labels }) => labels["limit"] === "userRequestsPerSecond")?.value ?? 0;
  };
  const send = async ([method, path, body]: (typeof ROUTES)[number], sub: string, address: string) => {
    const leave = new AbortController();
    const token = await signToken({ sub });
    const answer = await fetch(`http://127.0.0.1:${service.address.port}${path}`, {
      method,
      signal: leave.signal,
      headers: {
        authorization: `Bearer ${token}`,
        "x-forwarded-for": address,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body }),
    });
    if (answer.status !== 200) return { status: answer.status, body: await answer.json() };
    leave.abort();
    return { status: answer.status, body: {} };
  };
  for (const [i, route] of ROUTES.entries()) {
    const [user, name] = [`user-${i}`, `${route[0]} ${route[1]}`];
    for (const address of ["192.0.2.1", "192.0.2.2"])
      expect([name, (await send(route, user, address)).status]).not.toEqual([name, 429]);
    expect([name, await refusals()]).toEqual([name, i]);
    const refused = await send(route, user, "192.0.2.3");
    expect([name, refused.status]).toEqual([name, 429]);
    if (!route[1].startsWith("/v1/connect"))
      expect(refused.body).toMatchObject({
        code: "too-many-requests",
        retry: "later",
        details: { limit: "userRequestsPerSecond", value: 0.001 },
      });
    expect([name, await refusals()]).toEqual([name, i + 1]);
  }
});

test("the table of routes is complete", async () => {
  const texts = await Promise.all(
    ["src/gateway", "src/push"].map(async (folder) => {
      const files = await readdir(folder, { recursive: true });
      const sources = files.filter((file) => file.endsWith(".ts"));
      return Promise.all(sources.map((file) => readFile(`${folder}/${file}`, "utf8")));
    }),
  );
  const found = texts
    .flat()
    .flatMap((text) => [...text.matchAll(/"(\/v1\/[\w.]+)"/g)].map(([, path]) => path));
  const known = [...ROUTES.map(([, path]) => /^\/v1\/\w+/.exec(path)?.[0]), ...CONNECTIONS];
  expect(new Set(found)).toEqual(new Set(known));
});

test("a call is charged by its size, whichever field makes it large", async () => {
  const { service } = await startTestService({
    collections,
    server: { grpc: { port: 0 } },
    limits: {
      userRequestsPerSecond: 0.001,
      userRequestBurst: 60,
      requestsPerSecond: 1_000,
      requestBurst: 1_000,
    },
  });
  const headers = async (sub: string) => ({
    "content-type": "application/connect+json",
    authorization: `Bearer ${await signToken({ sub })}`,
  });
  const follow = async (sub: string, size: number) => {
    const call = post(dial(service), FOLLOW, await headers(sub));
    const fields = Array.from({ length: 40 }, (_, n) => `${"é".repeat(size)}${n}`);
    call.end(envelope(JSON.stringify({ collection: "things", fields, snapshot: false })));
    const first = new Promise<string>((resolve) => {
      let text = "";
      call.on("data", (bytes) => {
        text += String(bytes);
        if (/subscribed|"error"/.test(text)) resolve(text);
      });
    });
    const text = await first;
    call.close();
    return text;
  };
  // About 36 KB in UTF-8, and half as many characters.
  expect(await follow("ada", 450)).toContain("subscribed");
  expect(await follow("ada", 450)).toContain("resource_exhausted");
  for (let n = 0; n < 10; n++) expect(await follow("bob", 10)).toContain("subscribed");
});

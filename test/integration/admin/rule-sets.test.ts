/** Edits of the rules over the API for admins, with the same checks as `tidewire rules push`. */
import { expect, onTestFinished, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API } from "../../../src/admin/api/endpoint.ts";
import type { AdminRole } from "../../../src/gateway/admin-options.ts";
import { configFile, runCommand } from "../../support/command.ts";
import { testDatabase, until } from "../../support/mongod.ts";
import { pushRules } from "../../support/rule-sets.ts";
import { signToken, startTestService, testConfig } from "../../support/service.ts";
import { spawnService } from "../../support/spawn-service.ts";
import { WsClient } from "../../support/ws-client.ts";

const secretOf = (name: string) => `the-secret-of-${name}-for-the-console-of-a-test`;
const tokenOf = (name: string, roles: readonly AdminRole[]) => ({
  name,
  sha256: digestOf(secretOf(name)).toString("hex"),
  roles,
});
const TOKENS = [tokenOf("ada", ["view", "edit"]), tokenOf("ben", ["view", "edit"]), tokenOf("cyd", ["view"])];

const EVERYONE = { items: { rules: [{ name: "everyone" }] } };
const OWN = `collections:
  items:
    # all items
    rules:
      - name: own
        filter: { owner: "%%user.sub" }
`;
const TESTS = `tests:
  - name: ada sees her own items
    as: { sub: ada }
    collection: items
    rule: own
    documents:
      - visible: { _id: 1, owner: ada }
      - hidden: { _id: 2, owner: ben }
`;

// Each test reads the fields that its own request is answered with.
// biome-ignore lint/suspicious/noExplicitAny: the answers of many endpoints.
type Body = any;

/** Asks the API as one admin. */
const asker = (url: string, admin: string) => async (path: string, body?: unknown) => {
  const isText = typeof body === "string";
  const headers = {
    authorization: `Bearer ${secretOf(admin)}`,
    "content-type": isText ? "text/plain" : "application/json",
  };
  const sent = isText ? body : JSON.stringify(body);
  const answer = await fetch(
    url + API + path,
    body === undefined ? { headers } : { method: "POST", headers, body: sent },
  );
  return { status: answer.status, body: (await answer.json()) as Body };
};

async function start(options: object = {}, rules: object = { from: "database" }) {
  const started = await startTestService({
    collections: EVERYONE,
    rules: { ...rules },
    server: { node: "rack-1", admin: { port: 0, tokens: TOKENS, ...options } },
  });
  const url = `http://127.0.0.1:${started.service.adminAddress.port}`;
  const as = (admin: string) => asker(url, admin);
  return { ...started, url, as, ask: as("ada") };
}

test("applies a draft with its tests, moves the subscriptions, and every node acknowledges it", async () => {
  const { ask, connect, db, service } = await start();
  await db.collection<{ _id: number }>("items").insertMany([
    { _id: 1, owner: "ada" },
    { _id: 2, owner: "ben" },
  ] as never);
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "all", collection: "items" });
  await client.until((message) => message["last"] === true);
  const begin = await ask("/rules");
  expect(begin.body).toMatchObject({ generation: 1, from: "database", parent: 1, tests: "" });
  expect(begin.body.text).toContain("everyone");
  const draft = { text: OWN, tests: TESTS, message: "owners only\n\nbecause", parent: 1 };
  const planned = await ask("/rules/apply", { ...draft, dryRun: true });
  expect(planned).toMatchObject({
    status: 200,
    body: { applied: null, isSame: false, tests: 1, live: { subscriptions: 1 }, replay: null },
  });
  expect(planned.body.live.affected).toEqual([
    { sub: "ada", isAnonymous: false, collection: "items", effect: "loses", from: "everyone", to: "own" },
  ]);
  expect((await ask("/rules")).body.parent).toBe(1);
  const applied = await ask("/rules/apply", draft);
  expect(applied).toMatchObject({ status: 200, body: { applied: 2, live: planned.body.live } });
  // A set is kept for long, without the names of users.
  const { plan } = (await ask("/rules/sets/2")).body;
  expect(plan.live).toMatchObject({ subscriptions: 1 });
  expect(JSON.stringify(plan)).not.toContain("ada");
  expect(await client.until(({ type }) => type === "removed")).toMatchObject({ cause: "grant" });
  await until("generation 2", async () => service.readiness().rulesGeneration === 2 || undefined);
  const nodes = async () => (await ask("/rules/nodes")).body;
  await until("the acknowledgement", async () => (await nodes()).nodes[0]?.generation === 2 || undefined);
  expect(await nodes()).toEqual({
    from: "database",
    inForce: 2,
    nodes: [
      {
        node: "rack-1",
        version: expect.any(String),
        generation: 2,
        at: expect.stringMatching(/Z$/),
        behind: null,
      },
    ],
  });
  expect((await ask("/rules")).body).toMatchObject({ generation: 2, parent: 2, text: OWN, tests: TESTS });
  const again = { ...draft, parent: 2, message: "again" };
  expect((await ask("/rules/apply", again)).body).toMatchObject({ applied: null, isSame: true });
  expect((await ask("/audit")).body.entries).toMatchObject([
    {
      admin: "token:ada",
      act: "apply-rules",
      target: { parent: 1, author: "token:ada", message: "owners only" },
    },
    { admin: "token:ada", act: "plan" },
  ]);
});

test("lists the sets in pages, shows one, compares two, and reverts to one as a new set", async () => {
  const { ask, as, client, name } = await start();
  for (const [admin, parent] of [
    ["ada", 1],
    ["ben", 2],
  ] as const)
    await as(admin)("/rules/apply", {
      text: OWN.replace("own", `own-${parent}`),
      message: `edit ${parent}`,
      parent,
    });
  const history = await ask("/rules/history?limit=2");
  expect(history.body).toMatchObject({
    sets: [
      { number: 3, parent: 2, author: "token:ben", message: "edit 2", testResult: null },
      { number: 2, parent: 1, author: "token:ada" },
    ],
    next: 2,
  });
  expect((await ask("/rules/history?limit=2&before=2")).body).toMatchObject({
    sets: [{ number: 1, parent: 0 }],
    next: null,
  });
  expect((await ask("/rules/sets/2")).body).toMatchObject({
    number: 2,
    text: OWN.replace("own", "own-1"),
    tests: "",
    plan: { diff: { collections: [{ collection: "items" }] } },
  });
  expect(await ask("/rules/sets/9")).toMatchObject({ status: 404, body: { code: "no-rule-set" } });
  expect((await ask("/rules/sets/1/diff")).body).toMatchObject({
    from: 1,
    to: 3,
    isSameTests: true,
    diff: { collections: [{ rules: expect.arrayContaining([expect.objectContaining({ rule: "own-2" })]) }] },
  });
  expect((await ask("/rules/sets/3/diff?to=2")).body).toMatchObject({ from: 3, to: 2 });
  const planned = await ask("/rules/revert", { number: 2, parent: 3, dryRun: true });
  expect(planned.body).toMatchObject({ applied: null, diff: { collections: [{ collection: "items" }] } });
  expect((await ask("/rules/revert", { number: 2, parent: 3 })).body).toMatchObject({ applied: 4 });
  expect((await ask("/rules/history?limit=1")).body.sets[0]).toMatchObject({
    number: 4,
    parent: 3,
    message: "Revert to rule set 2",
  });
  expect((await ask("/rules")).body.text).toContain("own-1");
  const [entry] = (await ask("/audit?act=revert-rules")).body.entries;
  expect(entry).toMatchObject({ admin: "token:ada", target: { parent: 3 } });
  // A set that another version has written.
  const sets = client.db(`${name}-state`).collection<{ _id: number }>("ruleSets");
  await sets.updateOne({ _id: 1 }, { $set: { collections: "items: { rules: [{ nme: x }] }" } });
  expect(await ask("/rules/sets/1/diff")).toMatchObject({ status: 409, body: { code: "unreadable-set" } });
  expect((await ask("/rules/revert", { number: 1, parent: 4 })).status).toBe(422);
});

test("refuses mistakes with their line, failing tests, a missing reason, and a set that is too large", async () => {
  const { ask } = await start({}, { from: "database", setBytes: "2KiB" });
  const draft = { text: OWN, message: "x", parent: 1 };
  expect(await ask("/rules/apply", { ...draft, text: OWN.replace("filter", "filtr") })).toMatchObject({
    status: 422,
    body: { problems: [{ line: 6, path: "collections.items.rules[0].filtr" }] },
  });
  expect(await ask("/rules/apply", { ...draft, tests: TESTS.replace("visible", "hidden") })).toMatchObject({
    status: 422,
    body: { tests: 1, failed: 1, failures: [{ test: "ada sees her own items" }] },
  });
  expect(await ask("/rules/apply", { ...draft, message: " " })).toMatchObject({ status: 400 });
  expect(await ask("/rules/apply", { text: OWN, parent: 1 })).toMatchObject({
    status: 400,
    body: { error: expect.stringContaining("reason") },
  });
  const atLimit = (bytes: number) => OWN.replace("all items", "x".repeat(bytes - 87));
  const sizes = async (bytes: number) =>
    (await ask("/rules/apply", { ...draft, text: atLimit(bytes), dryRun: true })).body;
  expect(await sizes(4_096)).toMatchObject({
    problems: [{ path: "", message: expect.stringMatching(/rules\.setBytes \(2KiB\)/) }],
  });
  expect(await sizes(1_024)).toMatchObject({ tests: 0 });
  expect((await ask("/rules/history")).body.sets).toHaveLength(1);
  // Of all edits the dry run alone has judged the users.
  expect((await ask("/audit")).body.entries).toMatchObject([{ act: "plan" }]);
});

test("an admin who judges users under drafts is in the audit, once for all drafts of some minutes, and an unrecorded draft is not judged", async () => {
  const { ask, as, client, name } = await start();
  const audit = async () =>
    (await ask("/audit")).body.entries.map(({ admin, act }: Record<string, string>) => `${admin} ${act}`);
  expect((await ask("/plan", OWN)).status).toBe(200);
  const another = JSON.stringify({ collections: EVERYONE });
  expect((await ask("/plan", another)).status).toBe(200);
  expect((await ask("/rules/apply", { text: OWN, message: "x", parent: 1, dryRun: true })).status).toBe(200);
  expect(await audit()).toEqual(["token:ada plan"]);
  expect((await ask("/rules/replay", OWN)).status).toBe(200);
  expect((await ask("/rules/replay", another)).status).toBe(200);
  expect((await as("ben")("/rules/apply", { text: OWN, message: "x", parent: 1, dryRun: true })).status).toBe(
    200,
  );
  expect(await audit()).toEqual(["token:ben plan", "token:ada replay-requests", "token:ada plan"]);
  expect((await as("cyd")("/plan", OWN)).status).toBe(403);
  await client.db(`${name}-state`).command({ collMod: "audit", validator: { act: "revoke" } });
  const refused = { status: 503, body: { code: "unavailable" } };
  expect(await as("ben")("/rules/replay", OWN)).toMatchObject(refused);
  expect(await audit()).toHaveLength(3);
});

test("a draft names no variable of the environment, and other sections of its text are ignored", async () => {
  const { ask } = await start();
  const text = `mongodb: { uri: "\${NOT_SET_HERE}" }\n${OWN}`;
  expect((await ask("/rules/apply", { text, message: "x", parent: 1, dryRun: true })).status).toBe(200);
  expect((await ask("/plan", text)).status).toBe(200);
  process.env["TIDEWIRE_TEST_SECRET_VALUE"] = "do-not-reveal";
  const named = OWN.replace('"%%user.sub"', `"$\{TIDEWIRE_TEST_SECRET_VALUE}"`);
  const refused = await ask("/rules/apply", { text: named, message: "x", parent: 1 });
  expect(refused.status).toBe(422);
  expect(JSON.stringify(refused.body)).not.toContain("do-not-reveal");
  delete process.env["TIDEWIRE_TEST_SECRET_VALUE"];
});

test("an edit that starts from another set than the one in force is refused, with everything that was applied meanwhile", async () => {
  const { ask, as, client, name } = await start();
  const draft = { text: OWN, message: "mine", parent: 1 };
  await as("ben")("/rules/apply", { ...draft, message: "quicker" });
  await pushRules(client, name, EVERYONE);
  const refused = await ask("/rules/apply", draft);
  expect(refused).toMatchObject({
    status: 409,
    body: {
      conflict: {
        text: expect.stringMatching(/starts from rule set 1\. ada put rule set 3 in force at .*: an edit/),
        inForce: 3,
        since: [
          { number: 3, author: "ada" },
          { number: 2, author: "token:ben", message: "quicker" },
        ],
      },
    },
  });
  expect((await ask("/rules/revert", { number: 1, parent: 2 })).status).toBe(409);
  expect((await ask("/rules/apply", { ...draft, parent: 7 })).body.conflict).toMatchObject({ since: [] });
  expect((await ask("/audit?admin=token:ada")).body.entries).toEqual([]);
  // Of edits at the same time, one wins, and the others receive a conflict or wait for their turn.
  const racing = await Promise.all(
    ["ada", "ben", "ada"].map((admin, at) =>
      as(admin)("/rules/apply", { ...draft, text: OWN.replace("own", `own-${at}`), parent: 3 }),
    ),
  );
  const won = racing.filter(({ status }) => status === 200);
  expect(won).toHaveLength(1);
  for (const { status } of racing) expect([200, 409, 429]).toContain(status);
  expect((await ask("/rules/history")).body.sets[0]).toMatchObject({
    number: won[0]?.body.applied,
    parent: 3,
  });
});

test("nothing is applied if the audit entry cannot be written", async () => {
  const { ask, client, name } = await start();
  const state = client.db(`${name}-state`);
  await state.command({ create: "audit", validator: { act: { $ne: "apply-rules" } } });
  expect(await ask("/rules/apply", { text: OWN, message: "x", parent: 1 })).toMatchObject({
    status: 503,
    body: { code: "unavailable" },
  });
  expect((await ask("/rules")).body.parent).toBe(1);
});

test("with rules.from: file, edits are refused with the way to the database, and everything else answers", async () => {
  const { ask } = await start({}, {});
  const inFile = {
    status: 409,
    body: {
      code: "rules-in-file",
      error: expect.stringMatching(/tidewire rules push .*rules\.from to database/),
    },
  };
  expect(await ask("/rules/apply", { text: OWN, message: "x", parent: 0 })).toMatchObject(inFile);
  expect(await ask("/rules/revert", { number: 1, parent: 0 })).toMatchObject(inFile);
  expect((await ask("/rules")).body).toMatchObject({ from: "file", parent: null, tests: "" });
  expect((await ask("/rules/history")).body).toEqual({ sets: [], next: null });
  expect((await ask("/rules/nodes")).body).toEqual({ from: "file", inForce: 0, nodes: [] });
  expect((await ask("/rules/replay", `mongodb: { database: x }\n${OWN}`)).body).toEqual({ replay: null });
});

test("replays recorded requests of users who are offline", async () => {
  const { ask, as, connect, client, name } = await start({}, { from: "database", record: "7d" });
  const user = await connect({ sub: "dan" });
  await user.ask({ type: "subscribe", id: "a", collection: "items", filter: { open: true } });
  user.socket.terminate();
  const requests = client.db(`${name}-state`).collection("requests");
  await until("the request", async () => (await requests.countDocuments()) === 1 || undefined);
  const replayed = await ask("/rules/replay", OWN);
  expect(replayed.body.replay).toMatchObject({
    requests: 1,
    effects: { unchanged: 0, unknown: 1 },
    samples: [{ effect: "unknown", request: { collection: "items", filter: { open: true } } }],
  });
  expect(await as("cyd")("/rules/replay", OWN)).toMatchObject({ status: 403, body: { code: "role" } });
  expect(await ask("/rules/replay", "collections: 3\n")).toMatchObject({
    status: 422,
    body: { problems: [{ path: "collections" }] },
  });
  expect((await ask("/rules/apply", { text: OWN, parent: 1, dryRun: true })).body.replay).toMatchObject({
    requests: 1,
  });
});

test("the plan of the API has the numbers that tidewire plan prints", async () => {
  const { ask, url, connect, file } = await start();
  for (const sub of ["ada", "ben"]) {
    const client = await connect({ sub });
    await client.ask({ type: "subscribe", id: "1", collection: "items" });
  }
  const edited = await configFile(
    {
      ...file,
      rules: {},
      collections: { items: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } },
    },
    "edited.json",
  );
  const env = { TIDEWIRE_ADMIN_TOKEN: secretOf("ben") };
  const printed = await runCommand(["plan", "--config", edited, "--admin", url, "--json"], { env });
  expect(printed.code).toBe(0);
  const { live, diff } = (await ask("/rules/apply", { text: OWN, parent: 1, dryRun: true })).body;
  expect(JSON.parse(printed.out)).toMatchObject({ live, diff });
});

test("a draft may take server.admin.planBytes, as every draft, and not a byte more", async () => {
  const { ask } = await start({ requestBytes: "1KiB", planBytes: "4KiB" });
  const sized = (bytes: number) => {
    const edit = { text: OWN, parent: 1, dryRun: true };
    const padding = bytes - JSON.stringify(edit).length;
    return { ...edit, text: `${OWN}#${"x".repeat(padding - 1)}` };
  };
  const statusOf = (path: string, body: unknown) =>
    // The service closes the connection without reading the rest, which may reach the client first.
    ask(path, body)
      .then(({ status }) => status)
      .catch(() => 413);
  expect(await statusOf("/rules/apply", sized(4_096))).toBe(200);
  expect(await statusOf("/rules/apply", sized(4_097))).toBe(413);
  const { text } = sized(3_000);
  expect(await statusOf("/test-rules", { text, tests: null })).toBe(200);
  expect(await statusOf("/rules/replay", text)).toBe(200);
  expect(await statusOf("/rules/replay", "#".repeat(4_097))).toBe(413);
});

test("with workers, an edit has the plan of all of them, and each acknowledges it", async () => {
  const { client, name, uri } = await testDatabase();
  onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
  await pushRules(client, name, EVERYONE);
  const server = { node: "rack-1", workers: 2, admin: { port: 0, tokens: TOKENS } };
  const { mongodb, ...file } = testConfig(uri, name, {
    collections: {},
    rules: { from: "database" },
    server,
  });
  // The log says where it listens.
  const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
  const { adminUrl, url } = await spawnService({ config });
  await until("a node that is ready", async () => (await fetch(`${adminUrl}/readyz`)).ok || undefined);
  const ask = asker(adminUrl, "ada");
  for (const sub of ["ada", "ben", "cyd", "dan"]) {
    const socket = `${url.replace("http", "ws")}/v1/ws`;
    const user = await WsClient.connect(socket, { token: await signToken({ sub }) });
    onTestFinished(() => user.socket.terminate());
    await user.ask({ type: "subscribe", id: "1", collection: "items" });
  }
  const draft = { text: OWN, message: "owners only", parent: 1 };
  const applied = await ask("/rules/apply", draft);
  expect(applied).toMatchObject({
    status: 200,
    body: { applied: 2, generation: 1, live: { connections: 4, subscriptions: 4 } },
  });
  const { affected } = applied.body.live;
  expect(affected.map(({ sub }: { sub: string }) => sub).sort()).toEqual(["ada", "ben", "cyd", "dan"]);
  await until("both workers", async () => {
    const { nodes } = (await ask("/rules/nodes")).body;
    return nodes.every(({ generation }: { generation: number }) => generation === 2) && nodes.length === 2
      ? true
      : undefined;
  });
  expect((await ask("/rules/apply", { ...draft, parent: 2 })).body).toMatchObject({ isSame: true });
  expect((await ask("/rules/revert", { number: 1, parent: 2 })).body).toMatchObject({ applied: 3 });
});

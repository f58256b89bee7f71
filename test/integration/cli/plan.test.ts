/** The report of `tidewire plan` for an edit, against a running service with clients, and the effect of saving it. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { configFile, runCommand } from "../../support/command.ts";
import { startTestService, toConfig } from "../../support/service.ts";

const TOKEN = "a-token-for-the-admins-of-a-test-0123456789";
const authorization = `Bearer ${TOKEN}`;
const WITH_TOKEN = { admin: { port: 0, token: TOKEN } };

const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}) => runCommand(args, { env });

const MEMBERS = { collection: "members", filter: { userId: "%%user.sub" }, value: "roomId" };
const COLLECTIONS = {
  orders: {
    rules: [
      { name: "staff", when: { "%%user.role": "staff" } },
      { name: "customer", filter: { owner: "%%user.sub" }, fields: { exclude: ["margin"] } },
    ],
  },
  messages: {
    lookups: { rooms: MEMBERS },
    rules: [{ name: "member", filter: { room: { $in: "%%lookup.rooms" } } }],
  },
  news: { rules: [{ name: "all" }] },
};

/** A service with three customers, two of the staff, and a member. */
async function startShop() {
  const started = await startTestService({ collections: COLLECTIONS, server: WITH_TOKEN });
  await started.db
    .collection<{ _id: string }>("members")
    .insertOne({ _id: "1", userId: "u1", roomId: "a" } as never);
  const clients = [];
  for (const claims of [
    { sub: "u1" },
    { sub: "u2" },
    { sub: "u3" },
    { sub: "s1", role: "staff" },
    { sub: "s2", role: "staff" },
  ]) {
    const client = await started.connect(claims);
    await client.ask({ type: "subscribe", id: "orders", collection: "orders" });
    clients.push(client);
  }
  const [first] = clients;
  await first?.ask({ type: "subscribe", id: "messages", collection: "messages" });
  await first?.ask({ type: "subscribe", id: "news", collection: "news" });
  for (const client of clients) await client.fence(await started.now());
  const { adminAddress } = started.service;
  const admin = `http://${adminAddress.host}:${adminAddress.port}`;
  const edit = (collections: object) => ({ ...started.file, collections });
  return { ...started, clients, admin, edit };
}

/** The numbers of a line of the table, by column. */
function effectsOf(out: string, label: string): Record<string, number> {
  const columns = ["unchanged", "gains", "loses", "changes", "ends", "unknown"];
  const line =
    out.split("\n").find((text) => text.trimStart().startsWith(`${label} `) && /\d$/.test(text)) ?? "";
  const numbers = line.trim().split(/\s+/).slice(-columns.length).map(Number);
  const entries = columns.map((column, index): [string, number] => [column, numbers[index] ?? Number.NaN]);
  return Object.fromEntries(entries.filter(([, number]) => number !== 0));
}

const [STAFF, CUSTOMER] = COLLECTIONS.orders.rules;

test("counts the connections that would gain, lose and end, by rule, and the saved edit has that effect", async () => {
  const { service, clients, admin, edit, now } = await startShop();
  const edited = edit({
    ...COLLECTIONS,
    orders: {
      rules: [
        { ...STAFF, fields: { exclude: ["margin"] } },
        { name: "no u3", when: { "%%user.sub": { $ne: "u3" } }, filter: { owner: "%%user.sub", open: true } },
        { name: "nobody", filter: { owner: "%%user.missing" } },
      ],
    },
    news: { rules: [{ name: "all", filter: { public: true } }] },
  });
  const file = await configFile(edited);
  const before = clients.map(({ received }) => received.length);
  const { code, out } = await run(["plan", "--config", file, "--admin", admin]);
  expect(code).toBe(0);
  expect(effectsOf(out, "orders")).toEqual({ loses: 2, changes: 2, ends: 1 });
  expect(effectsOf(out, "staff")).toEqual({ loses: 2 });
  // Fewer documents, but more fields of them.
  expect(effectsOf(out, "customer → no u3")).toEqual({ changes: 2 });
  expect(effectsOf(out, "customer → nobody")).toEqual({ ends: 1 });
  expect(effectsOf(out, "messages")).toEqual({ unchanged: 1 });
  expect(effectsOf(out, "news")).toEqual({ loses: 1 });
  expect(out).toContain("live: 7 subscriptions of 5 connections, rules of generation 1");
  // One for the staff, one for each of two customers, one for the news.
  expect(out).toContain("4 live queries that nobody follows now");
  expect(out).toContain(`  a sample of the affected users:
    ends       "u3" on orders, customer → nobody
    loses      "u1" on news, all
    loses      "s1" on orders, staff
    loses      "s2" on orders, staff
    changes    "u1" on orders, customer → no u3
    changes    "u2" on orders, customer → no u3
`);

  // Nothing of it has taken effect.
  for (const client of clients) await client.fence(await now());
  expect(clients.map(({ received }) => received.length - 1)).toEqual(before);
  expect(service.readiness().rulesGeneration).toBe(1);

  await service.reload(toConfig(edited));
  for (const client of clients) await client.fence(await now());
  const after = clients.map(({ received }, index) => received.slice((before[index] ?? 0) + 1));
  const ended = after.map((messages) => messages.filter(({ type }) => type === "unsubscribed").length);
  expect(ended).toEqual([0, 0, 1, 0, 0]);
  const moved = after.map((messages) =>
    messages.filter(({ type }) => type === "subscribed").map(({ id }) => id),
  );
  expect(moved).toEqual([["orders", "news"], ["orders"], [], ["orders"], ["orders"]]);
});

test("says what the node's rules lose and gain, and shows nothing of them that the edit does not say", async () => {
  const { admin, edit } = await startShop();
  const orders = {
    rules: [STAFF, { ...CUSTOMER, filter: { owner: "%%user.org" }, fields: { exclude: ["margin", "x"] } }],
  };
  const file = await configFile(edit({ ...COLLECTIONS, orders }));
  const { out } = await run(["plan", "--config", file, "--admin", admin]);
  expect(out).toContain("filter   other documents");
  expect(out).toContain("fields   fewer fields");
  expect(out).not.toContain("%%user.sub");
  // Between two files everything is shown.
  const old = await configFile(edit(COLLECTIONS), "old.json");
  const both = await run(["plan", "--config", file, "--against", old, "--admin", admin]);
  expect(both.out).toContain('- {"owner":"%%user.sub"}');
  expect(effectsOf(both.out, "orders")).toMatchObject({ unchanged: 2, ends: 3 });
  const json = JSON.parse((await run(["plan", "--config", file, "--admin", admin, "--json"])).out);
  expect(json).toMatchObject({
    generation: 1,
    live: { subscriptions: 7 },
    diff: { collections: [{ collection: "orders" }] },
  });
});

test("rights that follow from an unread set are unknown; those from a known set are known", async () => {
  const { admin, edit } = await startShop();
  const under = (lookup: object) => ({
    ...COLLECTIONS,
    news: {
      lookups: { rooms: lookup },
      rules: [{ name: "all", filter: { room: { $in: "%%lookup.rooms" } } }],
    },
  });
  const known = await run(["plan", "--config", await configFile(edit(under(MEMBERS))), "--admin", admin]);
  expect(effectsOf(known.out, "news")).toEqual({ loses: 1 });
  const other = { ...MEMBERS, value: "_id" };
  const unknown = await run(["plan", "--config", await configFile(edit(under(other))), "--admin", admin]);
  expect(effectsOf(unknown.out, "news")).toEqual({ unknown: 1 });
});

test("names a bounded sample of the affected users by sub alone, and anonymous ones as such", async () => {
  const claim = "a claim that no plan may show";
  const started = await startTestService({
    collections: { news: { rules: [{ name: "all", anonymous: true }] } },
    auth: { anonymous: true },
    server: WITH_TOKEN,
  });
  const long = "l".repeat(201);
  const users = [null, ...Array.from({ length: 20 }, (_, index) => `u${index}`), long];
  for (const sub of users) {
    const client = await (sub === null ? started.connect() : started.connect({ sub, note: claim }));
    await client.ask({ type: "subscribe", id: "news", collection: "news" });
  }
  const { host, port } = started.service.adminAddress;
  const rules = [
    { name: "long", when: { "%%user.sub": long } },
    { name: "public", anonymous: true, filter: { public: true } },
  ];
  const file = await configFile({ ...started.file, collections: { news: { rules } } });
  const { out } = await run(["plan", "--config", file, "--admin", `http://${host}:${port}`, "--json"]);
  const { live } = JSON.parse(out);
  expect(live.collections).toMatchObject([{ effects: { unchanged: 1, loses: 21 } }]);
  const loses = { collection: "news", effect: "loses", from: "all", to: "public" };
  expect(live.affected).toEqual([
    { sub: null, isAnonymous: true, ...loses },
    ...Array.from({ length: 19 }, (_, index) => ({ sub: `u${index}`, isAnonymous: false, ...loses })),
  ]);
  expect(out).not.toContain(claim);

  const narrower = rules.map((rule) => (rule.name === "long" ? { ...rule, filter: { public: true } } : rule));
  const next = await configFile({ ...started.file, collections: { news: { rules: narrower } } });
  const text = (await run(["plan", "--config", next, "--admin", `http://${host}:${port}`])).out;
  expect(text).toContain("    loses      anonymous on news, all → public\n");
  expect(text).toContain(`    loses      "${long.slice(0, 199)}…" on news, all → long\n`);
});

test("an edit without changes is no change, and renaming a rule changes no rights", async () => {
  const { admin, edit } = await startShop();
  const same = await run(["plan", "--config", await configFile(edit(COLLECTIONS)), "--admin", admin]);
  expect(same.out).toContain("no rule is another");
  expect(effectsOf(same.out, "orders")).toEqual({ unchanged: 5 });
  expect(same.out).toContain("  0 live queries that nobody follows now");
  expect(same.out).not.toContain("affected");
  const orders = { rules: [STAFF, { ...CUSTOMER, name: "buyer" }] };
  const renamed = await run([
    "plan",
    "--config",
    await configFile(edit({ ...COLLECTIONS, orders })),
    "--admin",
    admin,
  ]);
  expect(renamed.out).toContain("~ buyer, it was customer");
  expect(effectsOf(renamed.out, "customer → buyer")).toEqual({ unchanged: 3 });
});

test("the command and the node report a mistake in the same words as check", async () => {
  const { admin, edit } = await startShop();
  const wrong = edit({ orders: { rules: [{ name: "x", filter: { owner: { $frob: 1 } } }] } });
  const file = await configFile(wrong);
  const check = await run(["check", "--config", file]);
  const plan = await run(["plan", "--config", file, "--admin", admin]);
  expect(plan).toEqual({ code: 1, out: "", err: check.err });
  expect(check.err).toContain("$frob");
  const answer = await fetch(`${admin}/api/v1/plan`, {
    method: "POST",
    headers: { authorization },
    body: JSON.stringify(wrong),
  });
  expect(answer.status).toBe(422);
  const { problems } = (await answer.json()) as { problems: unknown };
  expect(problems).toEqual([
    expect.objectContaining({ path: 'collections.orders.rules[0].filter.owner["$frob"]', line: 1 }),
  ]);
});

test("fills in the environment of the command, never that of the node", async () => {
  const { admin, edit } = await startShop();
  process.env["TIDEWIRE_PLAN_SECRET"] = "a-secret-of-the-node";
  onTestFinished(() => void delete process.env["TIDEWIRE_PLAN_SECRET"]);
  const news = (name: string) => ({ ...COLLECTIONS, news: { rules: [{ name, filter: { price: "$${}" } }] } });
  const file = await configFile(edit(news("${TIDEWIRE_PLAN_SECRET}")));
  const { out } = await run(["plan", "--config", file, "--admin", admin], { TIDEWIRE_PLAN_SECRET: "mine" });
  expect(out).toContain("+ mine");
  expect(out).toContain('{"price":"${}"}');
  const body = JSON.stringify(edit(news("${TIDEWIRE_PLAN_SECRET}")));
  const answer = await fetch(`${admin}/api/v1/plan`, { method: "POST", headers: { authorization }, body });
  const text = await answer.text();
  expect(answer.status).toBe(422);
  expect(text).toContain("TIDEWIRE_PLAN_SECRET is not set");
  expect(text).not.toContain("a-secret-of-the-node");
});

test("the node takes a configuration by POST alone, of a bounded size, and not from a web page", async () => {
  const { admin, file } = await startShop();
  const body = JSON.stringify(file);
  const ask = async ({ headers, ...init }: RequestInit) =>
    (await fetch(`${admin}/api/v1/plan`, { ...init, headers: { authorization, ...headers } })).status;
  expect(await ask({})).toBe(405);
  expect(await ask({ method: "POST", body, headers: { origin: "http://127.0.0.1:1" } })).toBe(403);
  expect(await ask({ method: "POST", body: " ".repeat(1_048_577) }).catch(() => 413)).toBe(413);
  expect(await ask({ method: "POST", body: "" })).toBe(422);
  expect(await ask({ method: "POST", body: body.padEnd(1_048_576) })).toBe(200);
});

test("sends the token of the environment, else that of the configuration, and says which it lacks", async () => {
  const { admin, edit, file } = await startShop();
  const edited = await configFile(edit(COLLECTIONS));
  const other = "another-token-than-that-of-the-node-0123456789";
  const planned = (path: string, env: NodeJS.ProcessEnv) =>
    run(["plan", "--config", path, "--admin", admin], env);
  expect(await planned(edited, {})).toMatchObject({ code: 0 });
  const server = { admin: { token: "${TIDEWIRE_TEST_TOKEN:-}" } };
  const without = await configFile({ ...file, server });
  expect(await planned(without, { TIDEWIRE_ADMIN_TOKEN: TOKEN })).toMatchObject({ code: 0 });
  expect(await planned(without, { TIDEWIRE_TEST_TOKEN: TOKEN })).toMatchObject({ code: 0 });
  const none = await planned(without, {});
  expect(none).toMatchObject({ code: 1, err: expect.stringContaining("set TIDEWIRE_ADMIN_TOKEN") });
  const wrong = await planned(edited, { TIDEWIRE_ADMIN_TOKEN: other });
  expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining("does not accept the token") });
  expect(wrong.err + none.err).not.toContain(other);
  expect(wrong.err + none.err).not.toContain(TOKEN);
});

test("a node without a token refuses plans, and the command names the missing option", async () => {
  const { service, file } = await startTestService({ collections: COLLECTIONS });
  const admin = `http://127.0.0.1:${service.adminAddress.port}`;
  const refused = await run(["plan", "--config", await configFile(file), "--admin", admin]);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("server.admin.tokens") });
});

test("a redirect is not followed, because it would take the token elsewhere", async () => {
  const { admin, edit } = await startShop();
  const elsewhere = createServer((_request, response) =>
    response.writeHead(307, { location: `${admin}/api/v1/plan` }).end(),
  ).listen(0, "127.0.0.1");
  await once(elsewhere, "listening");
  onTestFinished(() => void elsewhere.close());
  const url = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
  const answer = await run(["plan", "--config", await configFile(edit(COLLECTIONS)), "--admin", url]);
  expect(answer).toMatchObject({ code: 1, err: expect.stringContaining("does not answer") });
});

test("says in a line that it has asked no node, the public port, or something else", async () => {
  const { service, file } = await startTestService({ collections: COLLECTIONS, server: WITH_TOKEN });
  const other = createServer((_request, response) => response.end("hello")).listen(0, "127.0.0.1");
  await once(other, "listening");
  onTestFinished(() => void other.close());
  const edited = await configFile(file);
  const cases: readonly (readonly [number, RegExp])[] = [
    [1, /does not answer: is the node running/],
    [service.address.port, /is not the admin listener of a node/],
    [(other.address() as AddressInfo).port, /answers 200: nothing that is understood/],
  ];
  for (const [port, text] of cases) {
    const answer = await run(["plan", "--config", edited, "--admin", `http://127.0.0.1:${port}`]);
    expect(answer).toMatchObject({ code: 1, err: expect.stringMatching(text) });
  }
});

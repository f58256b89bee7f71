/** `tidewire mcp`: each tool, over standard input and output, against a running service. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { startMcp } from "../../support/mcp.ts";
import { until } from "../../support/mongod.ts";
import { signToken, startTestService } from "../../support/service.ts";

const ADMIN_TOKEN = "a-token-for-the-admins-of-a-test-0123456789";
const COLLECTIONS = {
  orders: {
    rules: [
      { name: "staff", when: { "%%user.role": "staff" } },
      { name: "customer", filter: { owner: "%%user.sub" }, fields: { exclude: ["margin"] } },
    ],
  },
};
const TESTS = stringify({
  tests: [
    {
      name: "customers see their own orders",
      as: { sub: "ada" },
      collection: "orders",
      documents: [{ visible: { _id: 1, owner: "ada" } }, { hidden: { _id: 2, owner: "ben" } }],
    },
  ],
});

const withRule = (rule: object) =>
  stringify({ mongodb: { database: "shop" }, collections: { orders: { rules: [rule] } } });
const EVERYTHING = withRule({ name: "all" });

async function startShop() {
  const started = await startTestService({
    collections: COLLECTIONS,
    server: { admin: { port: 0, token: ADMIN_TOKEN } },
  });
  const { adminAddress, address } = started.service;
  const mcp = await startMcp({
    config: started.file,
    files: { "tidewire.test.yaml": TESTS, "draft.yaml": EVERYTHING },
    args: [
      "--url",
      `ws://127.0.0.1:${address.port}`,
      "--admin",
      `http://${adminAddress.host}:${adminAddress.port}`,
    ],
    env: { TIDEWIRE_TOKEN: await signToken({ sub: "ada" }) },
  });
  const orders = started.db.collection<{ _id: number; owner: string; [field: string]: unknown }>("orders");
  return { ...started, ...mcp, orders };
}

test.each(["auto", "legacy"] as const)(
  "lists five tools that only read, to a client of the revision %s",
  async (mode) => {
    const { client, call } = await startMcp({ config: { mongodb: { database: "x" } }, mode });
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(["check", "explain", "plan", "test-rules", "tail"]);
    for (const { annotations, description, outputSchema, inputSchema } of tools) {
      expect(annotations).toMatchObject({ readOnlyHint: true, destructiveHint: false });
      expect(description?.length).toBeGreaterThan(100);
      expect([inputSchema.type, outputSchema?.["type"]]).toEqual(["object", "object"]);
    }
    expect(client.getInstructions()).toContain("All tools only read.");
    const checked = await call("check");
    expect(checked.data).toMatchObject({ valid: false, truncated: false });
    expect(checked.isError).toBe(false);
  },
);

test("checks the configuration in force, with and without MongoDB, and drafts", async () => {
  const { call } = await startShop();
  const { data, text } = await call("check", { connect: true });
  expect(data).toMatchObject({
    valid: true,
    problems: [],
    collections: [{ collection: "orders", rules: ["staff", "customer"] }],
  });
  expect(text).toMatch(/^ok: tidewire\.yaml[\s\S]*ok: MongoDB \d/);

  const draft = await call("check", { configText: withRule({ name: "own", filtre: {} }) });
  expect(draft.data.valid).toBe(false);
  expect(draft.data.problems).toContainEqual(
    expect.objectContaining({ file: "draft", path: "collections.orders.rules[0].filtre" }),
  );
  expect(draft.text).toContain('Did you mean "filter"');

  const whole = stringify({
    mongodb: { uri: "${MONGODB_URI}", database: "shop" },
    auth: { jwt: { algorithms: ["HS256"], secret: "${JWT_SECRET}" } },
    collections: COLLECTIONS,
  });
  const open = await call("check", { configText: whole });
  expect(open.data).toMatchObject({ valid: true, problems: [] });
  expect(open.text).toContain("because a variable is there: mongodb.uri, auth.jwt.secret");
  expect(await call("check", { configText: whole, connect: true })).toMatchObject({ isError: true });
});

test("explains the access of a user, under the rules in force and under a draft", async () => {
  const { call } = await startShop();
  const asked = { collection: "orders", claims: { sub: "ada" }, document: { _id: 1, owner: "ben" } };
  const inForce = await call("explain", asked);
  expect(inForce.data).toMatchObject({
    outcome: "allowed",
    rules: [
      { name: "staff", applies: false },
      { name: "customer", applies: true },
    ],
    query: { rule: "customer", filter: { owner: { $eq: "ada" } } },
    document: { visible: false },
  });
  expect(inForce.data.index).toMatch(/^none: every snapshot reads the whole collection/);
  expect(inForce.text).toMatch(/^allowed: the user \{"sub":"ada"\} on orders/);
  const draft = await call("explain", { ...asked, configFile: "draft.yaml" });
  expect(draft.data).toMatchObject({ document: { visible: true }, query: { rule: "all" } });
  expect(draft.data.index).toBe("not checked: a draft opens no connection");

  const unknown = await call("explain", { collection: "order" });
  expect(unknown.isError).toBe(true);
  expect(unknown.text).toContain("Did you mean orders? Collections: orders");
});

test("runs the tests beside the configuration, and shows which of them a draft breaks", async () => {
  const { call } = await startShop();
  const inForce = await call("test-rules");
  expect(inForce.data).toMatchObject({
    tests: 1,
    failed: 0,
    untested: [{ collection: "orders", rule: "staff" }],
  });
  const broken = await call("test-rules", { configText: EVERYTHING });
  expect(broken.data).toMatchObject({
    failed: 1,
    failures: [{ test: "customers see their own orders", expected: expect.stringContaining("hidden") }],
  });
  expect(broken.text).toContain("tests: 1 failed, 0 passed (tidewire.test.yaml)");
  const wrong = await call("test-rules", { testsText: "tests: [{ name: x }]" });
  expect(wrong.data.problems.length).toBeGreaterThan(0);
  expect(await call("test-rules", { testsText: TESTS })).toMatchObject({ data: { tests: 1, failed: 0 } });
  expect(await call("test-rules", { testFiles: ["tidewire.test.yaml"] })).toMatchObject({
    data: { tests: 1 },
  });
});

test("plans a draft with the live subscriptions of a node, and applies nothing", async () => {
  const { call, connect, service } = await startShop();
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "orders", collection: "orders" });
  const draft = withRule({ name: "nobody", filter: { owner: "%%user.missing" } });
  const { data, text } = await call("plan", { configText: draft });
  expect(data.live).toMatchObject({ subscriptions: 1, affected: [{ sub: "ada", effect: "ends" }] });
  expect(data.collections[0]).toMatchObject({ collection: "orders", change: "changed" });
  expect(text).toContain("nothing was applied");
  expect(service.readiness().rulesGeneration).toBe(1);
  const refused = await call("plan");
  expect(refused).toMatchObject({ isError: true, text: expect.stringContaining("give the draft as") });
});

test("follows a live query with the rights of the given token, and no more", async () => {
  const { call, orders, db } = await startShop();
  await orders.insertMany([
    { _id: 1, owner: "ada", total: 3, margin: 1 },
    { _id: 2, owner: "ben", total: 4, margin: 1 },
  ]);
  const hash = async () => (await db.command({ dbHash: 1 }))["md5"];
  const before = await hash();
  const own = await call("tail", { collection: "orders", limit: 1 });
  expect(own).toMatchObject({ isError: false, data: { ended: "limit" } });
  expect(own.data.changes).toEqual([{ change: "snapshot", document: { _id: 1, owner: "ada", total: 3 } }]);
  expect(own.text).toContain('= {"_id":1,"owner":"ada","total":3}');
  const others = await call("tail", { collection: "orders", filter: { owner: "ben" }, seconds: 1 });
  expect(others.data).toMatchObject({ ended: "time", changes: [] });
  const token = await signToken({ sub: "s1", role: "staff" });
  const staff = await call("tail", { collection: "orders", limit: 2, token, fields: ["margin"] });
  expect(staff.data.changes.map(({ document }: { document: unknown }) => document)).toEqual([
    { _id: 1, margin: 1 },
    { _id: 2, margin: 1 },
  ]);
  const groups = await call("tail", { collection: "orders", token, limit: 1, aggregate: {} });
  expect(groups.data.changes).toEqual([{ change: "snapshot", document: { _id: null, count: 2 } }]);
  expect(await hash()).toBe(before);

  const following = call("tail", { collection: "orders", snapshot: false, limit: 2, seconds: 50 });
  // Nobody knows when the subscription has begun, so writes go on until it has seen two of them.
  let total = 0;
  let isOver = false;
  void following.finally(() => {
    isOver = true;
  });
  await until("two changes", async () => {
    total += 1;
    await orders.updateOne({ _id: 1 }, { $set: { total } });
    return isOver;
  });
  expect((await following).data.changes).toMatchObject([
    { change: "changed", cause: "update", document: { _id: 1, owner: "ada" } },
    { change: "changed" },
  ]);
});

test("says why a live query cannot be followed, and what to do", async () => {
  const { call, file, service } = await startShop();
  const unknown = await call("tail", { collection: "nope" });
  expect(unknown).toMatchObject({ isError: true, data: { ended: "refused" } });
  expect(unknown.text).toContain('there is no collection "nope"');
  const forged = await call("tail", { collection: "orders", token: "not.a.token" });
  expect(forged).toMatchObject({ isError: true, data: { ended: "ended" } });
  expect(forged.text).toContain("4401");
  expect(forged.text).not.toContain("not.a.token");
  const url = `ws://127.0.0.1:${service.address.port}`;
  const anonymous = await startMcp({ config: file, args: ["--url", url] });
  expect((await anonymous.call("tail", { collection: "orders" })).text).toContain("set TIDEWIRE_TOKEN");
  const alone = await startMcp({ config: file, args: ["--url", "ws://127.0.0.1:1"] });
  const nobody = await alone.call("tail", { collection: "orders", seconds: 0.5 });
  expect(nobody).toMatchObject({ isError: true, text: expect.stringContaining("is the service running?") });
});

/** The rules in force and requests that an admin tries, compared with the answers that clients receive. */
import { expect, onTestFinished, test, vi } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API } from "../../../src/admin/api/endpoint.ts";
import { Feed } from "../../../src/feed/feed.ts";
import { until } from "../../support/mongod.ts";
import { startTestService } from "../../support/service.ts";

const VIEWER = "the-secret-of-an-admin-who-may-only-view";
const READER = "the-secret-of-an-admin-who-may-see-documents";
const EDITOR = "the-secret-of-an-admin-who-may-edit-the-rules";
const AUDITOR = "the-secret-of-an-admin-who-may-see-documents-only";
const tokens = [
  { name: "viewer", sha256: digestOf(VIEWER).toString("hex"), roles: ["view"] },
  { name: "reader", sha256: digestOf(READER).toString("hex"), roles: ["view", "edit", "documents"] },
  { name: "editor", sha256: digestOf(EDITOR).toString("hex"), roles: ["view", "edit"] },
  { name: "auditor", sha256: digestOf(AUDITOR).toString("hex"), roles: ["view", "documents"] },
];
const COLLECTIONS = {
  orders: {
    lookups: { shops: { collection: "members", filter: { user: "%%user.sub" }, value: "shop" } },
    rules: [
      { name: "staff", when: { "%%user.roles": "staff" } },
      { name: "shop", filter: { shop: { $in: "%%lookup.shops" } }, fields: { exclude: ["margin"] } },
    ],
  },
};

type Row = Readonly<Record<string, unknown>>;
interface Tried extends Row {
  readonly query: Row | null;
  readonly documents: { readonly shown: readonly Row[]; readonly hasMore: boolean } | null;
  readonly document: Row | null;
}

async function start(collections: Record<string, unknown> = COLLECTIONS, auth: Record<string, unknown> = {}) {
  const started = await startTestService({
    collections,
    auth,
    server: { admin: { port: 0, tokens } },
    rules: { nowStep: "30s" },
  });
  const { db, service } = started;
  await db.collection("members").insertMany([
    { user: "ada", shop: "secret-shop-of-ada" },
    { user: "bob", shop: "b" },
  ]);
  const orders = Array.from({ length: 30 }, (_, n) => ({
    _id: n as never,
    shop: n < 25 ? "secret-shop-of-ada" : "b",
    price: n,
    margin: { rate: n, note: "<script>alert(1)</script>" },
  }));
  await db.collection("orders").insertMany(orders);
  await started.settled();
  const url = `http://127.0.0.1:${service.adminAddress.port}${API}`;
  const ask = async (secret: string, path: string, body?: unknown) => {
    const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
    const init = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
    const answer = await fetch(url + path, init);
    return { answer, text: await answer.text() };
  };
  const tried = async (secret: string, body: unknown) => {
    const { text } = await ask(secret, "/try", body);
    return { text, body: JSON.parse(text) as Tried }; // as the endpoint answers
  };
  return { ...started, ask, tried };
}

const ADA = { claims: { sub: "ada" }, collection: "orders" };

test("a try shows what the client receives, and the decision about one document", async () => {
  const { tried, connect } = await start();
  const client = await connect({ sub: "ada" });
  await client.ask({
    type: "subscribe",
    id: "1",
    collection: "orders",
    filter: { price: { $lt: 3 } },
  });
  const snapshot = await client.until(({ type }) => type === "snapshot");
  const { body } = await tried(READER, { ...ADA, filter: { price: { $lt: 3 } }, documentId: 27 });
  expect(body).toMatchObject({
    outcome: "allowed",
    reason: null,
    rules: [
      { name: "staff", applies: false },
      { name: "shop", applies: true },
    ],
    query: { rule: "shop", fields: expect.stringContaining("margin") },
    documents: { hasMore: false },
    document: {
      found: true,
      visible: false,
      because: expect.stringContaining("shop"),
      shown: null,
      hiddenFields: [],
    },
  });
  const prices = (rows: readonly Row[] = []) => rows.map(({ _id }) => _id);
  expect(prices(body.documents?.shown)).toEqual(prices(snapshot?.["docs"] as readonly Row[]));
  expect(body.documents?.shown[0]).not.toHaveProperty("margin");
  const { body: other } = await tried(READER, { ...ADA, documentId: 1 });
  expect(other.document).toMatchObject({
    visible: true,
    hiddenFields: ["margin"],
    stored: { margin: { rate: 1 } },
  });
  expect(other.documents).toMatchObject({ hasMore: true });
  expect(other.documents?.shown).toHaveLength(20);
  expect((await tried(READER, { ...ADA, documentId: 99 })).body.document).toMatchObject({ found: false });
  const sorted = (await tried(READER, { ...ADA, sort: [["price", -1]], limit: 2 })).body.documents;
  expect(sorted).toMatchObject({ shown: [{ price: 24 }, { price: 23 }], hasMore: false });
});

test("without the role documents nothing of a document is in the answer, not even what lookups read", async () => {
  const { tried } = await start();
  const { text, body } = await tried(VIEWER, { ...ADA, documentId: 1, filter: { price: 1 } });
  expect(body).toMatchObject({
    outcome: "allowed",
    documents: null,
    document: null,
    query: { rule: "shop" },
  });
  expect(text).not.toContain("secret-shop-of-ada");
  expect((await tried(READER, ADA)).text).toContain("secret-shop-of-ada");
});

test("a refusal has the client's code and the reason; every try is in the audit", async () => {
  const { tried, ask } = await start();
  const refused = await tried(READER, { ...ADA, filter: { margin: 1 } });
  expect(refused.body).toMatchObject({ outcome: "forbidden", query: null, documents: null });
  // An anonymous client cannot tell a collection that it may not see from one that does not exist.
  const anonymous = await tried(VIEWER, { collection: "orders" });
  expect(anonymous.body).toMatchObject({ outcome: "unknown-collection", reason: "no rule applies" });
  expect((await tried(VIEWER, { ...ADA, collection: "nothing" })).body).toMatchObject({
    outcome: "unknown-collection",
  });
  const { text } = await ask(VIEWER, "/audit");
  expect(JSON.parse(text)).toMatchObject({
    entries: [
      { act: "try-as", admin: "token:viewer", target: { collection: "nothing", sub: "ada" } },
      { act: "try-as", admin: "token:viewer", target: { collection: "orders", sub: null } },
      { act: "try-as", admin: "token:reader", target: { collection: "orders", sub: "ada" } },
    ],
  });
});

/** Rules whose conditions use several claims. */
const BY_CLAIMS = {
  orders: {
    rules: [
      { name: "team", when: { "%%user.team": "secret-team-of-others" } },
      {
        name: "shop",
        when: { "%%user.level": { $gte: 3 } },
        filter: { shop: { $in: "%%user.shops" }, email: "%%user.email" },
      },
    ],
  },
  members: { rules: [{ name: "all", anonymous: true }] },
};
const CYD = {
  sub: "cyd",
  level: 4,
  team: "secret-team",
  shops: ["secret-shop-1", "secret-shop-2"],
  email: "cyd@secret.example",
  unused: "secret-unused",
};

test("a try as a live connection uses its claims, and shows none of them without the role documents", async () => {
  const { ask, connect, service, db } = await start(BY_CLAIMS);
  await db
    .collection("orders")
    .insertOne({ _id: 100 as never, shop: "secret-shop-1", email: "cyd@secret.example" });
  const client = await connect(CYD);
  const [{ id }] = JSON.parse((await ask(VIEWER, "/connections?sub=cyd")).text).connections;
  const asked = { connection: id, collection: "orders", documentId: 100 };
  const { text } = await ask(VIEWER, "/try", asked);
  expect(text).not.toContain("secret");
  expect(JSON.parse(text)).toEqual({
    outcome: "allowed",
    reason: null,
    rules: [
      { name: "team", applies: false, because: 'when {"%%user.team":"…"} does not hold' },
      { name: "shop", applies: true, because: 'when {"%%user.level":{"$gte":"…"}} holds' },
    ],
    query: {
      rule: "shop",
      namespace: expect.stringMatching(/\.orders$/),
      filter: expect.stringMatching(/…/),
      fields: "all fields",
      aggregate: null,
      snapshotAllowed: true,
    },
    documents: null,
    document: null,
    note: null,
    given: null,
    draft: null,
    user: { sub: "cyd", claims: null, redacted: true },
  });
  const whole = JSON.parse((await ask(READER, "/try", asked)).text);
  expect(whole).toMatchObject({
    user: { sub: "cyd", claims: CYD, redacted: false },
    query: { filter: expect.stringContaining("cyd@secret.example") },
    documents: { shown: [{ _id: 100 }] },
    document: { visible: true },
  });
  const byClaims = { collection: "orders", documentId: 100, claims: CYD };
  expect(JSON.parse((await ask(READER, "/try", byClaims)).text)).toEqual({ ...whole, user: null });
  const { entries } = JSON.parse((await ask(VIEWER, "/audit")).text);
  expect(entries.slice(1)).toMatchObject([
    { admin: "token:reader", target: { collection: "orders", sub: "cyd", connection: id } },
    { admin: "token:viewer", target: { collection: "orders", sub: "cyd", connection: id } },
  ]);
  expect(JSON.stringify(entries)).not.toContain("secret");
  client.socket.terminate();
  await until("the end of the connections", async () => service.readiness().connections === 0 || undefined);
  const gone = await ask(READER, "/try", asked);
  expect([gone.answer.status, JSON.parse(gone.text)["code"]]).toEqual([404, "no-connection"]);
});

test("an admin without the roles edit and documents tries no draft as a connection, because its conditions could find out claims", async () => {
  const { ask, connect, name } = await start(BY_CLAIMS);
  await connect(CYD);
  const [{ id }] = JSON.parse((await ask(VIEWER, "/connections?sub=cyd")).text).connections;
  const draft = `
mongodb: { database: ${name} }
collections:
  orders: { rules: [{ name: probe, when: { "%%user.email": { $regex: "^cyd@" } } }] }
`;
  const asked = { connection: id, collection: "orders", draft };
  for (const secret of [VIEWER, EDITOR, AUDITOR]) {
    const { answer, text } = await ask(secret, "/try", asked);
    expect([answer.status, JSON.parse(text)["code"]]).toEqual([403, "role"]);
  }
  expect(JSON.parse((await ask(READER, "/try", asked)).text)).toMatchObject({
    draft: { outcome: "allowed" },
  });
});

test("a connection of an anonymous client is tried as one; ids that are no connection, and claims beside one, are refused", async () => {
  const { ask, connect } = await start(BY_CLAIMS, { anonymous: true });
  await connect();
  const { connections } = JSON.parse((await ask(VIEWER, "/connections")).text);
  const { id } = connections.find(({ sub }: Row) => sub === null);
  const tried = async (body: object) => {
    const { answer, text } = await ask(READER, "/try", { collection: "members", ...body });
    return { status: answer.status, body: JSON.parse(text) };
  };
  expect(await tried({ connection: id })).toMatchObject({
    status: 200,
    body: { outcome: "allowed", user: { sub: null, claims: null, redacted: false } },
  });
  const [node] = id.split(".");
  const other = `${node}.00000000-0000-0000-0000-000000000000`;
  expect(await tried({ connection: other })).toMatchObject({ status: 404, body: { code: "no-connection" } });
  for (const body of [{ connection: "x" }, { connection: id, claims: {} }])
    expect(await tried(body)).toMatchObject({ status: 400, body: { code: "bad-request" } });
});

test("a text of a request is cut in the audit when it is longer than 500 characters", async () => {
  const { tried, ask } = await start();
  const longest = "x".repeat(500);
  for (const sub of [longest, `${longest}x`]) await tried(VIEWER, { ...ADA, claims: { sub } });
  const { entries } = JSON.parse((await ask(VIEWER, "/audit")).text);
  const subs = entries.map(({ target }: { target: Row }) => target["sub"]);
  expect(subs).toEqual([`${longest}…`, longest]);
});

test("the filter of a live query shows its values to the role documents alone", async () => {
  const { ask, connect } = await start();
  const client = await connect({ sub: "ada" });
  await client.ask({ type: "subscribe", id: "1", collection: "orders", filter: { price: 7 } });
  const [{ id }] = JSON.parse((await ask(READER, "/live-queries?collection=orders")).text).liveQueries;
  const views = vi.spyOn(Feed.prototype, "views");
  onTestFinished(() => views.mockRestore());
  for (const path of [`/live-queries/${id}`, "/live-queries"]) {
    const { text } = await ask(VIEWER, path);
    expect(text).toContain('\\"shop\\":{\\"$in\\":\\"…\\"}');
    expect(text).toContain('\\"price\\":\\"…\\"');
    expect(text).not.toContain("secret-shop-of-ada");
    expect((await ask(READER, path)).text).toContain("secret-shop-of-ada");
    // One live query is found by its number, and no view of the others is made.
    if (path.endsWith(id)) expect(views).not.toHaveBeenCalledWith();
  }
});

test("markup in documents is data: JSON that no browser takes for a page", async () => {
  const { ask } = await start();
  const { answer, text } = await ask(READER, "/try", { claims: { roles: "staff" }, collection: "orders" });
  expect(text).toContain("<script>");
  expect(answer.headers.get("content-type")).toBe("application/json; charset=utf-8");
  expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
  expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'");
});

test("the rules in force are a text that a plan accepts, and finds to be no edit", async () => {
  const { ask } = await start();
  const { generation, text } = JSON.parse((await ask(VIEWER, "/rules")).text);
  expect(generation).toBe(1);
  expect(text).toContain("%%lookup.shops");
  expect(text).toContain("nowStep: 30000ms");
});

const DRAFT = `
collections:
  orders:
    rules:
      - name: own
        filter: { owner: "%%user.sub" }
`;
const TESTS = `
tests:
  - name: an owner sees the order
    as: { sub: ada }
    collection: orders
    documents:
      - visible: { _id: 1, owner: ada }
  - name: a wrong expectation
    as: { sub: ada }
    collection: orders
    documents:
      - visible: { _id: 2, owner: bob }
`;

test("the tests of a draft run without taking effect, and a mistake has its place", async () => {
  const { ask } = await start();
  const ran = async (body: unknown) => {
    const { answer, text } = await ask(VIEWER, "/test-rules", body);
    return { status: answer.status, body: JSON.parse(text) };
  };
  expect(await ran({ text: DRAFT, tests: TESTS })).toEqual({
    status: 200,
    body: {
      tests: 2,
      failed: 1,
      failures: [
        {
          test: "a wrong expectation",
          collection: "orders",
          expected: "visible",
          found: "hidden",
          because: '{"owner":"ada"} does not hold',
          line: 12,
          column: expect.any(Number),
          path: "tests[1].documents[0].visible",
        },
      ],
      untested: [],
    },
  });
  const branches = DRAFT.replace(
    '{ owner: "%%user.sub" }',
    '{ $or: [{ owner: "%%user.sub" }, { open: true }] }',
  );
  const rest = "      - { name: rest }\n";
  expect(await ran({ text: branches + rest, tests: TESTS })).toMatchObject({
    status: 200,
    body: {
      untested: [
        { collection: "orders", rule: "own", part: "filter", branch: '{"open":true}' },
        { collection: "orders", rule: "rest", part: null, branch: null },
      ],
    },
  });
  expect(await ran({ text: DRAFT + TESTS.trimStart() })).toMatchObject({
    status: 200,
    body: { tests: 2, failed: 1 },
  });
  const wrong = await ran({ text: DRAFT.replace("%%user.sub", "%%nobody") });
  expect(wrong).toMatchObject({
    status: 422,
    body: { problems: [{ line: 6, message: expect.any(String) }] },
  });
  process.env["TIDEWIRE_DRAFT_SECRET"] = "a-secret-of-the-node";
  onTestFinished(() => void delete process.env["TIDEWIRE_DRAFT_SECRET"]);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
  const named = await ran({ text: DRAFT.replace("%%user.sub", "${TIDEWIRE_DRAFT_SECRET}") });
  expect(named.status).toBe(422);
  expect(JSON.stringify(named)).not.toContain("a-secret-of-the-node");
});

/** A draft that shows cheap orders of the own shops, and hides the price instead of the margin. */
const OWN_SHOPS = (more = "") => `
mongodb: { database: DATABASE }
collections:
  orders:
    lookups: { shops: { collection: members, filter: { user: "%%user.sub" }, value: shop } }
    rules: [{ name: own, filter: { shop: { $in: "%%lookup.shops" }, price: { $lt: 5 } }, fields: { exclude: [price] } }]
${more}`;

test("a try under a draft answers for both sets of rules, with the value that decides and documents for a test", async () => {
  const { tried, name } = await start();
  const draft = OWN_SHOPS().replace("DATABASE", name);
  const { body } = await tried(READER, { ...ADA, documentId: 7, draft });
  expect(body).toMatchObject({
    query: { rule: "shop" },
    document: { visible: true, hiddenFields: ["margin"] },
    given: { members: [{ user: "ada", shop: "secret-shop-of-ada" }] },
    note: null,
    draft: {
      outcome: "allowed",
      query: { rule: "own" },
      document: {
        visible: false,
        because: '{"price":{"$lt":5}} does not hold',
        decided: { path: "price", value: "7" },
      },
      documents: { hasMore: false },
    },
  });
  const shownBy = (of: Tried) => of.documents?.shown.map(({ _id }) => _id) ?? [];
  expect(shownBy(body["draft"] as Tried)).toEqual([0, 1, 2, 3, 4]);
  expect(shownBy(body)).toEqual(Array.from({ length: 20 }, (_, n) => n));
  expect(JSON.stringify(body["draft"])).not.toContain('"margin":{"$');

  const { body: wrong } = await tried(READER, { ...ADA, draft: "collections: { orders: { rules: 3 } }" });
  expect(wrong).toMatchObject({ outcome: "allowed", draft: { problems: [{ line: 1 }] } });
});

test("a draft reads no collection that the service does not follow, and no document for admins without the role", async () => {
  const { tried, name, db } = await start();
  await db.collection("salaries").insertOne({ _id: 1 as never, amount: "secret-amount" });
  const draft = OWN_SHOPS("  salaries: { rules: [{ name: all }] }").replace("DATABASE", name);
  const salaries = { claims: { sub: "ada" }, collection: "salaries", documentId: 1, draft };
  const { body, text } = await tried(READER, salaries);
  expect(text).not.toContain("secret-amount");
  expect(body).toMatchObject({
    outcome: "unknown-collection",
    draft: { outcome: "allowed", documents: null, document: null, note: expect.stringContaining("salaries") },
  });
  const { body: viewed, text: viewedText } = await tried(EDITOR, { ...ADA, documentId: 7, draft });
  expect(viewedText).not.toContain("secret-shop");
  expect(viewed).toMatchObject({
    documents: null,
    given: null,
    draft: { documents: null, document: null, given: null },
  });
});

test("a page that repeats a try has one entry in the audit, and another request or reader has its own", async () => {
  const { tried, name, client } = await start();
  const entries = () => client.db(`${name}-state`).collection("audit").countDocuments({ act: "try-as" });
  for (let n = 0; n < 3; n++) await tried(READER, ADA);
  expect(await entries()).toBe(1);
  await tried(VIEWER, ADA);
  await tried(READER, { ...ADA, filter: { price: 1 } });
  await tried(READER, { ...ADA, draft: OWN_SHOPS().replace("DATABASE", name) });
  expect(await entries()).toBe(4);
});

/** Names for the editor of rules, from documents and tokens that are really there. */
import { expect, test } from "vitest";
import { digestOf } from "../../../src/admin/access/digest.ts";
import { API } from "../../../src/admin/api/endpoint.ts";
import { sampleDocuments } from "../../../src/source/sample-documents.ts";
import { testDatabase } from "../../support/mongod.ts";
import { startTestService } from "../../support/service.ts";

const SECRET = "the-secret-of-an-admin-who-may-only-view";

interface Names {
  readonly collections: readonly string[];
  readonly stored: readonly string[];
  readonly fields: readonly { readonly path: string; readonly types: readonly string[] }[] | null;
  readonly claims: readonly string[];
}

async function start(admin: object = {}) {
  const started = await startTestService({
    collections: { orders: { collection: "orders2", rules: [{ name: "all" }] } },
    server: {
      admin: {
        port: 0,
        ...admin,
        tokens: [{ name: "viewer", sha256: digestOf(SECRET).toString("hex"), roles: ["edit"] }],
      },
    },
  });
  const url = `http://127.0.0.1:${started.service.adminAddress.port}${API}/rules/names`;
  const ask = async (query = "") => {
    const answer = await fetch(url + query, { headers: { authorization: `Bearer ${SECRET}` } });
    const text = await answer.text();
    return { status: answer.status, text, names: JSON.parse(text) as Names };
  };
  return { ...started, ask };
}

test("answers with the names of a followed collection and of the connected users, and with no value", async () => {
  const { db, connect, ask } = await start();
  const byId = Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`secret-user-${n}`, { since: n }]));
  await db
    .collection("orders2")
    .insertMany([
      { customer: { name: "secret-name" }, lines: [{ sku: "secret-sku" }], byId },
      { customer: null },
    ]);
  await db.collection("others").insertOne({ field: 1 });
  await db.collection("tidewire.keys").insertOne({ field: 1 });
  await connect({ sub: "secret-sub", org: { role: "secret-role" } });
  const { status, text, names } = await ask("?collection=orders");
  expect(status).toBe(200);
  expect(names.collections).toEqual(["orders"]);
  expect(names.stored).toEqual(["orders2", "others"]);
  expect(names.fields?.map(({ path }) => path)).toEqual([
    "_id",
    "byId",
    "customer",
    "lines",
    "byId.*",
    "customer.name",
    "lines.sku",
  ]);
  expect(names.fields).toContainEqual({ path: "customer", types: ["null", "object"] });
  expect(names.claims).toEqual(expect.arrayContaining(["%%user.sub", "%%user.org", "%%user.org.role"]));
  expect(text).not.toContain("secret");
  // Kept for a minute.
  await db.collection("orders2").insertOne({ later: 1 });
  expect((await ask("?collection=orders")).names.fields).toEqual(names.fields);
  expect((await ask()).names.fields).toBeNull();
  for (const name of ["others", "orders2", "system.users"]) {
    const refused = await ask(`?collection=${name}`);
    expect([refused.status, JSON.parse(refused.text)]).toMatchObject([404, { code: "no-collection" }]);
  }
});

test("a sample has at most the wanted documents, and about 16 MB of large ones", async () => {
  const { client, db } = await testDatabase();
  const limits = { documents: 100, maxTimeMs: 20_000 };
  const sample = (collection: string) =>
    sampleDocuments(client, { database: db.databaseName, collection }, limits);
  expect(await sample("missing")).toEqual([]);
  await db.collection("small").insertMany(Array.from({ length: 99 }, (_, n) => ({ n })));
  expect(await sample("small")).toHaveLength(99);
  await db.collection("small").insertMany(Array.from({ length: 2 }, (_, n) => ({ n })));
  expect(await sample("small")).toHaveLength(100);
  const text = "x".repeat(1_000_000);
  await db.collection("large").insertMany(Array.from({ length: 20 }, () => ({ text })));
  const large = await sample("large");
  expect(large.length).toBeGreaterThan(10);
  expect(large.length).toBeLessThan(18);
});

test("reads at most server.admin.nameDocuments documents, counts them, and none with 0", async () => {
  const documents = Array.from({ length: 5 }, (_, n) => ({ [`field${n}`]: 1 }));
  const fieldsWith = async (nameDocuments: number) => {
    const { db, ask, service } = await start({ nameDocuments });
    await db.collection("orders2").insertMany(documents.map((document) => ({ ...document })));
    const { names } = await ask("?collection=orders");
    const text = await (await fetch(`http://127.0.0.1:${service.adminAddress.port}/metrics`)).text();
    const [, read] = /^tidewire_admin_name_documents_total (\d+)$/m.exec(text) ?? [];
    return [names.fields?.filter(({ path }) => path.startsWith("field")).length, Number(read)];
  };
  expect(await fieldsWith(3)).toEqual([3, 3]);
  expect(await fieldsWith(5)).toEqual([5, 5]);
  expect(await fieldsWith(0)).toEqual([0, 0]);
});

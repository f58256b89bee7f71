import { expect, test } from "vitest";
import { planSnapshot } from "../../../src/source/snapshot-plan.ts";
import { configFile, runCommand } from "../../support/command.ts";
import { testDatabase } from "../../support/mongod.ts";

/** The report of `explain` about the snapshot's index, for a rule on `customerId`. */
async function indexLine(uri: string, database: string): Promise<string | undefined> {
  const path = await configFile({
    mongodb: { uri, database },
    auth: { anonymous: true },
    collections: { orders: { rules: [{ name: "customer", filter: { customerId: "%%user.sub" } }] } },
  });
  const argv = ["explain", "-c", path, "--user", '{"sub":"u1"}', "--collection", "orders"];
  const { code, out } = await runCommand(argv, { now: () => 0 });
  expect(code).toBe(0);
  return out.split("\n").find((line) => line.startsWith("index for the snapshot"));
}

test("explain says that a snapshot reads everything, and names the index once there is one", async () => {
  const { db, name, uri } = await testDatabase();
  const orders = db.collection("orders");
  await orders.insertMany([{ customerId: "u1" }, { customerId: "u2" }]);
  expect(await indexLine(uri, name)).toBe(
    `index for the snapshot: none: every snapshot reads the whole collection. Create one: db.getSiblingDB("${name}").getCollection("orders").createIndex({ customerId: 1 })`,
  );
  await orders.createIndex({ customerId: 1 });
  expect(await indexLine(uri, name)).toBe("index for the snapshot: customerId_1");
});

test("an index with a collation of its own does not serve snapshots, which compare simply", async () => {
  const { client, db, name } = await testDatabase();
  const orders = db.collection("orders");
  await orders.insertOne({ customerId: "u1" });
  await orders.createIndex({ customerId: 1 }, { collation: { locale: "en" } });
  const query = {
    database: name,
    collection: "orders",
    filter: { customerId: { $eq: "u1" } },
    maxTimeMs: 60_000,
  };
  expect(await planSnapshot(client, query)).toMatchObject({ indexes: [], readsEverything: true });
});

test("requires an index for every branch of a disjunction", async () => {
  const { client, db, name } = await testDatabase();
  const orders = db.collection("orders");
  await orders.insertOne({ a: 1, b: 1 });
  await orders.createIndex({ a: 1 });
  const query = {
    database: name,
    collection: "orders",
    filter: { $or: [{ a: { $eq: 1 } }, { b: { $eq: 1 } }] },
    maxTimeMs: 60_000,
  };
  expect((await planSnapshot(client, query)).readsEverything).toBe(true);
  await orders.createIndex({ b: 1 });
  const plan = await planSnapshot(client, query);
  expect({ ...plan, indexes: [...plan.indexes].sort() }).toEqual({
    indexes: ["a_1", "b_1"],
    readsEverything: false,
    sortsInMemory: false,
    usesPartialIndex: false,
  });
});

test("explains without the server if none is reachable", async () => {
  expect(await indexLine("mongodb://127.0.0.1:1/", "shop")).toMatch(/not checked: MongoServerSelectionError/);
});

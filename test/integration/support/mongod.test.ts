import { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { type Mongod, type ReplicaSet, startReplicaSet, testDatabase, until } from "../../support/mongod.ts";

async function threeMembers(): Promise<{ set: ReplicaSet; client: MongoClient }> {
  const set = await startReplicaSet();
  onTestFinished(() => set.stop());
  const client = new MongoClient(set.uri);
  onTestFinished(() => client.close());
  return { set, client };
}

const insert = (client: MongoClient, n: number) =>
  client
    .db("t")
    .collection("c")
    .insertOne({ n }, { writeConcern: { w: "majority" } });

test("every test has a database of its own on the shared replica set", async () => {
  const first = await testDatabase();
  const second = await testDatabase();
  await first.db.collection("c").insertOne({});
  expect(first.name).not.toBe(second.name);
  expect(await second.db.collection("c").countDocuments()).toBe(0);
});

test("a killed primary is replaced in seconds, and comes back as a member", async () => {
  const { set, client } = await threeMembers();
  await insert(client, 1);
  const old = await set.primary();
  await old.kill();
  expect(old.running).toBe(false);
  const successor: Mongod = await set.primary();
  expect(successor).not.toBe(old);
  await insert(client, 2);

  await old.start();
  await until("the old primary to have caught up", async () => {
    const direct = new MongoClient(old.uri, { readPreference: "secondaryPreferred" });
    try {
      return (await direct.db("t").collection("c").countDocuments()) === 2;
    } catch {
      return false;
    } finally {
      await direct.close();
    }
  });
});

test("a primary that steps down stays up while another one takes over", async () => {
  const { set, client } = await threeMembers();
  const old = await set.primary();
  const successor = await set.stepDown();
  expect(successor).not.toBe(old);
  expect(old.running).toBe(true);
  await insert(client, 1);
});

test("with auth, only those who log in get in", async () => {
  const set = await startReplicaSet({ members: 1, auth: true });
  onTestFinished(() => set.stop());
  const root = new MongoClient(set.uri);
  onTestFinished(() => root.close());
  await insert(root, 1);
  const nobody = new MongoClient(set.uriFor());
  onTestFinished(() => nobody.close());
  await expect(nobody.db("t").collection("c").findOne()).rejects.toThrow(/requires authentication/);
});

/** The checkpoint of a deployment, which all its processes share. */
import { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { CheckpointStore } from "../../../src/source/checkpoint-store.ts";
import { testDatabase } from "../../support/mongod.ts";

const at = (clusterTime: bigint, epoch = "00000001") => ({
  token: new Uint8Array([1]),
  clusterTime,
  epoch,
  fingerprint: "f",
});

/** Stores of as many processes, and the names of those whose writes MongoDB received. */
async function processes(...names: string[]) {
  const { uri, name } = await testDatabase();
  const client = await MongoClient.connect(uri, { monitorCommands: true });
  onTestFinished(() => client.close());
  const database = client.db(`${name}-state`);
  onTestFinished(() => database.dropDatabase().then(() => {}));
  const writes: string[] = [];
  client.on("commandStarted", ({ commandName, command }) => {
    if (commandName === "update") writes.push(command["updates"][0].u.$set.node);
  });
  return { stores: names.map((node) => new CheckpointStore(database, "default", node)), writes };
}

test("one process saves, and the others only look", async () => {
  const { stores, writes } = await processes("a", "b", "c");
  for (const store of stores) await store.saveInTurn(at(10n));
  writes.length = 0;
  for (let time = 20n; time < 100n; time += 10n) for (const store of stores) await store.saveInTurn(at(time));
  expect(new Set(writes).size).toBe(1);
  expect(writes.length).toBe(8);
  expect(await stores[0]?.load()).toMatchObject({ clusterTime: 90n });
});

test.each([
  ["has ended", (_time: bigint) => null],
  ["has fallen behind", (time: bigint) => time - 35n],
])("another process saves when the one that did %s", async (_how, positionOf) => {
  const { stores, writes } = await processes("a", "b");
  const [a, b] = stores as [CheckpointStore, CheckpointStore];
  await b.saveInTurn(at(10n));
  await a.saveInTurn(at(11n));
  await b.saveInTurn(at(20n));
  await a.saveInTurn(at(21n));
  writes.length = 0;
  await b.saveInTurn(at(30n));
  expect(writes).toEqual([]);
  for (const time of [40n, 50n]) {
    const late = positionOf(time);
    if (late !== null) await a.saveInTurn(at(late));
    await b.saveInTurn(at(time));
  }
  expect(writes).toContain("b");
  expect(await a.load()).toMatchObject({ clusterTime: 50n });
});

test("a process saves if the saved position is of another order of commits", async () => {
  const { stores } = await processes("a", "b");
  const [a, b] = stores as [CheckpointStore, CheckpointStore];
  await b.saveInTurn(at(10n, "00000002"));
  await a.saveInTurn(at(90n, "00000001"));
  await b.saveInTurn(at(20n, "00000002"));
  expect(await a.load()).toMatchObject({ clusterTime: 20n, epoch: "00000002" });
});

test("a process that ends saves its position although another one has just saved", async () => {
  const { stores } = await processes("a", "b");
  const [a, b] = stores as [CheckpointStore, CheckpointStore];
  await a.save(at(10n));
  await b.save(at(20n));
  expect(await a.load()).toMatchObject({ clusterTime: 20n });
});

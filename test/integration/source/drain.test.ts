/** A node goes away and its clients move to another (docs/protocol.md, section 3.2, `draining`). */
import { expect, onTestFinished, test } from "vitest";
import { QueryFollower } from "../../support/follower.ts";
import { testDatabase } from "../../support/mongod.ts";
import { startNode } from "../../support/node.ts";
import { Oracle } from "../../support/oracle.ts";

const PATIENCE = { timeout: 60_000 };

interface Thing {
  _id: number;
  n: number;
  v: number;
}

test("[3.2] draining: clients are notified first, served meanwhile, moved without loss or repetition, and the rest closed with 4202", async () => {
  const { client, db, name, uri } = await testDatabase();
  onTestFinished(async () => {
    await client.db(`${name}-state`).dropDatabase();
  });
  const collections = { things: { rules: [{ name: "all" }] } };
  const going = await startNode(uri, name, { collections, server: { drainTimeout: "10s" } });
  const staying = await startNode(uri, name, { collections });
  const oracle = new Oracle(client, `${name}-state`);
  await oracle.learnEpoch();
  const things = db.collection<Thing>("things");
  let writing = true;
  const write = async (from: number) => {
    for (let i = 0; writing; i++) {
      const _id = from + (i % 10);
      if (i % 7 === 6) await things.deleteOne({ _id });
      else await things.updateOne({ _id }, { $set: { n: i % 5 }, $inc: { v: 1 } }, { upsert: true });
    }
  };
  const writers = [write(0), write(100)];
  const start = (filter: object) => QueryFollower.start(going.url, oracle, { collection: "things", filter });
  const movers = [await start({}), await start({ n: { $lt: 3 } }), await start({ n: 2 })];
  const stayer = await start({});

  const drained = going.service.drain();
  for (const { model } of [...movers, stayer]) {
    await expect.poll(() => model.isDraining, PATIENCE).toBe(true);
    expect(model.closed).toBeUndefined();
  }
  expect(going.service.readiness()).toMatchObject({ ready: false, status: "draining" });
  for (const mover of movers) expect(await mover.connect(staying.url)).toMatchObject({ start: "resumed" });
  await things.insertOne({ _id: 999, n: 0, v: 0 });
  await expect.poll(() => stayer.held.documents.has("999"), PATIENCE).toBe(true);
  expect(stayer.model.closed, "served to the end").toBeUndefined();

  expect((await stayer.model.client.untilClosed()).code).toBe(4202);
  await drained;
  expect(await stayer.connect(staying.url)).toMatchObject({ start: "resumed" });
  writing = false;
  await Promise.all(writers);
  for (const follower of [...movers, stayer]) {
    await follower.equalsFind(db);
    expect(follower.starts, "on the node that stays").toEqual({ resumed: 1 });
  }
});

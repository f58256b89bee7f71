import { expect, onTestFinished, test } from "vitest";
import { RuleSetStore } from "../../../src/source/rule-set-store.ts";
import { testDatabase } from "../../support/mongod.ts";
import { draftOf } from "../../support/rule-sets.ts";

async function store() {
  const { db } = await testDatabase();
  onTestFinished(() => db.dropDatabase().then(() => {}));
  return { db, sets: new RuleSetStore(db) };
}

test("of many writers with one parent exactly one puts its set in force, also if there was none before", async () => {
  const { sets } = await store();
  for (let parent = 0, round = 0; round < 4; round++) {
    const pushed = await Promise.all(
      Array.from({ length: 8 }, (_, n) => sets.push(draftOf(`# ${round} ${n}\n{}`, parent), 100)),
    );
    const won = pushed.filter(({ outcome }) => outcome === "applied").map(({ number }) => number);
    expect(won).toHaveLength(1);
    for (const { outcome } of pushed) expect(["applied", "lost"]).toContain(outcome);
    expect(await sets.inForce()).toEqual({ set: won[0], parent });
    parent = won[0] ?? 0;
  }
  const history = await sets.history(100);
  expect(history).toHaveLength(4);
  for (const [index, set] of history.entries()) expect(set.parent).toBe(history[index + 1]?.number ?? 0);
});

test("keys with $ and dots, their order, comments and numbers survive the database", async () => {
  const { sets } = await store();
  const text =
    '# mine\norders:\n  rules:\n    - { name: a, filter: { "2": 1.0, "1": 2, "a.b": { $gt: 9007199254740991 } } }\n';
  const { number } = await sets.push(draftOf(text, 0), 100);
  expect(await sets.load(number)).toMatchObject({
    number: 1,
    collections: text,
    parent: 0,
    testResult: null,
  });
  expect(await sets.load(2)).toBeNull();
});

test("prune keeps the latest sets and removes those that lost, but never a set that may still come into force", async () => {
  const { db, sets } = await store();
  for (let parent = 0; parent < 4; parent++) await sets.push(draftOf("{}", parent), 100);
  const pending = await sets.add(draftOf("{}", 4));
  await db.collection<{ _id: number }>("ruleSets").insertOne({ _id: 0 } as never);
  await sets.prune(2);
  expect((await db.collection("ruleSets").distinct("_id")).sort()).toEqual([3, 4, pending, "inForce"]);
  expect(await sets.putInForce(pending, 4)).toBe(true);
});

test("a set of another format is refused with a text that says what to do", async () => {
  const { db, sets } = await store();
  const { number } = await sets.push(draftOf("{}", 0), 100);
  await db.collection("ruleSets").updateOne({ _id: number as never }, { $set: { format: 2 } });
  await expect(sets.load(number)).rejects.toThrow(/another format than 1: update this node/);
});

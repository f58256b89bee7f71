/** Commands whose documents stay bytes, and the driver's view of the servers when such a command fails. */
import { BSON, Long, MongoClient, ObjectId } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { RAW, readRawAnswer } from "../../../src/source/raw-answer.ts";
import { startReplicaSet, testDatabase } from "../../support/mongod.ts";

test("documents stay bytes over several batches, and the cursor is read", async () => {
  const { db } = await testDatabase();
  const documents = Array.from({ length: 5 }, (_, n) => ({
    _id: n,
    nested: { b: 1, "1": [Long.fromNumber(n)] },
  }));
  await db.collection<{ _id: number }>("c").insertMany(documents);
  const first = readRawAnswer(await db.command({ find: "c", sort: { _id: 1 }, batchSize: 3 }, RAW));
  const next = readRawAnswer(
    await db.command({ getMore: Long.fromBigInt(first.cursorId), collection: "c", batchSize: 3 }, RAW),
  );
  expect([first.documents.length, next.documents.length, next.cursorId]).toEqual([3, 2, 0n]);
  expect(first.cursorId).not.toBe(0n);
  for (const bytes of [...first.documents, ...next.documents]) expect(Buffer.isBuffer(bytes)).toBe(true);
  expect(first.documents[2]).toEqual(Buffer.from(BSON.serialize(documents[2] ?? {})));
});

test("the token of a batch is the server's, byte for byte", async () => {
  const { db } = await testDatabase();
  await db.createCollection("c");
  const open = { aggregate: "c", pipeline: [{ $changeStream: {} }], cursor: {} };
  const { cursorId, postBatchToken } = readRawAnswer(await db.command(open, RAW));
  await db.command({ killCursors: "c", cursors: [Long.fromBigInt(cursorId)] });
  expect(BSON.deserialize(postBatchToken ?? new Uint8Array())).toEqual({ _data: expect.any(String) });
  const again = {
    ...open,
    pipeline: [{ $changeStream: { resumeAfter: BSON.deserialize(postBatchToken ?? new Uint8Array()) } }],
  };
  const resumed = readRawAnswer(await db.command(again, RAW));
  await db.command({ killCursors: "c", cursors: [Long.fromBigInt(resumed.cursorId)] });
  expect(resumed.documents).toEqual([]);
});

test("a primary that steps down under such a command leaves the driver able to watch it", async () => {
  const set = await startReplicaSet({ members: 1 });
  onTestFinished(() => set.stop());
  const [member] = set.members;
  const client = new MongoClient(`mongodb://${member?.host}/?directConnection=true`);
  onTestFinished(() => client.close());
  const seen: unknown[] = [];
  client.on("serverDescriptionChanged", ({ newDescription: { topologyVersion } }) => {
    if (topologyVersion !== null) seen.push(topologyVersion);
  });
  const db = client.db("db");
  await db.command({ ping: 1 });
  await client.db("admin").command({ replSetStepDown: 60, force: true });
  // The driver keeps what such an error says of the server, and compares it with whatever the server says next.
  const refused = db.command({ insert: "c", documents: [{ a: 1 }] }, RAW);
  await expect(refused).rejects.toMatchObject({
    codeName: "NotWritablePrimary",
    topologyVersion: { processId: expect.any(ObjectId) },
  });
  await db.command({ ping: 1 });
  expect(seen.length).toBeGreaterThan(0);
  for (const version of seen) expect(version).toMatchObject({ processId: expect.any(ObjectId) });
});

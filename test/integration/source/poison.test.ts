/** Documents that a driver cannot even name. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { startFeed } from "../../support/feed-harness.ts";
import { insertRaw } from "../../support/raw-insert.ts";
import { follow } from "../../support/recorder.ts";

const PATIENCE = { timeout: 60_000 };

/** `{ _id, n }`, the `_id` being text that is not UTF-8. */
function poison(n: number): Uint8Array {
  const document = BSON.serialize({ _id: "ab", n });
  document[Buffer.from(document).indexOf("ab\0")] = 0xff;
  return document;
}

test("an update of a document whose _id is not UTF-8, without images, is read by its bytes, and shows no other document", async () => {
  const { db, name, uri, feed, metrics, spec } = await startFeed({ images: false });
  const things = db.collection<{ _id: string; n: number }>("things");
  await insertRaw(uri, name, "things", [poison(1)]);
  // The document that the driver would ask for, because it cannot send the bytes.
  await things.insertOne({ _id: "\ufffdb", n: 7 });
  const { sink } = await follow(feed, spec({ n: { $lt: 5 } }));
  await expect.poll(() => sink.live, PATIENCE).toBe(1);
  await things.updateOne({ n: 1 }, { $set: { n: 2 } });
  await things.insertOne({ _id: "later", n: 3 });
  await expect.poll(() => sink.state.get('"later"'), PATIENCE).toEqual({ _id: "later", n: 3 });
  expect([...sink.state.values()]).toEqual([
    { _id: "\ufffdb", n: 2 },
    { _id: "later", n: 3 },
  ]);
  expect(sink.errors).toEqual([]);
  const unreadable = await metrics.imagesUnreadable.get();
  expect(unreadable.values[0]?.value ?? 0).toBe(0);
  const errors = await metrics.streamErrors.get();
  expect(errors.values.reduce((sum, { value }) => sum + value, 0)).toBe(0);
});

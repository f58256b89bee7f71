/** Many clients that come back at once cost a snapshot, a replay or a read of the oplog for each live query, not each client. */
import { expect, test } from "vitest";
import { startFeed } from "../../support/feed-harness.ts";
import { follow, Recorder } from "../../support/recorder.ts";

const LIVE_QUERIES = 50;
const CLIENTS = Number(process.env["TIDEWIRE_HERD"] ?? 5_000);
const MISSED = 100;

const totalOf = async (metric: { get(): Promise<{ values: { value: number }[] }> }) =>
  (await metric.get()).values.reduce((sum, { value }) => sum + value, 0);

test.each([
  ["out of the history", 64, 0],
  ["out of the oplog", 1, 400_000],
])("%s", async (_name, historyMiB, padBytes) => {
  const { client, db, feed, metrics, spec } = await startFeed({
    history: { bytes: historyMiB * 1_048_576 },
  });
  const things = db.collection<{ _id: string; room: number; n: number }>("things");
  const writeAll = async (from: number, to: number) => {
    for (let n = from; n < to; n++) {
      await things.insertMany(
        Array.from({ length: LIVE_QUERIES }, (_, room) => ({ _id: `${room}-${n}`, room, n })),
      );
    }
    if (padBytes > 0) {
      // More than the history holds, between what is missed and now.
      const pad = "x".repeat(padBytes);
      for (let n = 0; n < 4; n++)
        await db.collection<{ room: number; pad: string }>("things").insertOne({ room: -1, pad });
    }
    const { operationTime } = await client.db("admin").command({ ping: 1 });
    await feed.timeline.reached(operationTime.toBigInt(), 120_000);
  };
  await writeAll(0, 2);
  const join = (sink: Recorder, room: number, cursor?: string) => {
    const position = cursor === undefined ? null : feed.timeline.codec.decode(cursor);
    if (typeof position === "string") throw new Error(position);
    return follow(feed, spec({ room }), sink, { snapshot: true, resumeFrom: position, refused: null });
  };
  const sinks = Array.from({ length: CLIENTS }, () => new Recorder());
  const joined = await Promise.all(sinks.map((sink, index) => join(sink, index % LIVE_QUERIES)));
  await expect.poll(() => sinks.every(({ live }) => live === 1), { timeout: 60_000 }).toBe(true);
  expect(await totalOf(metrics.snapshotTime)).toBeGreaterThan(0);
  const reads = async () =>
    (await metrics.snapshots.get()).values.find(({ labels }) => labels["served"] === "read")?.value ?? 0;
  expect(await reads()).toBeLessThanOrEqual(LIVE_QUERIES);
  for (const { delivery } of joined) feed.unsubscribe(delivery);

  await writeAll(2, 2 + MISSED);
  const readsBefore = await reads();
  const opensBefore = await totalOf(metrics.catchUps);
  const begin = performance.now();
  await Promise.all(sinks.map((sink, index) => join(sink, index % LIVE_QUERIES, sink.cursor)));
  await expect.poll(() => sinks.every(({ live }) => live === 2), { timeout: 60_000 }).toBe(true);
  const ms = Math.round(performance.now() - begin);
  expect(await reads()).toBe(readsBefore);
  expect((await totalOf(metrics.catchUps)) - opensBefore).toBe(CLIENTS);
  for (const [index, sink] of sinks.entries()) {
    expect(sink.errors).toEqual([]);
    expect(sink.state.size).toBe(2 + MISSED);
    const room = index % LIVE_QUERIES;
    expect(sink.state.has(JSON.stringify(`${room}-${1 + MISSED}`))).toBe(true);
  }
  console.log(
    `herd ${_name}: ${CLIENTS} clients on ${LIVE_QUERIES} live queries, ${MISSED} changes missed each: ${ms} ms, 0 snapshot reads`,
  );
});

/** Many broad live queries on a short history: what they hold together stays bounded, and nobody is reset for it. */
import { expect, test } from "vitest";
import { startFeed } from "../../support/feed-harness.ts";
import { FRESH, follow } from "../../support/recorder.ts";

const PATIENCE = { timeout: 60_000 };
const HISTORY_BYTES = 1_048_576;
const LIVE_QUERIES = 12;
/** Small ones: the history holds them all. */
const COMMITS = 600;

test("[G6] change logs hold no more than history.bytes together, and what they let go of is still resumed from", async () => {
  const { client, db, feed, metrics, spec } = await startFeed({ history: { bytes: HISTORY_BYTES } });
  const things = db.collection<{ _id: number; n: number }>("things");
  const queries = Array.from({ length: LIVE_QUERIES }, (_, index) => spec({ n: { $gte: -index } }));
  const sorted = spec({}, undefined, "things", { sort: [["n", 1]] });
  const followers = await Promise.all([...queries, sorted].map((query) => follow(feed, query)));
  await expect.poll(() => followers.every(({ sink }) => sink.live === 1), PATIENCE).toBe(true);
  const [first] = followers;
  const last = followers.at(-1);
  if (first === undefined || last === undefined) throw new Error("nobody follows");
  await things.insertOne({ _id: 0, n: 0 });
  await expect.poll(() => followers.every(({ sink }) => sink.state.size === 1), PATIENCE).toBe(true);
  for (const { delivery } of [first, last]) feed.unsubscribe(delivery);

  await things.insertMany(Array.from({ length: COMMITS }, (_, index) => ({ _id: index + 1, n: index + 1 })));
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  await feed.timeline.reached(operationTime.toBigInt(), PATIENCE.timeout);
  const bytes = async () => (await metrics.changeLogBytes.get()).values[0]?.value ?? 0;
  await expect.poll(bytes, PATIENCE).toBeGreaterThan(HISTORY_BYTES / 4);
  expect(await bytes()).toBeLessThanOrEqual(HISTORY_BYTES);

  for (const { delivery, sink } of [first, last]) {
    const resumeFrom = feed.timeline.codec.decode(sink.cursor);
    if (typeof resumeFrom === "string") throw new Error(resumeFrom);
    await follow(feed, delivery.liveQuery.spec, sink, { ...FRESH, resumeFrom });
    await expect.poll(() => sink.live, PATIENCE).toBe(2);
    expect(sink.state.size).toBe(COMMITS + 1);
    expect(sink.messages.filter(({ type }) => type === "reset")).toEqual([]);
  }
  await expect.poll(bytes, PATIENCE).toBeLessThanOrEqual(HISTORY_BYTES);
});

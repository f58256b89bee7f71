/** A write of many documents under a sorted live query of all of them, from MongoDB to the client's own list. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { createClient } from "../../../src/client/client.ts";
import { startFeed } from "../../support/feed-harness.ts";
import { FRESH, follow, Recorder } from "../../support/recorder.ts";
import { startTestService } from "../../support/service.ts";

interface Row {
  _id: number;
  n: number;
  v?: number;
}

const COUNT = 10_000;

test.each([
  ["turns the order around", [{ $mul: { n: -1 } }]],
  ["leaves the order", [{ $inc: { v: 1 } }]],
  [
    "moves each to a place between others, twice",
    [{ $bit: { n: { xor: 4_095 } } }, { $bit: { n: { xor: 1_365 } } }],
  ],
])("a write of 10,000 documents that %s ends in the order that find gives", async (name, updates) => {
  const { service, db, now } = await startTestService({
    collections: { rows: { rules: [{ name: "all", anonymous: true }] } },
    auth: { anonymous: true },
    // Without images the documents of each event are read, which takes a busy machine longer than a fence waits by default.
    limits: { fenceTimeout: "2m" },
    // Without a history, a client that reads more slowly than the service sends is reset.
    history: { window: "5m" },
  });
  const rows = db.collection<Row>("rows");
  await rows.insertMany(Array.from({ length: COUNT }, (_, n) => ({ _id: n, n: 1 + ((n * 7_919) % COUNT) })));
  const url = `http://127.0.0.1:${service.address.port}`;
  const client = createClient({ url, WebSocket });
  onTestFinished(() => client.close());
  const query = client.collection<Row>("rows").find().sort("n");
  let changes = 0;
  let snapshots = 0;
  let lastMs = 0;
  query.subscribe({
    change: ({ type }) => {
      if (type === "snapshot") snapshots++;
      else changes++;
      lastMs = performance.now();
    },
  });
  await query.snapshot();
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const startedMs = performance.now();
  for (const update of updates) await rows.updateMany({}, update);
  const { t, i } = await now();
  await client.fence({ $timestamp: { t, i } });
  const pauseMs = Math.round(delay.max / 1e6);
  console.log(`${name}: last change after ${Math.round(lastMs - startedMs)} ms, longest pause ${pauseMs} ms`);
  expect([changes, snapshots]).toEqual([COUNT * updates.length, 1]);
  const expected = await rows.find().sort({ n: 1, _id: 1 }).toArray();
  expect(query.getState().data).toEqual(expected);
});

test("other work has its turn between the batches of a sorted snapshot, which is in memory as a whole", async () => {
  const { db, feed, spec } = await startFeed({ limits: { snapshotBatchBytes: 1_024 } });
  await db.collection<Row>("things").insertMany(Array.from({ length: 1_000 }, (_, n) => ({ _id: n, n })));
  const sink = new Recorder();
  let turn = 0;
  const turns: number[] = [];
  const count = () => {
    turn++;
    counted = setImmediate(count);
  };
  let counted = setImmediate(count);
  onTestFinished(() => {
    clearImmediate(counted);
  });
  sink.onCursor = () => turns.push(turn);
  await follow(feed, spec({}, undefined, "things", { sort: [["n", 1]] }), sink, FRESH);
  await expect.poll(() => sink.live, { timeout: 60_000 }).toBe(1);
  expect(sink.state.size).toBe(1_000);
  expect(turns.length).toBeGreaterThan(10);
  expect(new Set(turns.slice(0, -1)).size, turns.join()).toBe(turns.length - 1);
});

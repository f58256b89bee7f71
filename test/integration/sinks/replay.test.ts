/** A run against a real MongoDB, with a target that takes messages when the test says so. */
import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { SinkOptions } from "../../../src/sinks/options.ts";
import { SinkLedger } from "../../../src/sinks/sink-ledger.ts";
import { SinkRun } from "../../../src/sinks/sink-run.ts";
import type { RunEnd } from "../../../src/sinks/sink-run-parts.ts";
import { SinkStore } from "../../../src/sinks/sink-store.ts";
import type { Target } from "../../../src/sinks/target.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { testDatabase } from "../../support/mongod.ts";
import { ACCEPTED, sinkMessage, sinkMessages } from "../../support/sink-messages.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
const OPTIONS = SinkOptions.parse({
  collection: "orders",
  concurrency: 1,
  to: {
    webhook: { url: "https://receiver.example/", secret: `whsec_${Buffer.alloc(32, 7).toString("base64")}` },
  },
});

test("a message that is replayed while the target is slow leaves no other one behind in the spool", async () => {
  const { client, db } = await testDatabase();
  const store = new SinkStore(db, client);
  await store.prepare();
  const begun = await store.begin("late", 1n, "a");
  if (begun === null) throw new Error("there is a newer holder");
  const open = deferred();
  const sent: string[] = [];
  const target: Target = {
    batchSize: 1,
    close: async () => {},
    send: async (messages) => {
      await open.promise;
      sent.push(...messages.map(({ id }) => id));
      return messages.map(() => ACCEPTED);
    },
  };
  const parts = guardParts();
  const ledger = new SinkLedger("late", begun.state, createMetrics());
  const ends: RunEnd[] = [];
  const run = new SinkRun(
    {
      ...parts,
      name: "late",
      options: OPTIONS,
      turn: begun.turn,
      store,
      answer: (ask) => ask(),
      target,
      ledger,
      isHeld: () => true,
      onEnd: (end) => ends.push(end),
    },
    false,
  );
  await run.start();
  const window = sinkMessages(1_000);
  for (const message of window) await run.take(message, null);
  const taken = run.take(sinkMessage("new"), { cursor: "c", ticket: "t" });
  const replayed = {
    reason: "refused",
    excerpt: "",
    attempts: 1,
    atMs: 0,
    parkedAtMs: 0,
    message: sinkMessage("old"),
  };
  await run.replay(replayed);
  await taken;
  open.resolve();
  await expect.poll(() => sent.length, PATIENCE).toBe(1_002);
  expect(new Set(sent.slice(-2))).toEqual(new Set(["old", "new"]));
  await expect.poll(async () => (await store.states())[0]?.spooledMessages, PATIENCE).toBe(0);
  expect((await store.states())[0]?.position).toEqual({ cursor: "c", ticket: "t" });
  expect(ends).toEqual([]);
  run.abandon();
});

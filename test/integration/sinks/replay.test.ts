/** A run against a real MongoDB, with a target that takes messages when the test says so. */
import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { ACCEPTED, sinkMessage, sinkMessages } from "../../support/sink-messages.ts";
import { sinkRuns, targetBy } from "../../support/sink-run.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };

test("a message that is replayed while the target is slow leaves no other one behind in the spool", async () => {
  const { begin, stateOf, ends } = await sinkRuns();
  const open = deferred();
  const sent: string[] = [];
  const target = targetBy(async ({ id }) => {
    await open.promise;
    sent.push(id);
    return ACCEPTED;
  });
  const run = await begin(target, { concurrency: 1 });
  const window = sinkMessages(1_000);
  for (const message of window) await run.take(message, null);
  const taken = run.take(sinkMessage("new"), { cursor: "c", ticket: "t" });
  const replayed = {
    reason: "refused",
    excerpt: "",
    attempts: 1,
    atMs: 0,
    parkedAtMs: 0,
    rights: 0,
    message: sinkMessage("old"),
  };
  await run.replay(replayed);
  await taken;
  open.resolve();
  await expect.poll(() => sent.length, PATIENCE).toBe(1_002);
  expect(new Set(sent.slice(-2))).toEqual(new Set(["old", "new"]));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  expect((await stateOf())?.position).toEqual({ cursor: "c", ticket: "t" });
  expect(ends).toEqual([]);
  run.abandon();
});

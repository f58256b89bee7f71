/** Runs that end without a warning, against a real MongoDB: what their successors send, and in which order. */
import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { ACCEPTED, sinkMessage } from "../../support/sink-messages.ts";
import { sinkRuns, targetBy } from "../../support/sink-run.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
const at = (n: number) => ({ cursor: `c${n}`, ticket: "t" });
const message = (n: number, key = `k${n}`) => sinkMessage(`m${n}`, key);

const targetThatTakes = (sent: string[]) =>
  targetBy(async ({ id }) => {
    sent.push(id);
    return ACCEPTED;
  });

/** A target that never answers for one message, and takes all others. */
function targetThatHolds(id: string) {
  const sent: string[] = [];
  const never = deferred();
  const target = targetBy(async (one) => {
    if (one.id === id) await never.promise;
    sent.push(one.id);
    return ACCEPTED;
  });
  return { target, sent };
}

test("messages that were accepted while an earlier one was on its way are not sent again", async () => {
  const { begin, stateOf } = await sinkRuns();
  const { target, sent } = targetThatHolds("m1");
  const first = await begin(target);
  first.note(at(0));
  for (let n = 1; n <= 20; n++) await first.take(message(n), at(n));
  await expect.poll(async () => (await stateOf())?.ahead.length, PATIENCE).toBe(19);
  expect((await stateOf())?.position).toEqual(at(0));
  first.abandon();
  expect(sent).toHaveLength(19);

  const again: string[] = [];
  const second = await begin(targetThatTakes(again));
  for (let n = 1; n <= 21; n++) await second.take(message(n), at(n));
  await expect.poll(async () => (await stateOf())?.position, PATIENCE).toEqual(at(21));
  expect(again).toEqual(["m1", "m21"]);
  expect((await stateOf())?.ahead).toEqual([]);
  second.abandon();
});

test("one message that takes long holds the position back for a bounded number of messages", async () => {
  const { begin, stateOf } = await sinkRuns();
  const { target } = targetThatHolds("m1");
  const first = await begin(target);
  first.note(at(0));
  for (let n = 1; n <= 300; n++) await first.take(message(n), at(n));
  await expect.poll(async () => (await stateOf())?.delivered, PATIENCE).toBe(299);
  expect(await stateOf()).toMatchObject({ spooledMessages: 1, position: { ticket: "t" } });
  expect((await stateOf())?.position).not.toEqual(at(0));
  first.abandon();

  const again: string[] = [];
  const second = await begin(targetThatTakes(again));
  const from = Number((await stateOf())?.position?.cursor.slice(1));
  for (let n = from + 1; n <= 301; n++) await second.take(message(n), at(n));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  await expect.poll(async () => (await stateOf())?.position, PATIENCE).toEqual(at(301));
  expect(again).toContain("m1");
  expect(new Set(again).size).toBe(again.length);
  second.abandon();
});

test.for<[string, number]>([
  ["a spool with room for one message", 400],
  ["a spool with room for none", 200],
])("one message that takes long does not reset a sink that has %s", async ([, bytes]) => {
  const { begin, stateOf, ends } = await sinkRuns();
  const { target } = targetThatHolds("m1");
  const run = await begin(target, { spool: { bytes, ageMs: 60_000 } });
  run.note(at(0));
  // After the 200th, every second message waits behind the one that takes long. Once that one is copied, the first of these
  // holds the position back, again for more messages than a save may name.
  const waits = (n: number) => n > 200 && n % 2 === 0;
  for (let n = 1; n <= 700; n++) await run.take(message(n, waits(n) ? "k1" : `k${n}`), at(n));
  await expect.poll(async () => (await stateOf())?.delivered, PATIENCE).toBe(449);
  expect(ends).toEqual([]);
  run.abandon();
});

test("the order of a document holds if a run ends while the target is slow and the spool has begun", async () => {
  const { begin, stateOf } = await sinkRuns();
  const never = deferred();
  const first = await begin(targetBy(() => never.promise.then(() => ACCEPTED)));
  first.note(at(0));
  const count = 1_001;
  // All are of one document, so that the first one is in flight and the last one is in the spool.
  for (let n = 1; n <= count; n++) await first.take(message(n, "k"), at(n));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(count);
  expect((await stateOf())?.position).toEqual(at(count));
  first.abandon();

  const sent: string[] = [];
  const second = await begin(targetThatTakes(sent));
  await expect.poll(() => sent.length, PATIENCE).toBe(count);
  expect(sent).toEqual(Array.from({ length: count }, (_, n) => `m${n + 1}`));
  second.abandon();
});

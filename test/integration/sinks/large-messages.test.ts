/** Runs with a message that the state database cannot hold, so that it can neither wait nor be parked. */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { ACCEPTED, sinkMessage } from "../../support/sink-messages.ts";
import { sinkRuns, targetBy } from "../../support/sink-run.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
const at = (n: number) => ({ cursor: `c${n}`, ticket: "t" });
const REFUSED = { kind: "refused", reason: "too large" } as const;
/** It does not compress to less than a document of MongoDB may have. */
const large = () => sinkMessage("large", "k", { text: randomBytes(17 * 1_048_576).toString("base64") });

test.for<[string, number]>([
  ["the only attempt", 1],
  ["the first of several attempts", 5],
])(
  "a refused message that can be neither kept nor parked is lost after %s, and does not stop the sink",
  async ([, attempts]) => {
    const { begin, stateOf, lost, ends } = await sinkRuns();
    const sent: string[] = [];
    const target = targetBy(async ({ id }) => {
      if (id === "large") return REFUSED;
      sent.push(id);
      return ACCEPTED;
    });
    const run = await begin(target, { retry: { attempts, firstMs: 3_600_000, factor: 1, maxMs: 3_600_000 } });
    run.note(at(0));
    await run.take(large(), at(1));
    // A later message of its document, which has nothing to wait for.
    await run.take(sinkMessage("m2", "k"), at(2));
    await run.take(sinkMessage("m3", "other"), at(3));
    await expect.poll(async () => (await stateOf())?.position, PATIENCE).toEqual(at(3));
    expect(sent.sort()).toEqual(["m2", "m3"]);
    expect(await stateOf()).toMatchObject({ delivered: 2, failed: 1, parked: 0, spooledMessages: 0 });
    expect(await lost()).toBe(1);
    expect(ends).toEqual([]);
    run.abandon();
  },
);

test("later messages of a document do not overtake a large one that a slow target has not answered yet", async () => {
  const { begin, stateOf, lost } = await sinkRuns();
  const open = deferred();
  const sent: string[] = [];
  const target = targetBy(async ({ id }) => {
    if (id === "large") await open.promise;
    sent.push(id);
    return ACCEPTED;
  });
  const run = await begin(target);
  run.note(at(0));
  await run.take(large(), at(1));
  for (let n = 2; n <= 5; n++) await run.take(sinkMessage(`m${n}`, "k"), at(n));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(4);
  expect((await stateOf())?.position).toEqual(at(0));
  open.resolve();
  await expect.poll(async () => (await stateOf())?.position, PATIENCE).toEqual(at(5));
  expect(sent).toEqual(["large", "m2", "m3", "m4", "m5"]);
  expect(await lost()).toBe(0);
  run.abandon();
});

test("a large message that was not answered before its run ended is lost if later ones wait, which keep their order", async () => {
  const { begin, stateOf, lost } = await sinkRuns();
  const never = deferred();
  const messages = [large(), ...[2, 3, 4, 5].map((n) => sinkMessage(`m${n}`, "k"))];
  const first = await begin(targetBy(() => never.promise.then(() => ACCEPTED)));
  first.note(at(0));
  for (const [index, message] of messages.entries()) await first.take(message, at(index + 1));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(4);
  first.abandon();

  const sent: string[] = [];
  const target = targetBy(async ({ id }) => {
    sent.push(id);
    return ACCEPTED;
  });
  const second = await begin(target);
  for (const [index, message] of messages.entries()) await second.take(message, at(index + 1));
  await expect.poll(async () => (await stateOf())?.position, PATIENCE).toEqual(at(5));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(0);
  expect(sent).toEqual(["m2", "m3", "m4", "m5"]);
  expect(await lost()).toBe(1);
  second.abandon();
});

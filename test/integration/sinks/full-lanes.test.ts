/** Targets that refuse more documents than may wait for a retry, against a real MongoDB. */
import { expect, test } from "vitest";
import type { SendResult, SinkMessage } from "../../../src/sinks/target.ts";
import { ACCEPTED, sinkMessage } from "../../support/sink-messages.ts";
import { sinkRuns, targetBy } from "../../support/sink-run.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
const LANES = 3;
const REFUSED: SendResult = { kind: "refused", reason: "HTTP 422" };
const at = (n: number) => ({ cursor: `c${n}`, ticket: "t" });

/** A run whose target accepts messages by a function, and the ids that it has accepted. */
async function startRun(accepts: (message: SinkMessage) => boolean) {
  const runs = await sinkRuns();
  const accepted: string[] = [];
  const target = targetBy(async (message) => {
    if (!accepts(message)) return REFUSED;
    accepted.push(message.id);
    return ACCEPTED;
  });
  const run = await runs.begin(target, {}, { lanesMax: LANES });
  run.note(at(0));
  return { ...runs, run, accepted };
}

test("with as many refused documents as may wait, one more is parked at once, and the others are delivered", async () => {
  const { run, store, stateOf, accepted } = await startRun(({ id }) => !id.startsWith("poison"));
  for (let n = 1; n <= LANES; n++) await run.take(sinkMessage(`poison${n}`, `p${n}`), at(n));
  await expect.poll(async () => (await stateOf())?.spooledMessages, PATIENCE).toBe(LANES);
  expect((await stateOf())?.parked).toBe(0);

  await run.take(sinkMessage("poison4", "p4"), at(4));
  await run.take(sinkMessage("later4", "p4"), at(5));
  await run.take(sinkMessage("good", "g"), at(6));
  await expect.poll(() => [...accepted].sort(), PATIENCE).toEqual(["good", "later4"]);
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(1);
  const [parked] = await store.parked("late", { limit: 10 });
  expect(parked).toMatchObject({ attempts: 1, message: { id: "poison4" } });
  expect(parked?.reason).toMatch(/^HTTP 422; .*too many refused documents/);
  // The refused documents that wait keep their place in the schedule.
  const waiting = { spooledMessages: LANES, trouble: null, position: at(6) };
  await expect.poll(stateOf, PATIENCE).toMatchObject(waiting);
  run.abandon();
});

test("a target that refuses everything is asked less often, and few messages are parked meanwhile", async () => {
  const count = 3_000;
  let isBroken = true;
  const { run, stateOf, accepted } = await startRun(() => !isBroken);
  for (let n = 1; n <= count; n++) await run.take(sinkMessage(`m${n}`, `k${n}`), at(n));
  await expect.poll(async () => (await stateOf())?.trouble, PATIENCE).toMatch(/it refuses everything/);
  isBroken = false;
  await expect.poll(stateOf, PATIENCE).toMatchObject({ spooledMessages: 0, trouble: null });
  expect(accepted.length).toBeGreaterThan(1_500);
  await expect.poll(async () => (await stateOf())?.parked, PATIENCE).toBe(count - accepted.length);
  run.abandon();
});

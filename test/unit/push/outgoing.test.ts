import { expect, test } from "vitest";
import { Outgoing, type Push } from "../../../src/push/outgoing.ts";

const OPTIONS = { attempts: 3, retryFirstMs: 1_000, retryMaxMs: 5_000, ttlMs: 60_000 };
const push = (payload: string, atMs = 0): Push => ({ kind: "added", atMs, payload, body: null });

test("a later change replaces one that was not sent, and one that is being sent is not taken again", () => {
  const outgoing = new Outgoing(OPTIONS);
  expect([outgoing.offer(push("1")), outgoing.offer(push("2"))]).toEqual([false, true]);
  const sent = outgoing.take(0);
  expect(sent?.payload).toBe("2");
  expect(outgoing.offer(push("3"))).toBe(false);
  expect(outgoing.take(0)).toBeNull();
  outgoing.settled(sent as Push);
  expect(outgoing.take(0)?.payload).toBe("3");
});

test("waits longer after each failure, as long as the push service asks, and never longer than the limit", () => {
  const outgoing = new Outgoing({ ...OPTIONS, attempts: 10 });
  const pauses: number[] = [];
  outgoing.offer(push("1"));
  for (const askedMs of [0, 0, 0, 0, 0, 4_900, 1_000_000]) {
    const taken = outgoing.take(1_000_000) as Push;
    outgoing.failed(taken, 0, askedMs, 1);
    pauses.push(outgoing.dueMs);
  }
  expect(pauses).toEqual([1_000, 2_000, 4_000, 5_000, 5_000, 5_000, 5_000]);
  const random = new Outgoing(OPTIONS);
  random.offer(push("1"));
  random.failed(random.take(0) as Push, 0, 0, 0);
  expect([random.take(499), random.take(500)?.payload]).toEqual([null, "1"]);
});

test("drops a push after its last attempt, and one that is older than its time to live", () => {
  const outgoing = new Outgoing(OPTIONS);
  outgoing.offer(push("1"));
  const outcomes = [0, 1, 2].map(() => outgoing.failed(outgoing.take(10_000) as Push, 0, 0, 1));
  expect(outcomes).toEqual(["retried", "retried", "dropped"]);
  expect(outgoing.unaccepted).toBeNull();
  outgoing.offer(push("2", 0));
  expect(outgoing.failed(outgoing.take(59_000) as Push, 59_000, 0, 1)).toBe("retried");
  expect(outgoing.failed(outgoing.take(70_000) as Push, 70_000, 0, 1)).toBe("dropped");
});

test("a newer change is due after the pause of the failed one, and has all of its attempts", () => {
  const outgoing = new Outgoing(OPTIONS);
  outgoing.offer(push("1"));
  for (const last of [false, false, true]) {
    const taken = outgoing.take(10_000) as Push;
    if (last) outgoing.offer(push("2"));
    expect(outgoing.failed(taken, 0, 0, 1)).toBe(last ? "replaced" : "retried");
  }
  expect([outgoing.take(3_999), outgoing.take(4_000)?.payload]).toEqual([null, "2"]);
  expect(outgoing.attempts).toBe(0);
});

test("a withdrawal drops what waits and what is being sent, whose answer then changes nothing", () => {
  const outgoing = new Outgoing(OPTIONS);
  outgoing.offer(push("1"));
  const taken = outgoing.take(0) as Push;
  outgoing.offer(push("2"));
  expect([outgoing.withdraw(), outgoing.withdraw()]).toEqual([true, false]);
  expect(outgoing.isWanted(taken)).toBe(false);
  outgoing.postponed(taken, 0, 1);
  expect(outgoing.failed(taken, 0, 0, 1)).toBe("replaced");
  expect(outgoing.unaccepted).toBeNull();
});

test("continues with the push that an earlier holder has saved", () => {
  const saved = { push: push("1"), attempts: 2, dueMs: 700 };
  const outgoing = new Outgoing(OPTIONS, saved);
  expect([outgoing.take(699), outgoing.take(700)?.payload]).toEqual([null, "1"]);
  expect(outgoing.failed(saved.push, 800, 0, 1)).toBe("dropped");
});

test("a refused push is dropped, and each refusal in a row keeps the next one back for longer, also after a withdrawal", () => {
  const outgoing = new Outgoing(OPTIONS);
  const dueMs: number[] = [];
  for (const answer of ["refused", "refused", "withdrawn", "refused", "refused", "accepted", "refused"]) {
    outgoing.offer(push("1"));
    const taken = outgoing.take(100_000) as Push;
    if (answer === "refused") outgoing.refused(taken, 0, 1);
    else if (answer === "accepted") outgoing.settled(taken);
    else outgoing.withdraw();
    outgoing.offer(push("2"));
    dueMs.push(outgoing.dueMs);
    outgoing.withdraw();
  }
  expect(dueMs).toEqual([1_000, 2_000, 2_000, 4_000, 5_000, 5_000, 1_000]);
});

import { expect, test } from "vitest";
import { WorkTurns } from "../../../src/gateway/connection/work-turns.ts";

/** Turns of 10 ms by a clock that only the jobs move; notes after which jobs somebody else had their turn. */
function setup() {
  let now = 0;
  const done: string[] = [];
  const turns = new WorkTurns(10, () => now);
  const job = (name: string, ms: number) =>
    turns.run(() => {
      now += ms;
      done.push(name);
    });
  const others = async (rounds: number) => {
    for (let round = 0; round < rounds; round++) {
      await new Promise(setImmediate);
      done.push("|");
    }
  };
  return { job, others, done, turns };
}

test("a turn ends with the job that passes its time, and the rest waits until others had theirs", async () => {
  const { job, others, done } = setup();
  const all = Promise.all(["a", "b", "c", "d", "e"].map((name) => job(name, 4)));
  await others(3);
  await all;
  expect(done.join("")).toBe("abc|de||");
});

test("a job longer than a turn has a turn of its own", async () => {
  const { job, others, done } = setup();
  const all = Promise.all([job("a", 600), job("b", 600), job("c", 1)]);
  await others(4);
  await all;
  expect(done.join("")).toBe("a|b|c||");
});

test("two who wait for each of their jobs take turns, however many each has", async () => {
  const { job, done } = setup();
  const inOrder = async (name: string, count: number) => {
    for (let i = 0; i < count; i++) await job(name, 1);
  };
  await Promise.all([inOrder("a", 5), inOrder("b", 2)]);
  expect(done.join("")).toBe("ababaaa");
});

test("a job that fails rejects its own promise and no other", async () => {
  const { job, turns } = setup();
  const failed = turns.run(() => {
    throw new Error("injected");
  });
  const next = job("a", 1);
  await expect(failed).rejects.toThrow("injected");
  await next;
});

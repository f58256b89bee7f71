import { expect, test } from "vitest";
import { CommitGate } from "../../../src/feed/commit-gate.ts";
import { type SliceClock, Slices } from "../../../src/feed/slices.ts";

/** A clock that moves only when a test moves it; a yield takes 1,000 ms of other people's work. */
function clock() {
  const at = { ms: 0 };
  const sliceClock: SliceClock = {
    now: () => at.ms,
    yield: async () => {
      at.ms += 1_000;
    },
  };
  return { at, sliceClock };
}

test("work pauses once a slice is over, and not before", async () => {
  const { at, sliceClock } = clock();
  const slices = new Slices(50, sliceClock);
  const pausedAfter: number[] = [];
  let done = 0;
  function* work(): Generator<void, void> {
    for (; done < 20; done++) {
      if (pausedAfter.length < slices.pauses) pausedAfter.push(done);
      at.ms += 10;
      yield;
    }
  }
  await slices.run(work());
  expect(pausedAfter).toEqual([5, 10, 15]);
});

test("a slice of 0 ms pauses after each step", async () => {
  const slices = new Slices(0, clock().sliceClock);
  await slices.run([undefined, undefined, undefined].values());
  expect(slices.pauses).toBe(3);
});

test("the work clock does not advance during pauses", async () => {
  const { at, sliceClock } = clock();
  const slices = new Slices(0, sliceClock);
  const from = slices.workMs;
  at.ms += 7;
  await slices.pause();
  at.ms += 3;
  expect(slices.workMs - from).toBe(10);
});

test("work behind the gate runs one after the other, in the order in which it came", async () => {
  const gate = new CommitGate();
  const steps: string[] = [];
  const work = (name: string) =>
    gate.handOut(async () => {
      steps.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      steps.push(`${name} ends`);
    });
  const all = [work("a"), work("b"), work("c")];
  expect(gate.isOpen).toBe(false);
  await Promise.all(all);
  expect(gate.isOpen).toBe(true);
  expect(steps).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
});

test("a waiter for the gate has its turn before the next work closes it again", async () => {
  const gate = new CommitGate();
  let seen = 0;
  let isOver = false;
  const waiting = (async () => {
    while (!isOver) {
      while (!gate.isOpen) await gate.opens;
      seen++;
      await gate.opens;
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  for (let n = 0; n < 20; n++)
    await gate.handOut(() => new Promise<void>((resolve) => setImmediate(resolve)));
  isOver = true;
  await waiting;
  expect(seen).toBeGreaterThan(0);
});

test("opens the gate after work that failed", async () => {
  const gate = new CommitGate();
  await expect(gate.handOut(() => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  expect(gate.isOpen).toBe(true);
  const fails = () => {
    throw new Error("broken at once");
  };
  expect(() => gate.handOut(fails)).toThrow("broken at once");
  expect(gate.isOpen).toBe(true);
});

test("work that only delays commits leaves the gate open", async () => {
  const gate = new CommitGate();
  const steps: string[] = [];
  const edit = gate.exclusively(async () => {
    steps.push(`edit, open: ${gate.isOpen}`);
    await new Promise((resolve) => setImmediate(resolve));
    steps.push("edited");
  });
  await gate.handOut(async () => void steps.push(`commit, open: ${gate.isOpen}`));
  await edit;
  expect(steps).toEqual(["edit, open: true", "edited", "commit, open: false"]);
});

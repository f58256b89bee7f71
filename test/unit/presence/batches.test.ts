/** Batches: what is collected, and how errors reach the callers. */
import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { Batches } from "../../../src/presence/batches.ts";
import { guardParts } from "../../support/guard-parts.ts";

test("items of a moment are worked on together, and later ones after that", async () => {
  const batches: number[][] = [];
  const first = deferred();
  const queue = new Batches<number>(1, guardParts(), async (items) => {
    batches.push([...items]);
    if (batches.length === 1) await first.promise;
  });
  const done = [queue.add(1), queue.add(2)];
  await expect.poll(() => batches.length).toBe(1);
  const later = [queue.add(3), queue.add(4)];
  first.resolve();
  await Promise.all([...done, ...later]);
  expect(batches).toEqual([
    [1, 2],
    [3, 4],
  ]);
});

test("an error reaches the callers of its batch alone", async () => {
  let isDown = true;
  const queue = new Batches<number>(1, guardParts(), async () => {
    if (isDown) throw new Error("down");
  });
  await expect(queue.add(1)).rejects.toThrow("down");
  isDown = false;
  await queue.add(2);
});

test("a flush works on everything that waits", async () => {
  const batches: number[][] = [];
  const queue = new Batches<number>(60_000, guardParts(), async (items) => void batches.push([...items]));
  const done = queue.add(1);
  await queue.flush();
  await done;
  expect(batches).toEqual([[1]]);
});

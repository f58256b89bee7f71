import { expect, test } from "vitest";
import { SmallSet } from "../../../src/feed/small-set.ts";
import { Random } from "../../support/random.ts";

test("does what a set does, whatever is added and deleted in whatever order", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = new Random(seed);
  let small = new SmallSet<string>();
  let set = new Set<string>();
  for (let step = 0; step < 2_000; step++) {
    const element = `element ${random.int(0, 3)}`;
    if (random.chance(0.4)) {
      small.add(element);
      set.add(element);
    } else if (random.chance(0.98)) expect(small.delete(element), `seed ${seed}`).toBe(set.delete(element));
    else {
      small = new SmallSet();
      set = new Set();
    }
    expect([small.size, small.has(element), [...small]], `seed ${seed}`).toEqual([
      set.size,
      set.has(element),
      [...set],
    ]);
  }
});

test("elements may be deleted while it is iterated", () => {
  for (const count of [1, 2, 5]) {
    const set = new SmallSet<string>();
    for (let n = 0; n < count; n++) set.add(`element ${n}`);
    let seen = 0;
    for (const element of set) {
      set.delete(element);
      seen++;
    }
    expect([seen, set.size]).toEqual([count, 0]);
  }
});

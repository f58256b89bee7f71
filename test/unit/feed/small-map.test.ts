import { expect, test } from "vitest";
import { SmallMap } from "../../../src/feed/small-map.ts";
import { Random } from "../../support/random.ts";

test("does what a map does, whatever is added and deleted in whatever order", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = new Random(seed);
  const small = new SmallMap<number, number>();
  const map = new Map<number, number>();
  for (let step = 0; step < 5_000; step++) {
    const key = random.int(0, 3);
    if (random.chance(0.4)) {
      small.set(key, step);
      map.set(key, step);
    } else if (random.chance(0.98)) expect(small.delete(key), `seed ${seed}`).toBe(map.delete(key));
    else {
      small.clear();
      map.clear();
    }
    expect([small.size, small.has(key), small.get(key)], `seed ${seed}`).toEqual([
      map.size,
      map.has(key),
      map.get(key),
    ]);
    expect([small.keys(), small.values()], `seed ${seed}`).toEqual([[...map.keys()], [...map.values()]]);
  }
});

test("its keys and values are those of the moment, whatever happens meanwhile", () => {
  for (const count of [1, 2]) {
    const map = new SmallMap<number, string>();
    for (let key = 0; key < count; key++) map.set(key, `value ${key}`);
    const seen: number[] = [];
    for (const key of map.keys()) {
      seen.push(key);
      map.clear();
      map.set(key + 10, "later");
    }
    expect(seen).toEqual(Array.from({ length: count }, (_, key) => key));
  }
});

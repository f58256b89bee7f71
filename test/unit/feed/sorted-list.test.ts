/** The list against a plain sorted array, and the growth of its work with its size. */
import { expect, test } from "vitest";
import { type ListWork, SortedList } from "../../../src/feed/sorted-list.ts";
import { startSeed } from "../../property/seed.ts";
import { Random } from "../../support/random.ts";

/** Equal `n` are common, so that the `id` breaks ties. */
interface Item {
  readonly n: number;
  readonly id: number;
}

const compare = (a: Item, b: Item) => a.n - b.n || a.id - b.id;

/** The first `count` indexes in an order that jumps about. */
const shuffled = (count: number) => Array.from({ length: count }, (_, i) => (i * 7_919) % count);

function listOf(count: number, work?: ListWork): SortedList<Item> {
  const list = new SortedList<Item>(compare, work);
  list.load(shuffled(count).map((n) => ({ n, id: n })));
  return list;
}

test.each([0, 1, 47, 48, 49, 64, 65, 3_000])("loads %d items in any order", (count) => {
  const list = listOf(count);
  expect(list.size).toBe(count);
  expect(list.slice().map(({ n }) => n)).toEqual(Array.from({ length: count }, (_, n) => n));
  expect(list.last?.n).toBe(count === 0 ? undefined : count - 1);
});

test("finds by index and by item, at both ends and past them", () => {
  const list = listOf(500);
  expect([list.at(-1), list.at(0)?.n, list.at(499)?.n, list.at(500)]).toEqual([undefined, 0, 499, undefined]);
  expect([-1, 0, 0.5, 499, 499.5].map((n) => list.indexOf({ n, id: n }))).toEqual([0, 0, 1, 499, 500]);
  expect(list.slice(498, 900).map(({ n }) => n)).toEqual([498, 499]);
  expect([list.slice(20, 20), list.slice(500), list.slice(30, 10)]).toEqual([[], [], []]);
});

test("does not remove an item that it does not hold", () => {
  const list = listOf(100);
  expect([list.remove({ n: 50, id: 51 }), list.remove({ n: 100, id: 100 }), list.size]).toEqual([
    false,
    false,
    100,
  ]);
  expect(new SortedList(compare).remove({ n: 1, id: 1 })).toBe(false);
});

test("is empty after all items were removed, and takes new ones", () => {
  const list = listOf(5_000);
  expect(shuffled(5_000).every((n) => list.remove({ n, id: n }))).toBe(true);
  expect([list.size, list.last, list.at(0), list.slice()]).toEqual([0, undefined, undefined, []]);
  list.insert({ n: 1, id: 1 });
  expect(list.slice()).toEqual([{ n: 1, id: 1 }]);
});

test("random operations give what a sorted array gives", () => {
  const random = new Random(startSeed("sorted list"));
  const below = (end: number) => random.int(0, end - 1);
  for (const [size, growing] of [
    [0, 0.6],
    [60, 0.3],
    [400, 0.2],
    [5_000, 0.5],
  ] as const) {
    const list = new SortedList<Item>(compare);
    const plain: Item[] = Array.from({ length: size }, (_, id) => ({ n: below(40), id }));
    let nextId = size;
    list.load(plain);
    plain.sort(compare);
    for (let step = 0; step < 600; step++) {
      if (random.chance(growing)) {
        const item = { n: below(40), id: nextId++ };
        list.insert(item);
        plain.splice(plain.filter((other) => compare(other, item) < 0).length, 0, item);
      } else if (plain.length > 0) {
        const [item] = plain.splice(below(plain.length), 1);
        expect(list.remove(item!)).toBe(true);
      }
      const index = below(plain.length + 1);
      const probe = { n: below(42) - 1, id: below(nextId + 1) };
      expect(list.size).toBe(plain.length);
      expect(list.at(index)).toBe(plain[index]);
      expect(list.last).toBe(plain.at(-1));
      expect(list.indexOf(probe)).toBe(plain.filter((item) => compare(item, probe) < 0).length);
    }
    expect(list.slice()).toEqual(plain);
    const [from, to] = [below(plain.length + 1), below(plain.length + 1)];
    expect(list.slice(from, to)).toEqual(plain.slice(from, to));
  }
});

test.each([1_000, 100_000])(
  "an insertion and a removal among %d items look at a bounded number of them",
  (count) => {
    const work: ListWork = { items: 0 };
    const list = listOf(count, work);
    work.items = 0;
    const steps = 1_000;
    for (const n of shuffled(steps)) {
      list.remove({ n, id: n });
      list.insert({ n: n + 0.5, id: n });
      list.indexOf({ n, id: n });
    }
    // Two nodes of 64 items are moved, and four times the logarithm is compared.
    expect(work.items / steps).toBeLessThan(2 * 64 + 4 * Math.ceil(Math.log2(count)) + 16);
  },
);

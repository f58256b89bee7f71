import { expect, test } from "vitest";
import { keyOf, ResultSet, withDelta } from "../../../src/client/result-set.ts";
import { startSeed } from "../../property/seed.ts";
import { Random } from "../../support/random.ts";

function setOf(sorted: boolean, ...ids: unknown[]): ResultSet {
  const set = new ResultSet(sorted);
  for (const _id of ids) set.put({ _id }, null);
  return set;
}
const ids = (set: ResultSet) => set.list.map((doc) => doc["_id"]);

test("keeps `_id`s of different types apart", () => {
  expect(keyOf(1)).not.toBe(keyOf("1"));
  expect(keyOf({ $oid: "a" })).toBe(keyOf({ $oid: "a" }));
});

test("without a sort, documents stand in the order in which they came, and stay there", () => {
  const set = setOf(false, 1, 2);
  set.put({ _id: 3 }, undefined);
  set.put({ _id: 1, a: 1 }, undefined);
  expect(set.list).toEqual([{ _id: 1, a: 1 }, { _id: 2 }, { _id: 3 }]);
});

test.each([
  ["before another", 9, 2, [1, 9, 2, 3]],
  ["at the end", 9, null, [1, 2, 3, 9]],
  ["at the end, if what follows is not known", 9, 77, [1, 2, 3, 9]],
  ["to where it moves, forward", 1, null, [2, 3, 1]],
  ["to where it moves, backward", 3, 1, [3, 1, 2]],
  ["to where it is, if it moves in front of what follows already", 1, 2, [1, 2, 3]],
])("[3.2, before] puts a document %s", (_name, _id, before, order) => {
  const set = setOf(true, 1, 2, 3);
  set.put({ _id }, before);
  expect(ids(set)).toEqual(order);
});

test("a document that changes without a `before` stays where it is", () => {
  const set = setOf(true, 1, 2, 3);
  set.put({ _id: 2, a: 1 }, undefined);
  expect(set.list).toEqual([{ _id: 1 }, { _id: 2, a: 1 }, { _id: 3 }]);
});

test("the list is the same array until something changes, and then another", () => {
  const set = setOf(true, 1, 2);
  const { list } = set;
  expect(set.list).toBe(list);
  expect(set.remove(7)).toBeUndefined();
  expect(set.list).toBe(list);
  set.remove(1);
  expect(set.list).not.toBe(list);
  expect(list).toEqual([{ _id: 1 }, { _id: 2 }]);
  expect(set.list[0]).toBe(list[1]);
});

test("a copy goes its own way", () => {
  const set = setOf(true, 1, 2);
  const copy = new ResultSet(true, set);
  copy.put({ _id: 3 }, 1);
  expect([ids(set), ids(copy)]).toEqual([
    [1, 2],
    [3, 1, 2],
  ]);
});

test.each([
  ["sets a field", { a: 1 }, { b: 2 }, [], { a: 1, b: 2 }],
  ["sets inside an object", { a: { b: 1, c: 2 } }, { "a.b": 3 }, [], { a: { b: 3, c: 2 } }],
  ["makes the objects on the way", { x: 1 }, { "a.b": 3 }, [], { x: 1, a: { b: 3 } }],
  ["takes away a field", { a: 1, b: 2 }, {}, ["b"], { a: 1 }],
  ["takes away inside an object", { a: { b: 1, c: 2 } }, {}, ["a.b"], { a: { c: 2 } }],
  ["replaces an array whole", { a: [1, 2] }, { a: [3] }, [], { a: [3] }],
  ["sets and takes away together", { a: { b: 1 } }, { "a.c": 2 }, ["a.b"], { a: { c: 2 } }],
])("[3.2, delta] %s", (_name, doc, set, unset, result) => {
  const before = structuredClone(doc);
  expect(withDelta(doc, set, unset)).toEqual(result);
  expect(doc).toEqual(before);
});

test("[3.2, delta] untouched parts stay the same objects", () => {
  const doc = { _id: 1, a: { b: 1 }, c: { d: { e: 1 }, f: { g: 1 } } };
  const next = withDelta(doc, { "c.d.e": 2 });
  expect(next["a"]).toBe(doc.a);
  expect(next["c"]).toEqual({ d: { e: 2 }, f: { g: 1 } });
  expect((next["c"] as typeof doc.c).f).toBe(doc.c.f);
});

test("[3.2, delta] a field called __proto__ is a field like any other", () => {
  const next = withDelta({ _id: 1 }, JSON.parse('{"__proto__":{"x":1},"__proto__.y":2}'));
  expect(Object.getPrototypeOf(next)).toBe(Object.prototype);
  expect(({} as Record<string, unknown>)["y"]).toBeUndefined();
});

/** How many items the arrays hold that `work` searches, copies or shifts. */
function itemsTouched(work: () => void): number {
  const names = ["splice", "indexOf", "slice", "map"] as const;
  const originals = names.map((name) => [name, Array.prototype[name]] as const);
  let items = 0;
  for (const [name, original] of originals) {
    const counting = function (this: unknown[], ...args: unknown[]): unknown {
      items += this.length;
      return Reflect.apply(original, this, args);
    };
    Object.assign(Array.prototype, { [name]: counting });
  }
  try {
    work();
  } finally {
    for (const [name, original] of originals) Object.assign(Array.prototype, { [name]: original });
  }
  return items;
}

test("a change of a sorted result costs the same for 200 documents and for 10,000", () => {
  const [few, many] = [200, 10_000].map((size) => {
    const set = setOf(true, ...Array(size).keys());
    return itemsTouched(() => {
      for (let _id = 0; _id < 100; _id++) {
        set.put({ _id, n: 1 }, size - 1 - _id);
        set.remove(_id);
        set.put({ _id }, 150);
      }
    });
  });
  expect(many).toBe(few);
});

test("random changes keep the order of a plain array", () => {
  const random = new Random(startSeed("result set"));
  const set = new ResultSet(true);
  const plain: number[] = [];
  for (let step = 0; step < 3_000; step++) {
    const _id = random.int(0, 60);
    const before = random.chance(0.2) ? undefined : random.pick([null, random.int(0, 60), 99]);
    const at = plain.indexOf(_id);
    if (random.chance(0.3)) {
      expect(set.remove(_id)?.["_id"]).toBe(at < 0 ? undefined : _id);
      if (at >= 0) plain.splice(at, 1);
    } else if (before !== _id) {
      set.put({ _id, step }, before);
      if (at >= 0 && before !== undefined) plain.splice(at, 1);
      const next = plain.indexOf(before ?? -1);
      if (at < 0 || before !== undefined) plain.splice(next < 0 ? plain.length : next, 0, _id);
      expect(set.get(_id)).toEqual({ _id, step });
    }
    if (step % 50 === 0) expect(ids(set)).toEqual(plain);
  }
  expect(ids(set)).toEqual(plain);
});

import fc from "fast-check";
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { chooseAnchors, isRange } from "../../../src/feed/anchors.ts";
import { PredicateIndex } from "../../../src/feed/predicate-index.ts";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import type { ChangeEvent } from "../../../src/source/change-event.ts";

const seed = Number(process.env["TIDEWIRE_SEED"] ?? Date.now() % 2 ** 31);
const parse = (filter: object) =>
  parseFilter(BSON.EJSON.serialize(filter), { regex: "prefix", maxDepth: 100, maxPredicates: 1_000 });

/** An index of these filters, each filed under its number in a box of its own. */
function indexOf(filters: readonly object[]) {
  const index = new PredicateIndex<{ at: number }>();
  const items = filters.map((_, at) => ({ at }));
  for (const item of items) index.add(item, parse(filters[item.at] as object));
  return { index, items };
}

const update = (before: object, after: object): ChangeEvent => ({
  operation: "update",
  namespace: "db.c",
  documentKey: BSON.serialize({ _id: 1 }),
  before: BSON.serialize({ _id: 1, ...before }),
  after: BSON.serialize({ _id: 1, ...after }),
});

const found = (index: PredicateIndex<{ at: number }>, event: ChangeEvent) =>
  [...index.candidates([event])].map(({ at }) => at).sort((a, b) => a - b);

const scalar = fc.constantFrom<unknown>(
  0,
  1,
  2,
  1.5,
  -1,
  Number.NaN,
  "a",
  "b",
  "ab",
  null,
  true,
  new Date(0),
);
const value = fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }), fc.record({ b: scalar }));
const path = fc.constantFrom("a", "b", "a.b", "a.0", "c");
const predicate = fc.oneof(
  fc.tuple(path, value).map(([key, operand]) => ({ [key]: operand })),
  fc.tuple(path, fc.array(scalar, { minLength: 1, maxLength: 4 })).map(([key, $in]) => ({ [key]: { $in } })),
  fc
    .tuple(path, fc.constantFrom("$gt", "$gte", "$lt", "$lte"), scalar)
    .map(([key, op, operand]) => ({ [key]: { [op]: operand } })),
  fc
    .tuple(path, fc.constantFrom("$gt", "$gte"), scalar, fc.constantFrom("$lt", "$lte"), scalar)
    .map(([key, low, from, high, to]) => ({ [key]: { [low]: from, [high]: to } })),
  fc.tuple(path, fc.array(scalar, { maxLength: 2 })).map(([key, $all]) => ({ [key]: { $all } })),
  fc.tuple(path, scalar).map(([key, $gt]) => ({ [key]: { $elemMatch: { $gt } } })),
  fc.tuple(path, scalar).map(([key, $ne]) => ({ [key]: { $ne } })),
);
const { filter } = fc.letrec<{ filter: object }>((tie) => ({
  filter: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    predicate,
    ...(["$and", "$or", "$nor"] as const).map((op) =>
      fc.array(tie("filter"), { minLength: 1, maxLength: 3 }).map((parts) => ({ [op]: parts })),
    ),
  ),
}));
const document = fc.record({ a: value, b: value, c: value }, { requiredKeys: [] });
const filters = fc.array(filter, { minLength: 1, maxLength: 40 });

test(`finds every filter that a change may concern, and forgets what is removed (seed ${seed})`, () => {
  fc.assert(
    fc.property(filters, document, document, fc.nat({ max: 39 }), (all, before, after, kept) => {
      const { index, items } = indexOf(all);
      const event = update(before, after);
      const isConcerned = (at: number) => {
        const matches = compileFilter(parse(all[at] as object));
        return matches(event.before as Uint8Array) || matches(event.after as Uint8Array);
      };
      const candidates = new Set(found(index, event));
      // Only filters that the index does not give are evaluated, because one that it gives is never wrong.
      const missed = items.filter(({ at }) => !candidates.has(at) && isConcerned(at));
      expect(missed).toEqual([]);
      for (const item of items) if (item.at !== kept) index.remove(item);
      expect(index.size).toBe(kept < all.length ? 1 : 0);
      if (kept < all.length && isConcerned(kept)) expect(found(index, event)).toEqual([kept]);
      for (const item of items) index.remove(item);
      expect(found(index, event)).toEqual([]);
    }),
    { seed, numRuns: 1_000 },
  );
});

const rooms = Array.from({ length: 100 }, (_, room) => room);

test.each<[string, (n: number) => object]>([
  ["an equality", (n: number) => ({ room: n, archived: { $ne: true } })],
  ["a list", (n: number) => ({ room: { $in: [n, `room ${n}`] } })],
  ["all of a list", (n: number) => ({ room: { $all: [n] } })],
  ["a range", (n: number) => ({ room: { $gt: n - 0.4, $lt: n + 0.4 } })],
  ["two halves of a range", (n: number) => ({ $and: [{ room: { $gte: n } }, { room: { $lte: n } }] })],
  ["branches of one path", (n: number) => ({ $or: [{ room: n }, { room: n + 1_000 }] })],
  ["branches of two paths", (n: number) => ({ $or: [{ room: n }, { owner: { $gte: n, $lt: n + 1 } }] })],
  ["an equality among all who share another", (n: number) => ({ $and: [{ kind: "chat" }, { room: n }] })],
  [
    "a range among all who share an equality",
    (n: number) => ({ kind: "chat", room: { $gt: n - 0.4, $lt: n + 0.4 } }),
  ],
])("a change does not reach the filters of other values: %s", (_name, filterOf) => {
  const { index } = indexOf(rooms.map((n) => filterOf(n)));
  expect(found(index, update({}, { room: 7, kind: "chat" })).filter((at) => at > 0)).toEqual([7]);
  expect(found(index, update({ room: 8, kind: "chat" }, { room: [7, 9], kind: "chat" }))).toContain(8);
  const withoutImage = { ...update({}, { room: 7 }), before: undefined };
  expect(found(index, withoutImage)).toHaveLength(rooms.length);
});

test("an array fulfils a range with one element for each end", () => {
  const { index } = indexOf([{ a: { $gt: 10, $lt: 5 } }, { a: { $gt: 10, $lt: 12 } }, { a: { $gt: 40 } }]);
  expect(found(index, update({}, { a: [1, 20] }))).toEqual([0, 1]);
});

const anchors = (input: object) =>
  chooseAnchors(parse(input), (anchor) => (isRange(anchor) ? 300 : anchor.keys.length));

test.each([
  [{ a: 1, b: { $in: [1, 2] } }, [{ path: "a", keys: { length: 1 } }]],
  [{ b: { $in: [1, 2, 2] }, c: { $gt: 1 } }, [{ path: "b", keys: { length: 2 } }]],
  [{ $and: [{ c: { $gt: 1 } }, { $and: [{ a: "x" }] }] }, [{ path: "a", keys: { length: 1 } }]],
  [{ $or: [{ a: 1, b: 2 }, { c: { $lt: 3 } }] }, [{ path: "a" }, { path: "c", low: undefined }]],
])("chooses the anchors with the fewest index entries for %j", (input, expected) => {
  expect(anchors(input)).toMatchObject(expected);
});

test.each([
  {},
  { a: { $ne: 1 } },
  { a: { $gt: null } },
  { $or: [{ a: 1 }, { b: { $exists: true } }] },
  { $nor: [{ a: 1 }] },
  { a: { $in: Array.from({ length: 257 }, (_, n) => n) } },
  { $or: Array.from({ length: 17 }, (_, n) => ({ a: n })) },
])("finds no anchor in %j", (input) => {
  expect(anchors(input)).toBeNull();
});

/** The parts of a list as filters, against the filters and sorts of the service. */
import fc from "fast-check";
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { between } from "../../../src/client/pages/bounds.ts";
import { even, isUneven } from "../../../src/client/pages/layout.ts";
import type { Doc } from "../../../src/client/result-set.ts";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { encodeDocument } from "../../../src/match/encode.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";
import { compileSort } from "../../../src/match/sort.ts";
import type { SortSpec, ValueMode } from "../../../src/protocol/messages.ts";
import { startSeed } from "../../property/seed.ts";

const { Decimal128, Double, Long, ObjectId, UUID } = BSON;
/** The limits of the service by default (docs/protocol.md, section 4). */
const LIMITS = { regex: "prefix", maxDepth: 5, maxPredicates: 50, maxValues: 1_000 } as const;

const numbers = fc.constantFrom<unknown>(
  0,
  1,
  2,
  2.5,
  Long.fromString("9007199254740993"),
  Decimal128.fromString("1.5"),
);
const mixed = fc.constantFrom<unknown>(
  ...[
    undefined,
    null,
    0,
    1,
    1.5,
    new Double(Number.NaN),
    "",
    "a",
    "b",
    "65a5b1c2d3e4f5a6b7c8d901",
    { x: 1 },
    true,
  ],
  ...[new ObjectId("65a5b1c2d3e4f5a6b7c8d901"), new Date(0), new Date(1), false],
);
const absent = fc.constantFrom<unknown>(null, undefined);
/** In plain JSON the type of a value does not show, so each path holds values of one type. */
const uniform = [
  numbers,
  fc.constantFrom<unknown>("a", "b", "", "é"),
  fc.constantFrom<unknown>(new Date(0), new Date(5), new Date("2026-05-04T12:00:00.000Z")),
  fc.constantFrom<unknown>(
    new ObjectId("65a5b1c2d3e4f5a6b7c8d901"),
    new ObjectId("65a5b1c2d3e4f5a6b7c8d902"),
  ),
  fc.constantFrom<unknown>(
    new UUID("a5b1c2d3-e4f5-46b7-88d9-02aabbccddee"),
    new UUID("05b1c2d3-e4f5-46b7-88d9-02aabbccddee"),
  ),
  fc.boolean(),
].map((values) => fc.oneof({ arbitrary: values, weight: 5 }, { arbitrary: absent, weight: 1 }));

const sortSpec: fc.Arbitrary<SortSpec> = fc.uniqueArray(
  fc.tuple(fc.constantFrom("a", "b.c", "_id"), fc.constantFrom<1 | -1>(1, -1)),
  { minLength: 1, maxLength: 2, selector: ([path]) => path },
);

const documents = (a: fc.Arbitrary<unknown>, c: fc.Arbitrary<unknown>) =>
  fc.array(fc.tuple(a, c), { minLength: 1, maxLength: 12 }).map((pairs) =>
    pairs.map(([first, second], _id) =>
      BSON.serialize({
        _id,
        ...(first === undefined ? {} : { a: first }),
        ...(second === undefined ? {} : { b: { c: second } }),
      }),
    ),
  );

/** Divides the documents at every row, and compares the parts with those of the sorted list. */
function check(bytes: readonly Uint8Array[], sort: SortSpec, mode: ValueMode): void {
  const { key, compare } = compileSort(sort);
  const sorted = [...bytes].sort((a, b) => compare(key(a), key(b)));
  const rows: Doc[] = sorted.map((one) => JSON.parse(encodeDocument(one, EVERYTHING, mode)));
  const request = { collection: "c", sort: sort as [string, 1 | -1][], filter: { z: null } };
  const part = (from: number | undefined, to: number | undefined) => {
    const row = (at: number | undefined) => (at === undefined ? undefined : rows[at]);
    const { filter } = between(request, mode, [row(from), row(to)]) as { filter?: object };
    const matches = compileFilter(parseFilter(filter ?? {}, LIMITS));
    return sorted.flatMap((one, at) => (matches(one) ? [at] : []));
  };
  const all = rows.map((_, at) => at);
  for (const at of all) {
    expect([part(undefined, at), part(at, undefined)]).toEqual([all.slice(0, at + 1), all.slice(at + 1)]);
    const end = Math.min(at + 2, rows.length - 1);
    expect(part(at, end)).toEqual(all.slice(at + 1, end + 1));
  }
}

test("every row divides a list of values of any types, in Extended JSON", () => {
  const seed = startSeed("parts of lists, ejson");
  const property = fc.property(documents(mixed, mixed), sortSpec, (docs, sort) => check(docs, sort, "ejson"));
  fc.assert(property, { seed, numRuns: 300 });
});

test.each(uniform.map((values, at) => [at, values] as const))(
  "every row divides a list of values of one type, in plain JSON (type %i)",
  (at, values) => {
    const seed = startSeed(`parts of lists, json, type ${at}`);
    const property = fc.property(documents(values, numbers), sortSpec, (docs, sort) =>
      check(docs, sort, "json"),
    );
    fc.assert(property, { seed, numRuns: 60 });
  },
);

test("an own $or or $nor of the query is kept beside those of the part", () => {
  const row = { _id: 1, a: 1 };
  const request = { collection: "c", sort: [["a", 1]] as [string, 1 | -1][] };
  const filterOf = (filter: Record<string, unknown>) =>
    between({ ...request, filter }, "json", [row, undefined]).filter as Record<string, unknown>;
  expect(Object.keys(filterOf({ x: 1 }))).toEqual(["x", "$nor"]);
  expect(filterOf({ $nor: [{ x: 1 }] })["$and"]).toMatchObject([{ $nor: [{ x: 1 }] }, {}]);
  expect(Object.keys(filterOf({ $or: [{ x: 1 }] }))).toEqual(["$or", "$nor"]);
});

test("a row with an array where the list is sorted divides nothing, and the error says so", () => {
  const request = { collection: "c", sort: [["a", 1]] as [string, 1 | -1][] };
  expect(() => between(request, "json", [{ _id: 1, a: [1] }, undefined])).toThrow(/"a", which holds arrays/);
  expect(() =>
    between({ ...request, sort: [["a.b", 1]] }, "json", [{ _id: 1, a: [{ b: 1 }, { b: 2 }] }, undefined]),
  ).toThrow(/holds arrays/);
});

const part = (from: number, length: number): Doc[] => Array.from({ length }, (_, at) => ({ _id: from + at }));
const ids = (ends: readonly Doc[]) => ends.map(({ _id }) => _id);

test("a part that has grown beyond twice the size of a page is divided; the others keep their ends", () => {
  const docs = [part(0, 10), part(100, 25), part(200, 10), part(300, 10)];
  const ends = docs.slice(0, -1).map((one) => one.at(-1) ?? {});
  expect(isUneven({ ends, docs }, 10)).toBe(true);
  expect(ids(even({ ends, docs }, 10))).toEqual([9, 109, 124, 209]);
  expect(isUneven({ ends, docs: [part(0, 10), part(100, 20), part(200, 10), part(300, 10)] }, 10)).toBe(
    false,
  );
});

test("a list of many pages has few parts, and each document is in one of them", () => {
  for (const size of [1, 10, 33]) {
    let ends: readonly Doc[] = [];
    for (let pages = 1; pages <= 200; pages++) {
      const total = pages * size;
      const at = [...ids(ends).map(Number), total - 1];
      const docs = at.map((end, index) => part((at[index - 1] ?? -1) + 1, end - (at[index - 1] ?? -1)));
      ends = even({ ends: at.map((_id) => ({ _id })), docs: [...docs, []] }, size);
      expect(ids(ends).at(-1)).toBe(total - 1);
      expect(ends.length).toBeLessThanOrEqual(33);
    }
  }
});

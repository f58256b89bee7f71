import fc from "fast-check";
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import type { LiveQuery } from "../../../src/feed/live-query.ts";
import { anchorOf, LiveQueryIndex } from "../../../src/feed/live-query-index.ts";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import type { ChangeEvent } from "../../../src/source/change-event.ts";

const seed = Number(process.env["TIDEWIRE_SEED"] ?? Date.now() % 2 ** 31);
const parse = (filter: object) => parseFilter(filter, { regex: "prefix" });
/** The index looks at nothing of a live query but its filter. */
const liveQuery = (filter: object) => ({ spec: { filter: parse(filter) } }) as unknown as LiveQuery;

const scalar = fc.constantFrom(0, 1, 2, 1.5, "a", "b", null, true);
const value = fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }), fc.record({ b: scalar }));
const path = fc.constantFrom("a", "b", "a.b", "a.0", "c");
const predicate = fc.oneof(
  fc.tuple(path, value).map(([key, operand]) => ({ [key]: operand })),
  fc.tuple(path, fc.array(scalar, { minLength: 1, maxLength: 4 })).map(([key, $in]) => ({ [key]: { $in } })),
  fc.tuple(path, scalar).map(([key, $gte]) => ({ [key]: { $gte } })),
  fc.tuple(path, scalar).map(([key, $ne]) => ({ [key]: { $ne } })),
);
const filter = fc.oneof(
  predicate,
  fc.array(predicate, { minLength: 1, maxLength: 3 }).map(($and) => ({ $and })),
  fc.array(predicate, { minLength: 1, maxLength: 3 }).map(($or) => ({ $or })),
);
const document = fc.record({ a: value, b: value, c: value }, { requiredKeys: [] });

test(`finds every live query that a change may concern (seed ${seed})`, () => {
  fc.assert(
    fc.property(
      fc.array(filter, { minLength: 1, maxLength: 20 }),
      document,
      document,
      (filters, before, after) => {
        const index = new LiveQueryIndex();
        const liveQueries = filters.map(liveQuery);
        for (const one of liveQueries) index.add(one);
        const event: ChangeEvent = {
          operation: "update",
          namespace: "db.c",
          documentKey: BSON.serialize({ _id: 1 }),
          before: BSON.serialize({ _id: 1, ...before }),
          after: BSON.serialize({ _id: 1, ...after }),
        };
        const candidates = index.candidates([event]);
        for (const one of liveQueries) {
          const matches = compileFilter(one.spec.filter);
          if (matches(event.before as Uint8Array) || matches(event.after as Uint8Array)) {
            expect(candidates.has(one)).toBe(true);
          }
        }
        for (const one of liveQueries) index.remove(one);
        expect(index.size).toBe(0);
        expect(index.candidates([event]).size).toBe(0);
      },
    ),
    { seed, numRuns: 500 },
  );
});

test("a change is not shown to live queries of other values", () => {
  const index = new LiveQueryIndex();
  for (let room = 0; room < 100; room++) index.add(liveQuery({ room, archived: { $ne: true } }));
  const after = BSON.serialize({ _id: 1, room: 7 });
  const event: ChangeEvent = {
    operation: "insert",
    namespace: "db.c",
    documentKey: BSON.serialize({ _id: 1 }),
    before: undefined,
    after,
  };
  expect(index.candidates([event]).size).toBe(1);
  expect(index.candidates([{ ...event, operation: "delete", after: undefined }]).size).toBe(100);
});

test.each([
  [{ a: 1, b: { $in: [1, 2] } }, "a", 1],
  [{ b: { $in: [1, 2, 2] }, c: { $gt: 1 } }, "b", 2],
  [{ $and: [{ c: { $gt: 1 } }, { $and: [{ a: "x" }] }] }, "a", 1],
] as const)("the anchor of %j is the equality with the fewest values", (input, anchorPath, keys) => {
  expect(anchorOf(parse(input))).toMatchObject({ path: anchorPath, keys: { length: keys } });
});

test.each([{}, { a: { $gt: 1 } }, { $or: [{ a: 1 }, { b: 1 }] }, { $nor: [{ a: 1 }] }, { a: { $ne: 1 } }])(
  "%j has no anchor",
  (input) => {
    expect(anchorOf(parse(input))).toBeNull();
  },
);

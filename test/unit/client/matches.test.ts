/** The filters of optimistic changes, against the matcher of the service. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { matches } from "../../../src/client/optimistic/matches.ts";
import type { Doc } from "../../../src/client/result-set.ts";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { encodeDocument } from "../../../src/match/encode.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";
import type { ValueMode } from "../../../src/protocol/messages.ts";

const { ObjectId } = BSON;
const ID = "65a5b1c2d3e4f5a6b7c8d901";
const everything = { isVisible: () => true, isComplete: true };

const DOCUMENTS: readonly Record<string, unknown>[] = [
  { _id: 1 },
  { _id: 2, a: null, b: [] },
  { _id: 3, a: 5, b: [1, 2], c: { d: "x" } },
  { _id: 4, a: "5", b: ["x", "y"], c: { d: null } },
  { _id: 5, a: new ObjectId(ID), b: [{ d: 1 }, { d: 2 }], c: [{ d: "x" }, { d: "y" }] },
  { _id: 6, a: new Date("2026-05-04T12:00:00.000Z"), b: 2, c: { d: ["x"] } },
  { _id: 7, a: true, b: [2, 1], c: "x" },
];

const FILTERS: readonly object[] = [
  {},
  { a: 5 },
  { a: null },
  { a: "5" },
  { a: { $oid: ID } },
  { a: { $gte: { $date: "2026-05-04T12:00:00.000Z" } } },
  { a: { $gt: 4, $lte: 5 } },
  { a: { $ne: 5 } },
  { a: { $in: [5, "5", null] } },
  { a: { $nin: [5, true] } },
  { a: { $exists: false } },
  { a: { $not: { $gt: 4 } } },
  { b: 2 },
  { b: [1, 2] },
  { b: { $size: 2 } },
  { b: { $all: [1, 2] } },
  { b: { $gt: 1 } },
  { "b.d": 2 },
  { "b.0": 2 },
  { "c.d": "x" },
  { "c.d": { $ne: "x" } },
  { "c.d": null },
  { $or: [{ a: 5 }, { b: 2 }] },
  { $nor: [{ a: 5 }, { "c.d": "x" }] },
  { $and: [{ b: { $exists: true } }, { a: { $lt: 6 } }] },
  { a: true, b: { $in: [1] } },
];

test.each<[ValueMode]>([["json"], ["ejson"]])("decides as the service does, in the value mode %s", (mode) => {
  let unknown = 0;
  for (const filter of FILTERS) {
    const test = compileFilter(
      parseFilter(filter, { regex: "prefix", maxDepth: 5, maxPredicates: 50, maxValues: 1_000 }),
    );
    for (const document of DOCUMENTS) {
      const bytes = BSON.serialize(document);
      const doc: Doc = JSON.parse(encodeDocument(bytes, EVERYTHING, mode));
      const answer = matches(filter, doc, everything);
      if (answer === undefined) unknown++;
      expect([filter, doc, answer ?? test(bytes)]).toEqual([filter, doc, test(bytes)]);
    }
  }
  // The text "5" may be a decimal.
  expect(unknown).toBeLessThan(35);
});

test("the client does not know about other operators, fields that it does not see, and fields that a backend adds", () => {
  const doc = { _id: 1, a: 5 };
  expect(matches({ a: { $mod: [2, 1] } }, doc, everything)).toBe(undefined);
  expect(matches({ a: { $mod: [2, 1] }, b: 1 }, doc, everything)).toBe(false);
  expect(matches({ $or: [{ a: { $mod: [2, 1] } }, { a: 5 }] }, doc, everything)).toBe(true);
  expect(matches({ a: 6 }, doc, { isVisible: (path) => path !== "a", isComplete: true })).toBe(undefined);
  expect(matches({ owner: "u1" }, doc, { ...everything, isComplete: false })).toBe(undefined);
  expect(matches({ owner: "u1", a: 6 }, doc, { ...everything, isComplete: false })).toBe(false);
  expect(matches({ a: { $gt: 1 } }, { _id: 1, a: "9007199254740993" }, everything)).toBe(undefined);
});

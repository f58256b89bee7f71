import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { UNKNOWN } from "../../../src/feed/change.ts";
import { LookupSet } from "../../../src/feed/lookup-set.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { runThrough } from "../../../src/match/steps.ts";
import type { ChangeEvent, StreamEvent } from "../../../src/source/change-event.ts";

const doc = (fields: object) => BSON.serialize({ _id: 1, user: "ada", ...fields });

/** The rooms of ada. */
function roomsOf(documents: readonly object[]): LookupSet {
  const set = new LookupSet({
    key: "rooms",
    database: "db",
    collectionName: "members",
    filter: parseFilter({ user: "ada" }, { regex: "prefix" }),
    value: "room",
  });
  runThrough(set.loadInSteps(documents.map(doc), 1n));
  return set;
}

const event = (
  before: object | undefined,
  after: object | undefined,
  namespace = "db.members",
): ChangeEvent => ({
  operation: before === undefined ? "insert" : after === undefined ? "delete" : "update",
  namespace,
  documentKey: doc({}),
  before: before && doc(before),
  after: after && doc(after),
});

function apply(set: LookupSet, ...events: StreamEvent[]): boolean | typeof UNKNOWN {
  const delta = runThrough(set.deltaOf(events));
  if (delta === UNKNOWN) return UNKNOWN;
  const after = set.after(delta);
  const differs = set.advance(delta, 2n);
  const bytes = set.values.reduce((sum, { start, end }) => sum + end - start, 0);
  expect([set.size, set.bytes]).toEqual([after.size, after.bytes]);
  expect(set.bytes).toBe(bytes);
  return differs;
}

test("a value is in the set as long as some document has it", () => {
  const set = roomsOf([{ room: 1 }, { room: 1 }, { room: [2, 3] }]);
  expect(apply(set, event({ room: 1 }, undefined))).toBe(false);
  expect(set.sameSince).toBe(1n);
  expect(apply(set, event({ room: 1 }, undefined))).toBe(true);
  expect(set.sameSince).toBe(2n);
  expect(set.size).toBe(2);
});

test("what a commit takes away and gives back, in whatever order, is no change", () => {
  const set = roomsOf([{ room: 1 }]);
  expect(apply(set, event({ room: 1 }, undefined), event(undefined, { room: 1 }))).toBe(false);
  expect(apply(set, event(undefined, { room: 2 }), event({ room: 2 }, undefined))).toBe(false);
  expect(apply(set, event({ room: 1 }, { room: 2 }), event({ room: 2 }, { room: 3 }))).toBe(true);
  expect(apply(set, event({ room: 3 }, { room: 3, name: "x" }))).toBe(false);
});

test("a document that begins to match brings its values, and takes them when it matches no more", () => {
  const set = roomsOf([]);
  expect(apply(set, event({ user: "bob", room: 7 }, { room: 7 }))).toBe(true);
  expect(apply(set, event({ user: "bob", room: 8 }, { user: "bob", room: 9 }))).toBe(false);
  expect(apply(set, event({ room: 7 }, { user: "bob", room: 7 }))).toBe(true);
  expect(set.size).toBe(0);
});

test("ignores other collections, and is unknown after an event without an image", () => {
  const set = roomsOf([{ room: 1 }]);
  expect(apply(set, event(undefined, { room: 2 }, "db.others"))).toBe(false);
  expect(apply(set, { ...event({ room: 1 }, { room: 2 }), before: undefined })).toBe(UNKNOWN);
});

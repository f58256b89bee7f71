import { BSON } from "mongodb";
import { describe, expect, test } from "vitest";
import { type Change, UNKNOWN } from "../../../src/feed/change.ts";
import type { HistoryEntry } from "../../../src/feed/history.ts";
import type { LogEntry } from "../../../src/feed/log-entry.ts";
import { mergeEntries } from "../../../src/feed/merge-entries.ts";
import { fromJs } from "../../../src/match/bson-value.ts";

const row = (_id: string, n: number) => BSON.serialize({ _id, n });
const added = (id: string, n: number): Change => ({ type: "added", cause: "insert", document: row(id, n) });
const changed = (id: string, n: number, was = 0): Change => ({
  type: "changed",
  cause: "update",
  document: row(id, n),
  previous: row(id, was),
});
const removed = (id: string, was = 0): Change => ({
  type: "removed",
  cause: "delete",
  id: fromJs(id),
  previous: row(id, was),
});

/** Only the cursors of an entry of the history matter here. */
const entryOf = (seq: number, changes: LogEntry["changes"]): LogEntry => ({
  seq,
  changes,
  entry: { cursor: `at ${seq}`, cursorBefore: `before ${seq}` } as HistoryEntry,
  encoded: undefined,
});
const merge = (...commits: LogEntry["changes"][]) =>
  mergeEntries(commits.map((changes, index) => entryOf(index + 1, changes)));
const brief = (change: Change) =>
  change.type === "removed"
    ? [change.type, change.cause]
    : [change.type, change.cause, BSON.deserialize(change.document)["n"]];

describe("changes of one row as one:", () => {
  test.each([
    ["added, changed", [added("a", 1), changed("a", 2)], [["added", "update", 2]]],
    ["added, removed", [added("a", 1), removed("a")], []],
    ["changed twice", [changed("a", 1), changed("a", 2)], [["changed", "update", 2]]],
    ["changed, removed", [changed("a", 1), removed("a")], [["removed", "delete"]]],
    ["changed and back", [changed("a", 1), changed("a", 0, 1)], []],
    ["removed and back", [removed("a", 5), added("a", 5)], []],
    ["changed, removed, and back", [changed("a", 1, 7), removed("a", 1), added("a", 7)], []],
    ["removed, added", [removed("a"), added("a", 5)], [["changed", "insert", 5]]],
    ["removed, added, removed", [removed("a"), added("a", 5), removed("a")], [["removed", "delete"]]],
    ["added, removed, added", [added("a", 1), removed("a"), added("a", 2)], [["added", "insert", 2]]],
  ] as const)("%s", (_what, changes, expected) => {
    const merged = merge(...changes.map((change) => [change]));
    expect(merged?.changes === UNKNOWN ? [] : merged?.changes.map(brief)).toEqual(expected);
  });
});

test("the last message bears the cursor of the last commit, and all others that from before the first", () => {
  const merged = merge([changed("a", 1)], [changed("b", 1)], [changed("a", 2)]);
  expect(merged).toMatchObject({ seq: 3, cursors: { last: "at 3", others: "before 1" } });
});

test("unknown changes cannot be merged", () => {
  expect(merge([changed("a", 1)], UNKNOWN)).toBeNull();
});

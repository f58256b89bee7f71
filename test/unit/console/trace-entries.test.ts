import { expect, test } from "vitest";
import {
  type ChangeEntry,
  changedFields,
  decisionText,
  ENTRIES_MAX,
  type Entry,
  hasEffect,
  mergeEntries,
  sentText,
  totalLag,
} from "../../../src/console/trace/entries.ts";
import { formOf, subjectOf, subjectText } from "../../../src/console/trace/subject.ts";
import { lag } from "../../../src/console/ui/numbers.ts";

type Decision = ChangeEntry["decisions"][number];

const send = (state: string, afterMs: number | null) => ({
  connection: "c",
  sub: "ada",
  subscriptions: ["1"],
  state,
  messages: [],
  bytes: 0,
  afterMs,
});

const decision = (effect: Decision["effect"], more: Partial<Decision> = {}): Decision => ({
  liveQuery: "q",
  rules: [],
  effect,
  because: "",
  matchedAfterMs: null,
  sends: [],
  otherSends: 0,
  ...more,
});

const change = (number: number, more: Partial<ChangeEntry> = {}): ChangeEntry => ({
  kind: "change",
  key: `0123456789ab.${number}`,
  node: "n",
  at: new Date(number).toISOString(),
  clusterTime: "1.1",
  namespace: "db.things",
  operation: "insert",
  documentId: null,
  before: null,
  after: null,
  readAfterMs: 2,
  decisions: [],
  otherLiveQueries: 0,
  ...more,
});

const keysOf = (entries: readonly Entry[]) => entries.map(({ key }) => key.split(".")[1]);

test("entries are merged with the latest first, and a changed one replaces its earlier form", () => {
  const known = mergeEntries([], [change(1), change(2), change(10, { at: new Date(2).toISOString() })]);
  expect(keysOf(known)).toEqual(["10", "2", "1"]);
  const again = mergeEntries(known, [change(1, { operation: "delete" }), change(11)]);
  expect(keysOf(again)).toEqual(["11", "10", "2", "1"]);
  expect(again.at(-1)).toMatchObject({ operation: "delete" });
  expect(mergeEntries(again, [])).toBe(again);
});

test(`the page keeps ${ENTRIES_MAX} entries`, () => {
  const all = Array.from({ length: ENTRIES_MAX }, (_, n) => change(n + 1));
  const full = mergeEntries([], all);
  expect(full).toHaveLength(ENTRIES_MAX);
  const more = mergeEntries(full, [change(ENTRIES_MAX + 1)]);
  expect([more.length, ...keysOf([more[0], more.at(-1)] as Entry[])]).toEqual([ENTRIES_MAX, "1001", "2"]);
});

test("an event is summed up: its effects, its deliveries, and the lag from the write to the last outbox", () => {
  const sends = [send("sent", 0.5), send("sent", 3), send("catch-up", null)];
  const entry = change(1, {
    decisions: [
      decision("added", { matchedAfterMs: 1, sends, otherSends: 4 }),
      decision("none"),
      decision("none"),
    ],
    otherLiveQueries: 7,
  });
  expect(decisionText(entry)).toBe("added, 2 × none, 7 not listed");
  expect(sentText(entry)).toBe("to 2 and 4 more, 1 waiting");
  expect([totalLag(entry), totalLag({ ...entry, readAfterMs: null }), totalLag(change(2))]).toEqual([
    6,
    null,
    null,
  ]);
  expect([hasEffect(entry), hasEffect(change(2, { decisions: [decision("none")] }))]).toEqual([true, false]);
  expect([decisionText(change(2)), sentText(change(2))]).toEqual(["no live query", "nothing"]);
});

test("changed fields are named if both documents are there and complete", () => {
  const of = (before: string | null, after: string | null) => changedFields({ before, after });
  expect(of('{"a":1,"b":[1],"c":2}', '{"a":1,"b":[2],"d":3}')).toEqual(["b", "c", "d"]);
  expect([of(null, "{}"), of('{"a":"cut…', "{}")]).toEqual([null, null]);
});

test.each([
  [{ sub: " ada " }, { sub: "ada" }],
  [{ liveQuery: "ab.1" }, { liveQuery: "ab.1" }],
  [
    { collection: "c", documentId: "7" },
    { collection: "c", documentId: 7 },
  ],
  [
    { collection: "c", documentId: "text" },
    { collection: "c", documentId: "text" },
  ],
])("the address %j fills in the subject", (fields, subject) => {
  expect(subjectOf(formOf(fields as Record<string, string>))).toEqual({ subject });
});

test("a form without its subject says what is missing", () => {
  expect(subjectOf(formOf({}))).toEqual({ faults: { sub: expect.any(String) } });
  expect(subjectOf(formOf({ collection: "c" }))).toEqual({ faults: { documentId: expect.any(String) } });
  expect(subjectText({ kind: "document", collection: "c", documentId: { $oid: "1" } })).toBe(
    'the document {"$oid":"1"} of c',
  );
});

test.each([
  [0, "0 ms"],
  [0.084, "0.084 ms"],
  [1.44, "1.4 ms"],
  [12.4, "12 ms"],
  [3_400, "3.4 s"],
])("a lag of %d ms is written as %s", (ms, text) => expect(lag(ms)).toBe(text));

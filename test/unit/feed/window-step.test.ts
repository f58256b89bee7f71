/** Random commits: the changes of a window against those of a comparison of its whole states, and its work by its size. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { type Change, idOf } from "../../../src/feed/change.ts";
import type { ListWork } from "../../../src/feed/sorted-list.ts";
import { spareFor, Window } from "../../../src/feed/window.ts";
import { type TouchedDocument, windowChanges } from "../../../src/feed/window-changes.ts";
import { WindowEntries } from "../../../src/feed/window-entries.ts";
import { runThrough } from "../../../src/match/steps.ts";
import { valueKey } from "../../../src/match/value-key.ts";
import { startSeed } from "../../property/seed.ts";
import { Random } from "../../support/random.ts";

interface Doc {
  readonly _id: number;
  readonly n: number;
  readonly pad: string;
}

const bytesOf = (doc: Doc) => BSON.serialize(doc);
const keys = new Map<number, string>();
/** Kept, because making a key takes longer than most of what these tests do with it. */
function keyOf(_id: number): string {
  const key = keys.get(_id) ?? valueKey(idOf(BSON.serialize({ _id })));
  keys.set(_id, key);
  return key;
}
const inOrder = (docs: Iterable<Doc>) => [...docs].sort((a, b) => a.n - b.n || a._id - b._id);

function touchOf(id: number, before: Doc | undefined, after: Doc | undefined, isVisiblyChanged: boolean) {
  const touch: TouchedDocument = {
    cause: before === undefined ? "insert" : after === undefined ? "delete" : "update",
    documentKey: BSON.serialize({ _id: id }),
    previous: before && bytesOf(before),
    document: after && bytesOf(after),
    isVisiblyChanged: isVisiblyChanged || before === undefined || after === undefined,
  };
  return [keyOf(id), touch] as const;
}

/** Writes to some documents at once. */
function randomCommit(random: Random, docs: Map<number, Doc>, ids: number, pads: readonly string[]) {
  const touched = new Map<string, TouchedDocument>();
  for (let left = random.int(1, random.chance(0.4) ? 8 : 2); left > 0; left--) {
    const id = random.int(0, ids);
    const before = docs.get(id);
    if (touched.has(keyOf(id))) continue;
    const after = random.chance(0.35)
      ? undefined
      : { _id: id, n: random.chance(0.2) ? (before?.n ?? 3) : random.int(0, 6), pad: random.pick(pads) };
    if (before === undefined && after === undefined) continue;
    touched.set(...touchOf(id, before, after, random.chance(0.5)));
    if (after === undefined) docs.delete(id);
    else docs.set(id, after);
  }
  return touched;
}

/** The documents that the window asks for, as the database gives them. */
function read(window: Window, docs: ReadonlyMap<number, Doc>): Map<string, Uint8Array> {
  const lacking = window.lacking();
  if (lacking === "refill") {
    const most = window.limit + spareFor(window.limit);
    const first = inOrder(docs.values()).slice(0, most);
    window.load(first.map(bytesOf), first.length < most);
    return new Map();
  }
  const ids = new Set(lacking?.ids.map(valueKey));
  const asked = [...docs.values()].filter((doc) => ids.has(keyOf(doc._id)));
  return new Map(asked.map((doc) => [keyOf(doc._id), bytesOf(doc)]));
}

/** A change with documents by their content, and `_id`s by their keys. */
function written(change: Change): object {
  const { type, cause } = change;
  if (type === "removed") return { type, cause, id: valueKey(change.id) };
  const { before } = change;
  const next = before === undefined || before === null ? before : valueKey(before);
  const previous = type === "changed" ? BSON.deserialize(change.previous) : null;
  return { type, cause, next, document: BSON.deserialize(change.document), previous };
}

test.each([
  ["a limit of 1", 1, ["", "x"]],
  ["a limit of 3", 3, ["", "x"]],
  ["a limit of 40", 40, ["", "x"]],
  ["a limit of 8 and documents that the spare cannot hold", 8, ["", "x".repeat(30_000)]],
  ["no limit", null, [""]],
])(
  "with %s, random commits make the changes that a comparison of the whole states makes",
  (_name, limit, pads) => {
    const random = new Random(startSeed("window steps"));
    const docs = new Map<number, Doc>();
    const window = new Window(new WindowEntries([["n", 1]]), limit);
    window.load([], true);
    window.settle();
    for (let step = 0; step < 500; step++) {
      const before = window.visible;
      // Storms of deletions in between, so that the spare runs out.
      const touched = randomCommit(random, docs, step % 100 < 50 ? 120 : 30, pads);
      window.apply(touched);
      const documents = read(window, docs);
      const changes = runThrough(window.changes(documents));
      const visible = inOrder(docs.values()).slice(0, limit ?? undefined);
      expect(window.heldBytes - 8 * window.size).toBeGreaterThanOrEqual(0);
      expect(window.heldBytes - 8 * window.size).toBeLessThanOrEqual(limit === null ? 0 : 65_536);
      expect(window.visible.map(({ id }) => id)).toEqual(visible.map(({ _id }) => keyOf(_id)));
      const byKey = new Map(visible.map((doc) => [keyOf(doc._id), doc]));
      const expected = runThrough(
        windowChanges(
          before,
          window.visible,
          touched,
          ({ id }) => bytesOf(byKey.get(id)!),
          (id) => touched.get(id)?.cause ?? "window",
        ),
      );
      expect(changes.map(written)).toEqual(expected.map(written));
    }
  },
);

test("a document that overtakes only one that leaves the window in the same commit has not moved", () => {
  const docs = [1, 2, 3].map((n) => ({ _id: n, n, pad: "" }));
  const window = new Window(new WindowEntries([["n", 1]]), 3);
  window.load(docs.map(bytesOf), true);
  window.settle();
  const inserted = touchOf(0, undefined, { _id: 0, n: 0, pad: "" }, true);
  window.apply(new Map([inserted, touchOf(3, docs[2], { _id: 3, n: 1.5, pad: "" }, false)]));
  expect(window.lacking()).toBeNull();
  expect(runThrough(window.changes(new Map())).map(({ type, cause }) => [type, cause])).toEqual([
    ["removed", "window"],
    ["added", "insert"],
  ]);
});

/** The items that a window of this size works on for a commit to one document, on average. */
function workPerCommit(size: number, limit: number | null): number {
  const work: ListWork = { items: 0 };
  const window = new Window(new WindowEntries([["n", 1]]), limit, work);
  window.load(
    Array.from({ length: size }, (_, n) => bytesOf({ _id: n, n, pad: "" })),
    true,
  );
  window.settle();
  work.items = 0;
  const commits = 500;
  for (let step = 0; step < commits; step++) {
    const id = (step * 7_919) % size;
    const before = { _id: id, n: id, pad: "" };
    window.apply(new Map([touchOf(id, before, { ...before, n: -id }, true)]));
    if (window.lacking() !== null) throw new Error("the window has no room for a reordering");
    expect(runThrough(window.changes(new Map()))).toHaveLength(1);
  }
  return work.items / commits;
}

test.each([
  ["without a limit", null],
  ["with a limit", 100_000],
])("%s, a commit costs a window the logarithm of its size", (_name, limit) => {
  const [small, large] = [workPerCommit(1_000, limit), workPerCommit(20_000, limit)];
  expect(small).toBeLessThan(300);
  expect(large).toBeLessThan(1.5 * small);
});

test("a commit to 10,000 documents offers a pause after each few hundred of them", () => {
  const entries = new WindowEntries([["n", 1]]);
  const docs = Array.from({ length: 10_000 }, (_, n) => ({ _id: n, n, pad: "" }));
  const work: ListWork = { items: 0 };
  const window = new Window(entries, null, work);
  window.load(docs.map(bytesOf), true);
  window.settle();
  const touched = new Map(docs.map((doc) => touchOf(doc._id, doc, { ...doc, n: -doc.n }, true)));
  const start = work.items;
  let before = start;
  let largest = 0;
  for (const _ of window.applyInSteps(touched)) {
    largest = Math.max(largest, work.items - before);
    before = work.items;
  }
  largest = Math.max(largest, work.items - before);
  // Each document is found twice, taken out and put in: 40,000 steps in parts of 256.
  expect(largest).toBeLessThan((work.items - start) / 10);
  expect(window.lacking()).toBeNull();
  expect(runThrough(window.changes(new Map()))).toHaveLength(10_000);
  expect(window.visible.map(({ id }) => id)).toEqual(docs.map(({ _id }) => keyOf(_id)).reverse());
});

import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { WindowEntries } from "../../../src/feed/window-entries.ts";
import { countReads } from "../../support/count-reads.ts";

test("entries of many documents are made with a pause after each hundred, and are there afterwards", () => {
  const entries = new WindowEntries([["n", -1]]);
  const counted = Array.from({ length: 450 }, (_, _id) => countReads(BSON.serialize({ _id, n: _id % 7 })));
  const documents = counted.map(({ bytes }) => bytes);
  const readsOfAll = () => counted.reduce((sum, { reads }) => sum + reads(), 0);
  const steps = [...entries.prepareInSteps(documents)];
  expect(steps).toHaveLength(4);
  const reads = readsOfAll();
  const prepared = documents.map((document) => entries.of(document));
  expect(readsOfAll()).toBe(reads);
  expect(prepared.map(({ document }) => document)).toEqual(documents);
  expect(entries.compare(prepared[0]!, prepared[1]!)).toBeGreaterThan(0);
  expect(entries.compare(prepared[0]!, prepared[7]!)).toBeLessThan(0);
});

test("two windows never share an entry, because each forgets the document in its own time", () => {
  const entries = new WindowEntries([["n", 1]]);
  const document = BSON.serialize({ _id: 1, n: 1 });
  for (const _ of entries.prepareInSteps([document]));
  const [first, second] = [entries.of(document), entries.of(document)];
  expect(first).not.toBe(second);
  expect(first.id).toBe(second.id);
});

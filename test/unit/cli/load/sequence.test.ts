import { expect, test } from "vitest";
import type { Mark } from "../../../../src/cli/load/mark.ts";
import { noDeliveries, SequenceCheck } from "../../../../src/cli/load/sequence.ts";

/** `a3` is the third write of document 0, `b1` the first of document 1; both documents have one writer. */
type Write = `${"a" | "b"}${number}`;

/** The writer writes a1 b1 a2 b2 a3 b3 and so on; both documents are inserted before. */
function markOf(write: Write): Mark {
  const doc = write.startsWith("a") ? 0 : 1;
  const n = Number(write.slice(1));
  return { run: "run", doc, n, writer: 0, seq: 2 * n + doc, at: 0 };
}

function check(
  ...events: (Write | { snapshot: Write[]; areRightsChanged?: boolean } | { removed: Write })[]
) {
  const counts = noDeliveries();
  const sequence = new SequenceCheck("run", counts);
  sequence.snapshot([markOf("a0"), markOf("b0")]);
  for (const event of events) {
    if (typeof event === "string") sequence.change(markOf(event));
    else if ("removed" in event) sequence.removed(markOf(event.removed));
    else sequence.snapshot(event.snapshot.map(markOf), event.areRightsChanged);
  }
  const { lost, repeated, outOfOrder } = counts;
  return { lost, repeated, outOfOrder, counts, sequence };
}

const fine = { lost: 0, repeated: 0, outOfOrder: 0 };

test.each<[string, Write[], Partial<typeof fine>]>([
  ["nothing is missing", ["a1", "b1", "a2", "b2"], {}],
  ["one write is missing", ["a1", "b1", "b2", "a3"], { lost: 1 }],
  ["several writes in a row are missing", ["a1", "b1", "b2", "b3", "a5"], { lost: 3 }],
  ["the first write is missing", ["b1", "a2"], { lost: 1 }],
  ["both documents miss one", ["a1", "a3", "b2"], { lost: 2, outOfOrder: 1 }],
])("lost: %s", (_title, writes, counts) => expect(check(...writes)).toMatchObject({ ...fine, ...counts }));

test.each<[string, Write[], Partial<typeof fine>]>([
  ["the same write arrives twice in a row", ["a1", "a1", "b1"], { repeated: 1 }],
  ["a write arrives again after later ones", ["a1", "b1", "a2", "a1"], { repeated: 1 }],
  ["three arrivals are two repetitions", ["a1", "a1", "a1"], { repeated: 2 }],
  ["the state of the snapshot arrives as a change", ["a0", "a1"], { repeated: 1 }],
  ["a late write arrives twice", ["a2", "a1", "a1"], { outOfOrder: 1, repeated: 1 }],
])("repeated: %s", (_title, writes, counts) =>
  expect(check(...writes)).toMatchObject({ ...fine, ...counts }),
);

test.each<[string, Write[], Partial<typeof fine>]>([
  [
    "a write of a document arrives after the next one, and is not lost",
    ["a2", "a1", "a3"],
    { outOfOrder: 1 },
  ],
  [
    "a write of another document arrives after a later one of the writer",
    ["a1", "a2", "b1"],
    { outOfOrder: 1 },
  ],
  ["two late writes", ["a3", "a1", "a2"], { outOfOrder: 2 }],
])("out of order: %s", (_title, writes, counts) =>
  expect(check(...writes)).toMatchObject({ ...fine, ...counts }),
);

test("writers are independent of one another, and so are other runs", () => {
  const counts = noDeliveries();
  const sequence = new SequenceCheck("run", counts);
  const mark = { run: "run", doc: 0, n: 1, writer: 0, seq: 10, at: 0 };
  sequence.change(mark);
  sequence.change({ ...mark, doc: 1, writer: 1, seq: 2 });
  sequence.change({ ...mark, run: "other", n: 7, seq: 3 });
  sequence.change({ ...mark, run: "other", n: 9, seq: 5 });
  expect(counts).toMatchObject({ ...fine, lost: 1, received: 4 });
  expect(sequence.remaining([5, 5])).toBe(8);
});

test("a reset replaces writes by a newer snapshot, which is no loss", () => {
  const { counts } = check("a1", { snapshot: ["a4", "b3"] }, "b4", "a5");
  expect(counts).toMatchObject({ ...fine, replaced: 6 });
});

test("a snapshot that is older than what arrived before is out of order", () => {
  expect(check("a1", "a2", { snapshot: ["a1", "b0"] })).toMatchObject({ ...fine, outOfOrder: 1 });
});

test("the writes of a document that has left the result are not expected", () => {
  const { sequence, counts } = check("a1", { removed: "a1" }, "b1");
  expect(sequence.remaining([9, 1])).toBe(0);
  // It comes back with the state that it has then.
  sequence.change(markOf("a7"));
  expect(counts).toMatchObject(fine);
  expect(sequence.remaining([9, 1])).toBe(2);
});

test("at the end, writes that have not arrived remain", () => {
  const { sequence } = check("a1", "b1", "a2");
  expect(sequence.remaining([2, 1])).toBe(0);
  expect(sequence.remaining([4, 2])).toBe(3);
});

test("a document that a later snapshot lacks is lost, because the documents of a run are not deleted", () => {
  expect(check("a1", "b1", { snapshot: ["a2"] })).toMatchObject({ ...fine, lost: 1 });
});

test.each<[string, Parameters<typeof check>]>([
  ["it had left the result before", ["b1", { removed: "b1" }, { snapshot: ["a0"] }]],
  ["the rights of the user have changed", [{ snapshot: ["a0"], areRightsChanged: true }]],
])("a document that a later snapshot lacks is not lost if %s", (_title, events) => {
  const { sequence, lost } = check(...events);
  expect(lost).toBe(0);
  expect(sequence.remaining([0, 9])).toBe(0);
});

test("a document of another run may be missing, because that run deletes it at its end", () => {
  const counts = noDeliveries();
  const sequence = new SequenceCheck("run", counts);
  sequence.snapshot([{ ...markOf("a0"), run: "other" }]);
  sequence.snapshot([]);
  expect(counts.lost).toBe(0);
});

/** A window keeps keys, and beyond the limit a few documents. Other tests compare its result with `find`. */
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { idOf } from "../../../src/feed/change.ts";
import { spareFor, Window } from "../../../src/feed/window.ts";
import type { TouchedDocument } from "../../../src/feed/window-changes.ts";
import { WindowEntries } from "../../../src/feed/window-entries.ts";
import { runThrough } from "../../../src/match/steps.ts";
import { valueKey } from "../../../src/match/value-key.ts";

const LIMIT = 10;

/** Documents as a server's answer holds them: side by side in one buffer. */
function answer(count: number, bytesEach: number): Uint8Array[] {
  const texts = Array.from({ length: count }, (_, _id) =>
    BSON.serialize({ _id, n: _id, pad: "x".repeat(bytesEach) }),
  );
  const whole = Buffer.concat(texts);
  let end = 0;
  return texts.map(({ length }) => {
    end += length;
    return whole.subarray(end - length, end);
  });
}

function loaded(bytesEach: number): Window {
  const window = new Window(new WindowEntries([["n", 1]]), LIMIT);
  window.load(answer(LIMIT + spareFor(LIMIT), bytesEach), false);
  window.settle();
  return window;
}

/** The first document is deleted. */
function deletion(): Map<string, TouchedDocument> {
  const documentKey = BSON.serialize({ _id: 0 });
  const previous = BSON.serialize({ _id: 0, n: 0 });
  const touched = {
    cause: "delete",
    documentKey,
    previous,
    document: undefined,
    isVisiblyChanged: true,
  } as const;
  return new Map([[valueKey(idOf(documentKey)), touched]]);
}

test.each([1, 3, 50, 1_000])(
  "beyond a limit of %d it tracks a quarter more, at least 10 and at most 200",
  (limit) => {
    const window = new Window(new WindowEntries([["n", 1]]), limit);
    window.load(answer(3 * limit + 500, 1), true);
    window.apply(deletion());
    runThrough(window.changes(new Map()));
    expect(window.size).toBe(limit + Math.min(200, Math.max(10, Math.ceil(limit / 4))));
  },
);

test("holds the keys of all and the documents of the spare, and what comes into sight it need not ask for", () => {
  const window = loaded(100);
  const touched = deletion();
  const heldBytes = window.heldBytes;
  // Of each key two numbers; of the spare, documents of a little over 100 bytes.
  expect(heldBytes).toBeGreaterThan(window.size * 8 + spareFor(LIMIT) * 100);
  expect(heldBytes).toBeLessThan(window.size * 8 + spareFor(LIMIT) * 200);
  window.apply(touched);
  expect(window.lacking()).toBeNull();
  const [, entered] = runThrough(window.changes(new Map()));
  expect(entered).toMatchObject({ type: "added", cause: "window" });
  const { document } = entered as { document: Uint8Array };
  expect(document.buffer.byteLength, "nothing of the answer that it came in").toBe(document.byteLength);
  expect(window.heldBytes).toBeLessThan(heldBytes);
});

test("of large documents it keeps no more than 64 KiB, and asks for what comes into sight", () => {
  const window = loaded(40_000);
  expect(window.heldBytes).toBeLessThan(65_536 + window.size * 8 + 1);
  const large = loaded(100_000);
  expect(large.heldBytes).toBe(large.size * 8);
  const touched = deletion();
  large.apply(touched);
  expect(large.lacking()).toMatchObject({ ids: [expect.anything()] });
});

test("when the spare has run out it asks for the whole window again, and not before", () => {
  const window = loaded(100);
  for (let id = 0; id <= spareFor(LIMIT); id++) {
    const documentKey = BSON.serialize({ _id: id });
    const key = valueKey(idOf(documentKey));
    const touched = new Map([[key, { ...[...deletion().values()][0], documentKey } as TouchedDocument]]);
    window.apply(touched);
    const isLast = id === spareFor(LIMIT);
    expect(window.lacking()).toEqual(isLast ? "refill" : null);
    if (!isLast) runThrough(window.changes(new Map()));
  }
});

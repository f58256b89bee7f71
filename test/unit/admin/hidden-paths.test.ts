import { expect, test } from "vitest";
import { hiddenPaths } from "../../../src/admin/hidden-paths.ts";

test.each([
  [{ a: 1 }, { a: 1 }, []],
  [{ a: 1, b: 2 }, { a: 1 }, ["b"]],
  [{ a: { b: 1, c: 2 } }, { a: { b: 1 } }, ["a.c"]],
  [{ a: [{ b: 1, c: 2 }, { c: 3 }] }, { a: [{ b: 1 }, {}] }, ["a.c"]],
  [{ a: null }, { a: null }, []],
])("of %o, shown as %o, these fields are hidden: %o", (stored, shown, paths) => {
  expect(hiddenPaths(stored, shown)).toEqual(paths);
});

test("at most 200 paths are listed", () => {
  const stored = Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`f${n}`, n]));
  expect(hiddenPaths(stored, {})).toHaveLength(200);
});

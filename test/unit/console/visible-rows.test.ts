import { expect, test } from "vitest";
import { visibleRows } from "../../../src/console/ui/visible-rows.ts";

const screen = { height: 440, rowHeight: 44 };

test.each([
  ["at the top", 0, 10_000, { from: 0, to: 22 }],
  ["in the middle", 44 * 5_000, 10_000, { from: 4_988, to: 5_022 }],
  ["at the end", 44 * 9_990, 10_000, { from: 9_978, to: 10_000 }],
  ["with fewer rows than the screen holds", 0, 3, { from: 0, to: 3 }],
  ["without rows", 0, 0, { from: 0, to: 0 }],
  ["after rows have gone", 44 * 9_000, 5, { from: 4, to: 5 }],
  ["while the browser bounces", -100, 100, { from: 0, to: 22 }],
])("renders the rows on the screen and some more %s", (_, scrollTop, rows, expected) => {
  expect(visibleRows({ ...screen, scrollTop, rows })).toEqual(expected);
});

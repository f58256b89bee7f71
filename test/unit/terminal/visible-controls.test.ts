import { expect, test } from "vitest";
import { withVisibleControls } from "../../../src/terminal/visible-controls.ts";

test("a document cannot command the terminal on which it is printed, and is the same document when it is read back", () => {
  const doc = { text: "\u009b31m \u001b]0;title\u0007 \u0085 grün 🚀" };
  const line = withVisibleControls(JSON.stringify(doc));
  expect(line).not.toMatch(/\p{Cc}/u);
  expect(line).toContain("\\u009b31m");
  expect(line).toContain("grün 🚀");
  expect(JSON.parse(line)).toEqual(doc);
});

test("colors that a command itself writes stay", () => {
  expect(withVisibleControls("\u001b[32m+\u001b[39m {}")).toBe("\u001b[32m+\u001b[39m {}");
});

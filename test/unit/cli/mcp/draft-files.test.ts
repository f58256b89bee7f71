import { posix, win32 } from "node:path";
import { expect, test } from "vitest";
import { isBelow } from "../../../../src/cli/mcp/draft-files.ts";

test.each([
  ["/drafts", "/drafts/a.yaml", true],
  ["/drafts", "/drafts/b/a.yaml", true],
  ["/drafts", "/drafts", false],
  ["/drafts", "/a.yaml", false],
  ["/drafts", "/drafts-old/a.yaml", false],
  ["/drafts", "/drafts/.a.yaml", false],
  ["/drafts", "/drafts/.git/a.yaml", false],
])("below %s: %s is %s", (folder, file, expected) => {
  expect(isBelow(folder, file, posix)).toBe(expected);
});

test.each([
  ["C:\\drafts", "C:\\drafts\\a.yaml", true],
  ["C:\\drafts", "D:\\a.yaml", false],
  ["C:\\drafts", "D:\\drafts\\a.yaml", false],
  ["C:\\drafts", "\\\\host\\share\\a.yaml", false],
  ["C:\\drafts", "C:\\a.yaml", false],
])("below %s: %s is %s, on Windows", (folder, file, expected) => {
  expect(isBelow(folder, file, win32)).toBe(expected);
});

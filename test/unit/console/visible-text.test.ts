import { expect, test } from "vitest";
import { visibleText } from "../../../src/console/ui/visible-text.ts";

test("names the characters that nobody sees, and leaves every other one", () => {
  expect(visibleText("owner: \u202E%%user.sub\u202C")).toBe("owner: [U+202E]%%user.sub[U+202C]");
  expect(visibleText("ad\u200Bmin\u0000\uFEFF")).toBe("ad[U+200B]min[U+0000][U+FEFF]");
  const ordinary = "größe: {\n\t日本語, עברית, 1 €}";
  expect(visibleText(ordinary)).toBe(ordinary);
});

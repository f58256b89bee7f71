import { expect, test } from "vitest";
import { compileRegex, RegexRefused } from "../../../src/match/regex.ts";

test.each([
  "a++",
  "a**",
  "a{2}{3}",
  "(?i)a",
  "(?=a)",
  "(?!a)",
  "(?<=a)b",
  "(?<n>a)",
  "(?P<n>a)",
  "(?>a)",
  "(?#x)",
  "(*ACCEPT)",
  "\\Aa",
  "a\\z",
  "a\\Z",
  "\\Qa\\E",
  "\\p{L}",
  "\\x41",
  "\\u0041",
  "\\h",
  "\\v",
  "\\R",
  "\\B",
  "\\1",
  "\\é",
  "[[:alpha:]]",
  "[[a]",
  "[]a]",
  "[^]a]",
  "[a",
  "[z-a]",
  "[\\d-z]",
  "[\\S]",
  "[\\b]",
  "(a",
  "a)",
  "*a",
  "^*",
  "$+",
  "\\b?",
  "{",
  "a{",
  "a{,2}",
  "a{2,1}",
  "a{1001}",
  "a{1,1001}",
  "(a+)+",
  "(a*)*b",
  "(a|a)*b",
  "(a|b){2}",
  "(a?){20}",
  "((a{1,2}))*",
  "a?".repeat(9),
  `${"(".repeat(30)}a${")".repeat(30)}`,
  "a".repeat(1_001),
  "a\0b",
  "\ud800",
  "a\\",
])("refuses %s, on which engines differ or which may take for ever", (pattern) => {
  expect(() => compileRegex(pattern, "", "subset")).toThrow(RegexRefused);
});

test.each(["i", "m", "x", "u", "g", "is"])("refuses the option %s", (options) => {
  expect(() => compileRegex("a", options, "subset")).toThrow(RegexRefused);
});

test("a client's prefix is plain text after ^, with what could mean more escaped", () => {
  const prefix = (pattern: string) => compileRegex(pattern, "", "prefix");
  expect(prefix("^")).toEqual({ kind: "prefix", prefix: "" });
  expect(prefix("^a b-é\u{1f600}")).toEqual({ kind: "prefix", prefix: "a b-é\u{1f600}" });
  expect(prefix("^\\^\\$\\.\\[\\|\\(\\)\\?\\*\\+\\{\\\\/")).toEqual({
    kind: "prefix",
    prefix: "^$.[|()?*+{\\/",
  });
  for (const character of "^$.[|()?*+{\\") expect(() => prefix(`^a${character}`)).toThrow(RegexRefused);
  for (const pattern of ["a", "", "^\\d", "^\\Q", "a^", "^é\\é"])
    expect(() => prefix(pattern)).toThrow(RegexRefused);
  expect(() => compileRegex("^a", "s", "prefix")).toThrow(RegexRefused);
});

test("takes little time on what would be catastrophic if it were taken", () => {
  const compiled = compileRegex("^a{0,50}a{0,50}a{0,50}b$", "", "subset");
  const started = performance.now();
  if (compiled.kind === "regexp") expect(compiled.regexp.test("a".repeat(150))).toBe(false);
  expect(performance.now() - started).toBeLessThan(1_000);
});

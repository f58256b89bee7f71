import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import type { Filter } from "../../../src/match/filter.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";
import { compileRegex } from "../../../src/match/regex.ts";
import { RegexRefused } from "../../../src/match/regex-parser.ts";
import { countReads } from "../../support/count-reads.ts";

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

function find(pattern: string, text: string, options = ""): boolean {
  return matches(parseFilter({ s: { $regex: pattern, $options: options } }, { regex: "subset" }), {
    s: text,
  });
}

const matches = (filter: Filter, document: object) => compileFilter(filter)(BSON.serialize(document));

test.each([
  ["a{2000}", "a repeat"],
  ["(a{900}){3}", "a repeat of a repeat"],
  ["((a{1000}){1000}){1000}", "three repeats in each other, which nobody could write out"],
  ["((){1000}){1000}", "repeats of nothing"],
  ["x".repeat(201), "text that may begin anywhere"],
  [`.*${"a".repeat(201)}`, "text behind a repeat without an end"],
  ["a{1,150}b{1,60}", "counted repeats that may begin anywhere"],
  [`^.*${"a?".repeat(6)}a{195}`, "counted repeats behind a repeat without an end"],
])("refuses %s: %s makes too many states", (pattern) => {
  expect(() => compileRegex(pattern, "", "subset")).toThrow(RegexRefused);
});

test("accepts a long pattern of which few states are active at once", () => {
  expect(find("^.{1,1000}$", "é".repeat(1_000))).toBe(true);
  expect(find("^.{1,1000}$", "é".repeat(1_001))).toBe(false);
  expect(find(`^${"ab?".repeat(8)}[a-z]{900}$`, `${"a".repeat(8)}${"x".repeat(900)}`)).toBe(true);
  expect(find("x".repeat(200), "x".repeat(199))).toBe(false);
  expect(find("x".repeat(200), "x".repeat(200))).toBe(true);
});

/** These took seconds to hours in an engine that tries one way after the other. */
const EVIL: readonly (readonly [pattern: string, text: (size: number) => string])[] = [
  ["a.*b.*c.*d", (size) => "a".repeat(size) + "b".repeat(size) + "c".repeat(size)],
  ["a.*b.*c.*d\\d", (size) => "abcd".repeat(size)],
  ["^a{0,50}a{0,50}a{0,50}b$", (size) => "a".repeat(size)],
  ["x*x*x*x*x*x*x*x*y", (size) => "x".repeat(size)],
  ["(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)b", (size) => "a".repeat(size)],
  ["[a-d]{1,60}[a-d]{1,60}[a-d]{1,60}1", (size) => "abcd".repeat(size)],
  ["a.{190}z", (size) => "abba".repeat(size)],
  ["(?:\\b.)?\\ba.*\\bb.*\\bc.*\\bd", (size) => "a b c ".repeat(size)],
];

test.each(EVIL)("reads each byte once for %s", (pattern, textOf) => {
  const compiled = compileRegex(pattern, "", "subset");
  if (compiled.kind !== "automaton") return expect.unreachable();
  for (const size of [500, 1_000, 2_000]) {
    const text = Buffer.from(textOf(size), "utf8");
    const counted = countReads(text);
    expect(compiled.automaton.test(counted.bytes, 0, text.length)).toBe(false);
    expect(counted.reads()).toBeLessThanOrEqual(text.length);
  }
});

test("matches the same texts after its state cache was emptied many times", () => {
  // Each run of characters makes other states.
  const pattern = "a.{150}z";
  let seed = 7;
  let text = "";
  while (text.length < 20_000) {
    seed = (seed * 48_271) % 2_147_483_647;
    text += seed % 2 === 0 ? "a" : "b";
  }
  const filter = parseFilter({ s: { $regex: pattern } }, { regex: "subset" });
  expect(matches(filter, { s: text })).toBe(false);
  expect(matches(filter, { s: `${text}a${"b".repeat(150)}z` })).toBe(true);
  expect(matches(filter, { s: `a${"b".repeat(150)}z` })).toBe(true);
  expect(matches(filter, { s: `a${"b".repeat(149)}z` })).toBe(false);
});

test("searches a long text for the required substring and for the rest of the pattern", () => {
  const long = "x".repeat(1_000);
  expect(find("needle.[0-9]", `${long}needle-7${long}`)).toBe(true);
  expect(find("needle.[0-9]", `${long}needle-x${long}`)).toBe(false);
  expect(find("needle.[0-9]", `${long}needl`)).toBe(false);
  const longer = "n".repeat(150);
  expect(find(`a${longer}b`, `${long}a${longer}b`)).toBe(true);
  expect(find(`a${longer}b`, `${long}a${longer}c`)).toBe(false);
  // Bytes that follow the text in the document are not part of it.
  const filter = parseFilter({ s: { $regex: "needle" } }, { regex: "subset" });
  expect(matches(filter, { s: long, t: "needle" })).toBe(false);
});

/** The automaton against JavaScript's own engine, for patterns on which both agree, on text that harms neither. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { compileRegex } from "../../../src/match/regex.ts";
import { RegexRefused } from "../../../src/match/regex-parser.ts";
import { startSeed } from "../../property/seed.ts";

/** One pattern, as it is written for the service and for JavaScript. */
type Pattern = readonly [ours: string, javascript: string];

const ATOMS: readonly Pattern[] = [
  ...[..."abc1_ é\u{1f600}-"].map((character): Pattern => [character, character]),
  ["\\.", "\\."],
  ["\\n", "\\n"],
  [".", "[^\\n]"],
  ["\\d", "[0-9]"],
  ["\\D", "[^0-9]"],
  ["\\w", "[A-Za-z0-9_]"],
  ["\\W", "[^A-Za-z0-9_]"],
  ["\\s", "[ \\t\\n\\v\\f\\r]"],
  ["\\S", "[^ \\t\\n\\v\\f\\r]"],
  ["[a-c]", "[a-c]"],
  ["[^ab\\n]", "[^ab\\n]"],
  ["[\u{1f600}-\u{1f610}é]", "[\u{1f600}-\u{1f610}é]"],
  ["[^\\w]", "[^A-Za-z0-9_]"],
];

const ANCHORS: readonly Pattern[] = [
  ["^", "^"],
  ["$", "(?=\\n?$)"],
  ["\\b", "\\b"],
];
const REPEATS = ["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?", "{0}"];

const join = (parts: readonly Pattern[], by = ""): Pattern => [
  parts.map(([ours]) => ours).join(by),
  parts.map(([, javascript]) => javascript).join(by),
];
const group = ([ours, javascript]: Pattern): Pattern => [`(?:${ours})`, `(?:${javascript})`];

const { pattern } = fc.letrec<{ pattern: Pattern; part: Pattern; atom: Pattern }>((tie) => ({
  pattern: fc
    .array(
      fc.array(tie("part"), { maxLength: 5 }).map((parts) => join(parts)),
      { minLength: 1, maxLength: 3 },
    )
    .map((branches) => join(branches, "|")),
  part: fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom(...ANCHORS) },
    { weight: 5, arbitrary: tie("atom") },
    {
      weight: 4,
      arbitrary: fc
        .tuple(tie("atom"), fc.constantFrom(...REPEATS))
        .map(([[ours, javascript], repeat]): Pattern => [ours + repeat, javascript + repeat]),
    },
  ),
  atom: fc.oneof(
    { maxDepth: 2, depthIdentifier: "group" },
    { weight: 4, arbitrary: fc.constantFrom(...ATOMS) },
    { weight: 1, arbitrary: tie("pattern").map(group) },
  ),
}));

const text = fc
  .array(fc.constantFrom(..."aabbcc11_ -.\n\n\r\t", "é", "\u{1f600}", "\u{1f605}", "\u2028", "\u{10ffff}"), {
    maxLength: 8,
  })
  .map((characters) => characters.join(""));

test("matches exactly the texts that the engine of JavaScript matches", () => {
  const seed = startSeed("regex differential");
  let taken = 0;
  const property = fc.property(
    pattern,
    fc.array(text, { minLength: 10, maxLength: 10 }),
    ([ours, javascript], texts) => {
      const test = compiled(ours);
      if (test === undefined) return;
      taken++;
      const oracle = new RegExp(javascript, "u");
      // An `expect` for each of the 50,000 texts would take longer than their matches.
      const wrong = texts.filter((one) => test(one) !== oracle.test(one));
      expect(wrong, `/${ours}/`).toEqual([]);
    },
  );
  fc.assert(property, { numRuns: 5_000, seed });
  expect(taken).toBeGreaterThan(1_000);
});

function compiled(source: string): ((text: string) => boolean) | undefined {
  try {
    const regex = compileRegex(source, "", "subset");
    if (regex.kind === "prefix") return (one) => one.startsWith(regex.prefix);
    return (one) => {
      // As in a document: with other bytes around it.
      const bytes = Buffer.from(`a${one}b`, "utf8");
      return regex.automaton.test(bytes, 1, bytes.length - 1);
    };
  } catch (error) {
    if (error instanceof RegexRefused) return undefined;
    throw error;
  }
}

/** The subset of regular expressions that rules may hold, against the server's engine, on nasty strings. */
import fc from "fast-check";
import { BSON, type Document } from "mongodb";
import { beforeAll, expect, test } from "vitest";
import { fromJs } from "../../src/match/bson-value.ts";
import { compileFilter } from "../../src/match/compile-filter.ts";
import { parseFilter } from "../../src/match/parse-filter.ts";
import { TidewireError } from "../../src/protocol/errors.ts";
import { plainFilter } from "../support/plain-filter.ts";
import { toDocument } from "./bson-samples.ts";
import { ownCollection } from "./own-collection.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const STRINGS = 500;
const PATTERNS = 1_500 * FUZZ_FACTOR;

const seed = startSeed("regex");
const { collection, insert } = await ownCollection("regex");
let strings: string[];
let documents: Buffer[];

/** All that engines are known to disagree on: line ends, spaces, digits and letters beyond ASCII, case, surrogates. */
const CHARACTERS = [
  ..."aabbcAsSkK019_-.$^[]{}()|*+?\\/# \t\n\n\r\f\v\0",
  ..."\u0085\u00a0\u1680\u180e\u2028\u2029\u3000\ufeff\u017f\u212a\u0130é\u0301ß\u0663\u{1f600}\u{1d7d8}\u{10ffff}\ud7ff\ue000",
];

beforeAll(async () => {
  const text = fc.array(fc.constantFrom(...CHARACTERS), { maxLength: 6 }).map((parts) => parts.join(""));
  strings = ["", "\n", "a\n", "a\n\n", "a\r\n", "ab\u2028", ...fc.sample(text, { numRuns: STRINGS, seed })];
  documents = strings.map((s, id) =>
    toDocument({ fields: [["s", { scalar: { value: fromJs(s) } }]] }, fromJs(id)),
  );
  await insert(documents);
});

const TOKENS = [
  ..."aabc1_é\u{1f600}\u2028\u017fsk -#/\n]}",
  ...["^", "^", "$", "$", ".", ".", "|", "\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\b", "\\B"],
  ...[
    "[a-c]",
    "[^a]",
    "[\\s_]",
    "[^\\d]",
    "[\\w-]",
    "[a-]",
    "[-a]",
    "[\u{1f600}é]",
    "[^\u{1f600}]",
    "[^\\s]",
    "[.$^]",
  ],
  ...["[\\]\\\\]", "[\\n\\t]", "[ -~]", "[\\^a]", "[a^]"],
  ...["*", "+", "?", "{2}", "{1,3}", "{0,}", "+?", "*?", "{1}?"],
  ...["(a|b)", "(?:ab)", "(", ")", "(?:", "()", "(|a)"],
  ...["\\.", "\\n", "\\r", "\\t", "\\f", "\\$", "\\/", "\\-", "\\ ", "\\@"],
];
/** Things that must be refused, or mean the same after all. */
const TRAPS = [
  ...[
    "(?i)",
    "\\A",
    "\\Z",
    "\\z",
    "\\x41",
    "\\u0041",
    "\\v",
    "\\h",
    "\\R",
    "\\Q",
    "\\E",
    "\\K",
    "\\1",
    "\\p{L}",
    "\\0",
  ],
  ...[
    "[[:alpha:]]",
    "[]a]",
    "[^]a]",
    "[a",
    "(?=a)",
    "(?!a)",
    "(?<n>a)",
    "(?P<n>a)",
    "(?#x)",
    "(?>a)",
    "(*ACCEPT)",
  ],
  ...[
    "a++",
    "a**",
    "{",
    "{,3}",
    "{a}",
    "x{1001}",
    "\\",
    "(a+)+",
    "(a|b)*",
    "[z-a]",
    "[\\d-z]",
    "[\\S]",
    "[\\b]",
  ],
];

const pattern = fc
  .array(
    fc.oneof(
      { weight: 30, arbitrary: fc.constantFrom(...TOKENS) },
      { weight: 1, arbitrary: fc.constantFrom(...TRAPS) },
    ),
    { minLength: 1, maxLength: 6 },
  )
  .map((parts) => parts.join(""));

test("matches the strings that the server matches, for every pattern that is taken", async () => {
  let taken = 0;
  const property = fc.asyncProperty(pattern, fc.constantFrom("", "", "s"), async (text, options) => {
    const filter = parsed({ s: { $regex: text, $options: options } });
    if (filter === undefined) return;
    taken++;
    const matches = compileFilter(filter);
    const ours = strings.filter((_, id) => matches(documents[id]!));
    const found = await collection
      .find(plainFilter(filter), { projection: { _id: 1 } })
      .sort({ _id: 1 })
      .toArray();
    expect(ours).toEqual(found.map(({ _id }) => strings[Number(_id)]));
  });
  await fc.assert(property, { numRuns: PATTERNS, seed });
  console.log(`regex: ${taken} of ${PATTERNS} patterns taken`);
  expect(taken).toBeGreaterThan(PATTERNS / 5);
});

test("finds a match where the server's engine may give up after too many attempts", async () => {
  const filter = parsed({ s: { $regex: "a.*b.*c.*d\\d" } });
  if (filter === undefined) return expect.unreachable();
  // The first line holds millions of ways that all fail; the second one matches.
  const text = `${"abcd".repeat(1_500)}\nabcd1`;
  const document = BSON.serialize({ _id: STRINGS * 10, s: text });
  expect(compileFilter(filter)(document)).toBe(true);
  await collection.insertOne(BSON.deserialize(document));
  const found = await collection.countDocuments({ _id: STRINGS * 10, ...plainFilter(filter) } as Document);
  console.log(`regex: the server ${found === 1 ? "finds it too" : "gives up and says no match"}`);
});

function parsed(input: unknown) {
  try {
    return parseFilter(input, { regex: "subset" });
  } catch (error) {
    if (error instanceof TidewireError) return undefined;
    throw error;
  }
}

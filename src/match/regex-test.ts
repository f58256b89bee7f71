import { isUtf8 } from "node:buffer";
import { asBuffer, BSON_TYPE, int32At } from "./bson-value.ts";
import type { ValueTest } from "./elements.ts";
import type { Predicate } from "./filter.ts";
import { compileRegex } from "./regex.ts";
import type { RegexAutomaton } from "./regex-automaton.ts";

/** Compiles `$regex`. It matches strings, symbols, and a stored regular expression that is identical. */
export function compileRegexTest(predicate: RegexPredicate): ValueTest {
  const { pattern, options } = predicate;
  const matchesString = stringTestOf(predicate);
  const itself = Buffer.from(`${pattern}\0${options}\0`, "utf8");
  return (type, bytes, at) => {
    if (type === BSON_TYPE.string || type === BSON_TYPE.symbol) {
      // The server's engine fails on text that is not valid UTF-8, which counts as no match.
      return matchesString(bytes, at) && isUtf8(bytes.subarray(at + 4, at + 3 + int32At(bytes, at)));
    }
    return type === BSON_TYPE.regex && hasBytes(bytes, at, itself);
  };
}

type RegexPredicate = Extract<Predicate, { readonly op: "$regex" }>;
type StringTest = (bytes: Uint8Array, at: number) => boolean;

/** The filters of all users under one rule share its predicate, and therefore one automaton. */
const known = new WeakMap<RegexPredicate, StringTest>();

function stringTestOf(predicate: RegexPredicate): StringTest {
  const before = known.get(predicate);
  if (before !== undefined) return before;
  const test = compileStringTest(predicate);
  known.set(predicate, test);
  return test;
}

function compileStringTest({ pattern, options }: RegexPredicate): StringTest {
  // The larger dialect accepts everything that the parser has admitted.
  const regex = compileRegex(pattern, options, "subset");
  if (regex.kind === "automaton") return automatonTest(regex.automaton, regex.required);
  const prefix = Buffer.from(regex.prefix, "utf8");
  return (bytes, at) => int32At(bytes, at) - 1 >= prefix.length && hasBytes(bytes, at + 4, prefix);
}

/** From this size on, in bytes, a native search for the required text costs less than it saves. */
const LONG_TEXT = 256;
/** A longer search text could cost more, because the work of failed comparisons grows with it. */
const REQUIRED_MAX = 32;

function automatonTest(automaton: RegexAutomaton, required: string): StringTest {
  const needle = Buffer.from(required, "utf8").subarray(0, REQUIRED_MAX);
  return (bytes, at) => {
    const start = at + 4;
    const end = at + 3 + int32At(bytes, at);
    const isLong = needle.length > 0 && end - start >= LONG_TEXT;
    if (isLong && !asBuffer(bytes).subarray(start, end).includes(needle)) return false;
    return automaton.test(bytes, start, end);
  };
}

function hasBytes(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

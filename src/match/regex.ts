/**
 * Regular expressions, of which PCRE (the server) and other engines agree on far fewer than one would think. A client
 * may use a prefix, a rule the subset of `regex-parser.ts`; everything else is refused.
 */
import { isWellFormed } from "./paths.ts";
import { RegexAutomaton } from "./regex-automaton.ts";
import { PUNCTUATION, parseRegex, RegexRefused } from "./regex-parser.ts";
import { compileProgram } from "./regex-program.ts";
import { requiredText } from "./regex-required.ts";

/** Which regular expressions are accepted: prefixes alone, or the subset that an automaton runs. */
export type RegexDialect = "prefix" | "subset";

/** A pattern is either text that a string must start with, or something that an automaton finds. */
export type CompiledRegex =
  | { readonly kind: "prefix"; readonly prefix: string }
  | {
      readonly kind: "automaton";
      readonly automaton: RegexAutomaton;
      /** Text that every match holds; it may be empty. */
      readonly required: string;
    };

const MAX_LENGTH = 1_000;
const META = new Set("\\^$.[|()?*+{");

/** @throws {RegexRefused} */
export function compileRegex(pattern: string, options: string, dialect: RegexDialect): CompiledRegex {
  if (pattern.length > MAX_LENGTH) throw new RegexRefused(`is longer than ${MAX_LENGTH} characters`);
  if (pattern.includes("\0") || !isWellFormed(pattern)) throw new RegexRefused("is not well-formed text");
  if (options !== "" && !(dialect === "subset" && options === "s")) {
    throw new RegexRefused(
      dialect === "subset" ? `may have no option but "s"` : "may have no options: it is case-sensitive",
    );
  }
  const prefix = parsePrefix(pattern);
  if (prefix !== undefined) return { kind: "prefix", prefix };
  if (dialect === "prefix") {
    throw new RegexRefused(`must be a prefix: "^" and then plain text, metacharacters escaped with "\\"`);
  }
  const node = parseRegex(pattern, options === "s");
  const automaton = new RegexAutomaton(compileProgram(node));
  return { kind: "automaton", automaton, required: requiredText(node) };
}

/** The text after `^`, if there is nothing else in the pattern. */
function parsePrefix(pattern: string): string | undefined {
  const characters = [...pattern];
  if (characters[0] !== "^") return undefined;
  let text = "";
  for (let i = 1; i < characters.length; i++) {
    let character = characters[i] ?? "";
    if (character === "\\") {
      character = characters[++i] ?? "";
      if (!PUNCTUATION.test(character)) return undefined;
    } else if (META.has(character)) {
      return undefined;
    }
    text += character;
  }
  return text;
}

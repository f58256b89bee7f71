/**
 * Regular expressions. PCRE (the server) and other engines agree on far fewer patterns than is commonly assumed. A
 * client may use a prefix, and a rule the subset of `regex-parser.ts`. Everything else is refused.
 */
import { isWellFormed } from "./paths.ts";
import { RegexAutomaton } from "./regex-automaton.ts";
import { PUNCTUATION, parseRegex, RegexRefused } from "./regex-parser.ts";
import { compileProgram } from "./regex-program.ts";
import { requiredText } from "./regex-required.ts";

/** Which regular expressions are accepted: only prefixes, or the subset that an automaton runs. */
export type RegexDialect = "prefix" | "subset";

/** A pattern is either a text with which a string must begin, or an automaton. */
export type CompiledRegex =
  | { readonly kind: "prefix"; readonly prefix: string }
  | {
      readonly kind: "automaton";
      readonly automaton: RegexAutomaton;
      /** A text that every match contains. It may be empty. */
      readonly required: string;
    };

const MAX_LENGTH = 1_000;
const META = new Set("\\^$.[|()?*+{");

/**
 * Compiles a pattern.
 * @throws {RegexRefused}
 */
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

/** The text after `^`, if the pattern contains nothing else. */
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

/**
 * Regular expressions, of which PCRE (the server) and JavaScript agree on far fewer than one would think. A client
 * may use a prefix, a rule the subset below; each is parsed here, written anew, and everything else is refused.
 */
import { isWellFormed } from "./paths.ts";

export type RegexDialect = "prefix" | "subset";

/** What a pattern was found to be: text that a string must start with, or an equivalent expression of ours. */
export type CompiledRegex =
  | { readonly kind: "prefix"; readonly prefix: string }
  | { readonly kind: "regexp"; readonly regexp: RegExp };

/** A pattern that is refused; the message says why. The parser of filters turns it into `bad-filter`. */
export class RegexRefused extends Error {
  override readonly name = "RegexRefused";
}

const MAX_LENGTH = 1_000;
const META = new Set("\\^$.[|()?*+{");
const PUNCTUATION = /^[!-/:-@[-`{-~]$/;

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
  return { kind: "regexp", regexp: new RegExp(new SubsetParser(pattern, options === "s").parse(), "u") };
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

/** Both engines would try all ways to split a string among repeats; few repeats keep that polynomial. */
const MAX_VARIABLE_REPEATS = 8;
const MAX_REPEAT = 1_000;
const MAX_NESTING = 20;

const CLASS_ESCAPES: Readonly<Record<string, string>> = {
  d: "0-9",
  w: "A-Za-z0-9_",
  // PCRE's: neither JavaScript's Unicode spaces nor U+FEFF.
  s: " \\t\\n\\v\\f\\r",
};
const CONTROL_ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", f: "\f" };

/** One atom or group, written for JavaScript. */
interface Piece {
  readonly text: string;
  /** Anchors and boundaries take no repeat. */
  readonly repeatable: boolean;
  /** Holds a choice or a repeat, so that repeating it again could take exponential time. */
  readonly variable: boolean;
}

class SubsetParser {
  readonly #characters: readonly string[];
  readonly #dotAll: boolean;
  #at = 0;
  #repeats = 0;

  constructor(pattern: string, dotAll: boolean) {
    this.#characters = [...pattern];
    this.#dotAll = dotAll;
  }

  parse(): string {
    const { text } = this.#choice(0);
    if (this.#at < this.#characters.length) throw new RegexRefused("has an unmatched )");
    return text;
  }

  #peek(ahead = 0): string {
    return this.#characters[this.#at + ahead] ?? "";
  }

  #take(): string {
    return this.#characters[this.#at++] ?? "";
  }

  #choice(nesting: number): Piece {
    if (nesting > MAX_NESTING) throw new RegexRefused("nests too deeply");
    let text = "";
    let variable = false;
    while (true) {
      const branch = this.#sequence(nesting);
      text += branch.text;
      variable ||= branch.variable;
      if (this.#peek() !== "|") return { text, repeatable: true, variable };
      text += this.#take();
      variable = true;
    }
  }

  #sequence(nesting: number): Piece {
    let text = "";
    let variable = false;
    while (this.#at < this.#characters.length && this.#peek() !== "|" && this.#peek() !== ")") {
      const piece = this.#repeated(this.#atom(nesting));
      text += piece.text;
      variable ||= piece.variable;
    }
    return { text, repeatable: true, variable };
  }

  #atom(nesting: number): Piece {
    const character = this.#take();
    switch (character) {
      case "^":
        return anchor("^");
      case "$":
        // PCRE's matches before a final newline too.
        return anchor("(?=\\n?$)");
      case ".":
        return single(this.#dotAll ? "[^]" : "[^\\n]");
      case "[":
        return single(this.#characterClass());
      case "(":
        return this.#group(nesting);
      case "\\":
        return this.#escape();
      case "*":
      case "+":
      case "?":
      case "{":
        throw new RegexRefused(`has a ${character} with nothing to repeat (escape it with \\)`);
      default:
        return single(literal(character));
    }
  }

  #group(nesting: number): Piece {
    if (this.#peek() === "*") throw new RegexRefused("has a (* verb");
    if (this.#peek() === "?") {
      if (this.#peek(1) !== ":") throw new RegexRefused("has a group other than ( ) and (?: )");
      this.#at += 2;
    }
    const inner = this.#choice(nesting + 1);
    if (this.#take() !== ")") throw new RegexRefused("has an unmatched (");
    return { ...inner, text: `(?:${inner.text})` };
  }

  #escape(): Piece {
    const character = this.#take();
    const lower = character.toLowerCase();
    const set = CLASS_ESCAPES[lower];
    if (set !== undefined) return single(lower === character ? `[${set}]` : `[^${set}]`);
    // Not `\B`: the server denies it where it holds, in "9a𝟘9" for one.
    if (character === "b") return anchor("\\b");
    return single(literal(this.#escapedCharacter(character)));
  }

  /** The character that `\` and this one stand for. */
  #escapedCharacter(character: string): string {
    const control = CONTROL_ESCAPES[character];
    if (control !== undefined) return control;
    if (PUNCTUATION.test(character)) return character;
    throw new RegexRefused(`has the escape \\${character}, on which engines differ`);
  }

  #characterClass(): string {
    let text = "[";
    if (this.#peek() === "^") text += this.#take();
    if (this.#peek() === "]") throw new RegexRefused("has an empty character class (escape the ])");
    while (this.#peek() !== "]") {
      if (this.#at >= this.#characters.length) throw new RegexRefused("has an unmatched [");
      text += this.#classMember();
    }
    this.#at++;
    return `${text}]`;
  }

  #classMember(): string {
    const escaped = this.#peek() === "\\" ? (CLASS_ESCAPES[this.#peek(1)] ?? "") : "";
    if (escaped !== "") {
      this.#at += 2;
      if (this.#peek() === "-" && this.#peek(1) !== "]") throw new RegexRefused("has a range from a class");
      return escaped;
    }
    const from = this.#classCharacter();
    if (this.#peek() !== "-" || this.#peek(1) === "]") return literal(from);
    this.#at++;
    const to = this.#classCharacter();
    if ((to.codePointAt(0) ?? 0) < (from.codePointAt(0) ?? 0)) {
      throw new RegexRefused("has a range out of order");
    }
    return `${literal(from)}-${literal(to)}`;
  }

  #classCharacter(): string {
    const character = this.#take();
    if (character === "[") throw new RegexRefused("has a [ in a character class (escape it with \\)");
    if (character === "") throw new RegexRefused("has an unmatched [");
    return character === "\\" ? this.#escapedCharacter(this.#take()) : character;
  }

  #repeated(piece: Piece): Piece {
    const repeat = this.#repeat();
    if (repeat === undefined) return piece;
    if (!piece.repeatable) throw new RegexRefused("repeats an anchor");
    const [text, min, max] = repeat;
    if (piece.variable && max > 1) {
      throw new RegexRefused(
        "repeats a group that holds a repeat or a choice, which can take exponential time",
      );
    }
    if (min !== max && ++this.#repeats > MAX_VARIABLE_REPEATS) {
      throw new RegexRefused(`has more than ${MAX_VARIABLE_REPEATS} repeats of variable length`);
    }
    return { text: piece.text + text, repeatable: true, variable: piece.variable || min !== max };
  }

  /** The repeat that comes next, if one does: as text, and its least and greatest count. */
  #repeat(): readonly [text: string, min: number, max: number] | undefined {
    const character = this.#peek();
    let repeat: readonly [string, number, number] | undefined;
    if (character === "*") repeat = ["*", 0, Infinity];
    else if (character === "+") repeat = ["+", 1, Infinity];
    else if (character === "?") repeat = ["?", 0, 1];
    if (repeat !== undefined) this.#at++;
    else if (character === "{") repeat = this.#counts();
    else return undefined;
    // Lazy or greedy finds the same strings; possessive does not.
    if (this.#peek() === "?") this.#at++;
    if ("*+?{".includes(this.#peek()) && this.#peek() !== "")
      throw new RegexRefused("has a repeat of a repeat");
    return repeat;
  }

  #counts(): readonly [string, number, number] {
    const close = this.#characters.indexOf("}", this.#at);
    const text = this.#characters.slice(this.#at, close + 1).join("");
    const counts = /^\{(\d{1,4})(?:(,)(\d{0,4}))?\}$/.exec(text);
    if (counts === null) throw new RegexRefused("has a { that is not a repeat (escape it with \\)");
    const min = Number(counts[1]);
    const max = counts[2] === undefined ? min : counts[3] === "" ? Infinity : Number(counts[3]);
    if (min > max || min > MAX_REPEAT || (max > MAX_REPEAT && max !== Infinity)) {
      throw new RegexRefused(`repeats more than ${MAX_REPEAT} times, or out of order`);
    }
    this.#at = close + 1;
    return [text, min, max];
  }
}

function anchor(text: string): Piece {
  return { text, repeatable: false, variable: false };
}

function single(text: string): Piece {
  return { text, repeatable: true, variable: false };
}

/** One character that means itself, whatever it is and wherever it stands. */
function literal(character: string): string {
  return /^[A-Za-z0-9]$/.test(character) ? character : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

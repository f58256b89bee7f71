/**
 * Parses the subset of PCRE on which the server and the service agree. Everything else is refused, because a pattern
 * that the two read differently would show a document in the snapshot and hide it in changes, or the reverse.
 */
import {
  type CodePoints,
  complement,
  DIGITS,
  EVERY_POINT,
  NEWLINE,
  onePoint,
  SPACES,
  union,
  WORD,
} from "./code-points.ts";

/** A pattern that is refused. The message says why. The filter parser converts it to `bad-filter`. */
export class RegexRefused extends Error {
  override readonly name = "RegexRefused";
}

/** A condition between two characters. `end` also holds before a final newline, like `$` in PCRE. */
export type Assertion = "start" | "end" | "boundary";

/** A node of a parsed regular expression. */
export type RegexNode =
  | { readonly kind: "characters"; readonly set: CodePoints }
  | { readonly kind: "assertion"; readonly assertion: Assertion }
  | { readonly kind: "sequence"; readonly parts: readonly RegexNode[] }
  | { readonly kind: "choice"; readonly branches: readonly RegexNode[] }
  /** `max` may be infinite. */
  | { readonly kind: "repeat"; readonly part: RegexNode; readonly min: number; readonly max: number };

/** ASCII punctuation, which loses its special meaning after a backslash. */
export const PUNCTUATION = /^[!-/:-@[-`{-~]$/;

/** Each repeat of variable length multiplies the ways in which the server's engine may split a string. */
const MAX_VARIABLE_REPEATS = 8;
const MAX_REPEAT = 1_000;
const MAX_NESTING = 20;

const CLASS_ESCAPES: Readonly<Record<string, CodePoints>> = { d: DIGITS, w: WORD, s: SPACES };
const CONTROL_ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", f: "\f" };

/** One atom or group. */
interface Piece {
  readonly node: RegexNode;
  /** Whether a repeat may follow. Anchors and boundaries take none. */
  readonly repeatable: boolean;
  /** Whether it contains a choice or a repeat. The server's engine could take exponential time to repeat it. */
  readonly variable: boolean;
}

/**
 * Parses a pattern.
 * @throws {RegexRefused}
 */
export function parseRegex(pattern: string, dotAll: boolean): RegexNode {
  return new SubsetParser(pattern, dotAll).parse();
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

  parse(): RegexNode {
    const { node } = this.#choice(0);
    if (this.#at < this.#characters.length) throw new RegexRefused("has an unmatched )");
    return node;
  }

  #peek(ahead = 0): string {
    return this.#characters[this.#at + ahead] ?? "";
  }

  #take(): string {
    return this.#characters[this.#at++] ?? "";
  }

  #choice(nesting: number): Piece {
    if (nesting > MAX_NESTING) throw new RegexRefused("nests too deeply");
    const first = this.#sequence(nesting);
    if (this.#peek() !== "|") return first;
    const branches = [first.node];
    while (this.#peek() === "|") {
      this.#at++;
      branches.push(this.#sequence(nesting).node);
    }
    return { node: { kind: "choice", branches }, repeatable: true, variable: true };
  }

  #sequence(nesting: number): Piece {
    const parts: RegexNode[] = [];
    let variable = false;
    while (this.#at < this.#characters.length && this.#peek() !== "|" && this.#peek() !== ")") {
      const piece = this.#repeated(this.#atom(nesting));
      parts.push(piece.node);
      variable ||= piece.variable;
    }
    return { node: { kind: "sequence", parts }, repeatable: true, variable };
  }

  #atom(nesting: number): Piece {
    const character = this.#take();
    switch (character) {
      case "^":
        return assertion("start");
      case "$":
        return assertion("end");
      case ".":
        return characters(this.#dotAll ? EVERY_POINT : complement(NEWLINE));
      case "[":
        return characters(this.#characterClass());
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
        return characters(onePoint(character));
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
    return { ...inner, repeatable: true };
  }

  #escape(): Piece {
    const character = this.#take();
    const lower = character.toLowerCase();
    const set = CLASS_ESCAPES[lower];
    if (set !== undefined) return characters(lower === character ? set : complement(set));
    // `\B` is refused, because the server denies it in cases where it holds, for example in "9a𝟘9".
    if (character === "b") return assertion("boundary");
    return characters(onePoint(this.#escapedCharacter(character)));
  }

  /** The character that `\` followed by this one represents. */
  #escapedCharacter(character: string): string {
    const control = CONTROL_ESCAPES[character];
    if (control !== undefined) return control;
    if (PUNCTUATION.test(character)) return character;
    throw new RegexRefused(`has the escape \\${character}, on which engines differ`);
  }

  #characterClass(): CodePoints {
    const isNegated = this.#peek() === "^";
    if (isNegated) this.#at++;
    if (this.#peek() === "]") throw new RegexRefused("has an empty character class (escape the ])");
    const members: CodePoints[] = [];
    while (this.#peek() !== "]") {
      if (this.#at >= this.#characters.length) throw new RegexRefused("has an unmatched [");
      members.push(this.#classMember());
    }
    this.#at++;
    const set = union(...members);
    return isNegated ? complement(set) : set;
  }

  #classMember(): CodePoints {
    const escaped = this.#peek() === "\\" ? CLASS_ESCAPES[this.#peek(1)] : undefined;
    if (escaped !== undefined) {
      this.#at += 2;
      if (this.#peek() === "-" && this.#peek(1) !== "]") throw new RegexRefused("has a range from a class");
      return escaped;
    }
    const from = this.#classCharacter();
    if (this.#peek() !== "-" || this.#peek(1) === "]") return onePoint(from);
    this.#at++;
    const to = this.#classCharacter();
    const [low, high] = [from.codePointAt(0) ?? 0, to.codePointAt(0) ?? 0];
    if (high < low) throw new RegexRefused("has a range out of order");
    return [[low, high]];
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
    const [min, max] = repeat;
    if (piece.variable && max > 1) {
      throw new RegexRefused(
        "repeats a group that holds a repeat or a choice, which can take exponential time in MongoDB",
      );
    }
    if (min !== max && ++this.#repeats > MAX_VARIABLE_REPEATS) {
      throw new RegexRefused(`has more than ${MAX_VARIABLE_REPEATS} repeats of variable length`);
    }
    const node: RegexNode = { kind: "repeat", part: piece.node, min, max };
    return { node, repeatable: true, variable: piece.variable || min !== max };
  }

  /** The minimum and maximum of the repeat that follows, if there is one. */
  #repeat(): readonly [min: number, max: number] | undefined {
    const character = this.#peek();
    let repeat = SHORT_REPEATS[character];
    if (repeat !== undefined) this.#at++;
    else if (character === "{") repeat = this.#counts();
    else return undefined;
    // A lazy and a greedy repeat match the same strings. A possessive one does not.
    if (this.#peek() === "?") this.#at++;
    if ("*+?{".includes(this.#peek()) && this.#peek() !== "")
      throw new RegexRefused("has a repeat of a repeat");
    return repeat;
  }

  #counts(): readonly [number, number] {
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
    return [min, max];
  }
}

const SHORT_REPEATS: Readonly<Record<string, readonly [number, number]>> = {
  "*": [0, Infinity],
  "+": [1, Infinity],
  "?": [0, 1],
};

function assertion(kind: Assertion): Piece {
  return { node: { kind: "assertion", assertion: kind }, repeatable: false, variable: false };
}

function characters(set: CodePoints): Piece {
  return { node: { kind: "characters", set }, repeatable: true, variable: false };
}

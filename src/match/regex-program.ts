/**
 * Compiles a pattern to the program of an automaton (Thompson's construction), and computes its alphabet: the classes
 * of characters that the program distinguishes. Classes keep the tables small, although Unicode has over a million code
 * points.
 */
import { type CodePoints, NEWLINE, WORD } from "./code-points.ts";
import { type RegexNode, RegexRefused } from "./regex-parser.ts";
import { mostAtOnce, positionsOf } from "./regex-size.ts";

/** The effect of an instruction. Execution continues with the next one unless stated otherwise. */
export const OP = {
  match: 0,
  /** Consumes one character of the set `first`. */
  characters: 1,
  /** Continues at `first` and at `second`. */
  split: 2,
  /** Continues at `first`. */
  jump: 3,
  /** Continues if the assertion holds. */
  start: 4,
  end: 5,
  boundary: 6,
} as const;

/** Instructions as columns. */
export interface RegexProgram {
  readonly ops: Uint8Array;
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly sets: readonly CodePoints[];
}

/** How many characters a pattern may contain once its repeats are expanded. */
export const MAX_POSITIONS = 2_000;
/** At how many of these an automaton may be at once, which is the maximum cost of one character of a text. */
export const MAX_AT_ONCE = 200;

/**
 * Compiles a parsed pattern.
 * @throws {RegexRefused} It is too large.
 */
export function compileProgram(node: RegexNode): RegexProgram {
  if (positionsOf(node) > MAX_POSITIONS) {
    throw new RegexRefused(`names more than ${MAX_POSITIONS} characters once its repeats are written out`);
  }
  if (mostAtOnce(node) > MAX_AT_ONCE) {
    throw new RegexRefused(
      `may be at more than ${MAX_AT_ONCE} of its characters at once: begin it with ^, or shorten its repeats`,
    );
  }
  const writer = new ProgramWriter();
  writer.write(node);
  return writer.finish();
}

class ProgramWriter {
  readonly #ops: number[] = [];
  readonly #first: number[] = [];
  readonly #second: number[] = [];
  readonly #sets: CodePoints[] = [];
  readonly #known = new Map<string, number>();

  finish(): RegexProgram {
    this.#add(OP.match);
    return {
      ops: Uint8Array.from(this.#ops),
      first: Int32Array.from(this.#first),
      second: Int32Array.from(this.#second),
      sets: this.#sets,
    };
  }

  write(node: RegexNode): void {
    switch (node.kind) {
      case "characters":
        this.#add(OP.characters, this.#setOf(node.set));
        break;
      case "assertion":
        this.#add(OP[node.assertion]);
        break;
      case "sequence":
        for (const part of node.parts) this.write(part);
        break;
      case "choice":
        this.#choice(node.branches);
        break;
      case "repeat":
        this.#repeat(node.part, node.min, node.max);
        break;
    }
  }

  #setOf(set: CodePoints): number {
    const key = set.join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, this.#sets.length);
    return this.#sets.push(set) - 1;
  }

  #choice(branches: readonly RegexNode[]): void {
    const ends: number[] = [];
    for (const [i, branch] of branches.entries()) {
      const isLast = i === branches.length - 1;
      const split = isLast ? undefined : this.#add(OP.split);
      this.write(branch);
      if (split === undefined) break;
      ends.push(this.#add(OP.jump));
      this.#setTargets(split, split + 1, this.#ops.length);
    }
    for (const end of ends) this.#setTargets(end, this.#ops.length);
  }

  #repeat(part: RegexNode, min: number, max: number): void {
    for (let i = 0; i < min; i++) this.write(part);
    if (max === Number.POSITIVE_INFINITY) {
      const loop = this.#add(OP.split);
      this.write(part);
      this.#add(OP.jump, loop);
      this.#setTargets(loop, loop + 1, this.#ops.length);
      return;
    }
    // Each repetition may be omitted, and then so are the following ones.
    const splits: number[] = [];
    for (let i = min; i < max; i++) {
      splits.push(this.#add(OP.split));
      this.write(part);
    }
    for (const split of splits) this.#setTargets(split, split + 1, this.#ops.length);
  }

  /**
   * Appends an instruction.
   * @returns Its position. A target that is not known yet is set later.
   */
  #add(op: number, first = 0): number {
    this.#ops.push(op);
    this.#first.push(first);
    return this.#second.push(0) - 1;
  }

  #setTargets(position: number, first: number, second = 0): void {
    this.#first[position] = first;
    this.#second[position] = second;
  }
}

/** The classes of code points that a program distinguishes. Characters of one class always lead to the same state. */
export interface Alphabet {
  /** The number of classes. */
  readonly classes: number;
  /** The class of each ASCII character. */
  readonly ascii: Uint16Array;
  /** The starts of ranges, in order, and the class of each range. */
  readonly starts: Uint32Array;
  readonly classOfRange: Uint16Array;
  /** Whether the characters of a class belong to a word. */
  readonly isWord: Uint8Array;
  /** For each set, whether it contains a class. */
  readonly holds: readonly Uint8Array[];
}

/** Computes the classes of characters that a program distinguishes. */
export function alphabetOf({ sets }: RegexProgram): Alphabet {
  // Assertions depend on newlines and words, so these are distinguished in any case.
  const all = [...sets, NEWLINE, WORD];
  const edges = new Set([0]);
  for (const set of all) for (const [low, high] of set) edges.add(low).add(high + 1);
  const starts = Uint32Array.from([...edges].filter((edge) => edge <= 0x10ffff)).sort();
  const members = all.map((set) => rangesIn(set, starts));
  const classOf = new Map<string, number>();
  const firstRange: number[] = [];
  const classOfRange = Uint16Array.from(starts, (_, range) => {
    const signature = String.fromCharCode(...members.map((member) => member[range] ?? 0));
    let known = classOf.get(signature);
    if (known === undefined) {
      known = classOf.size;
      classOf.set(signature, known);
      firstRange.push(range);
    }
    return known;
  });
  const holds = members.map((member) => Uint8Array.from(firstRange, (range) => member[range] ?? 0));
  const ascii = new Uint16Array(128);
  for (let point = 0, range = 0; point < 128; point++) {
    while ((starts[range + 1] ?? Infinity) <= point) range++;
    ascii[point] = classOfRange[range] ?? 0;
  }
  const isWord = holds.at(-1) ?? new Uint8Array();
  return { classes: firstRange.length, ascii, starts, classOfRange, isWord, holds };
}

/** For each range, whether a set contains it. Every edge of the set is an edge of a range. */
function rangesIn(set: CodePoints, starts: Uint32Array): Uint8Array {
  const holds = new Uint8Array(starts.length);
  let range = 0;
  for (const [low, high] of set) {
    while ((starts[range] ?? Infinity) < low) range++;
    while ((starts[range] ?? Infinity) <= high) holds[range++] = 1;
  }
  return holds;
}

/**
 * Runs a program over UTF-8 text by following all alternatives at once. Each character is read once and costs no more
 * than the length of the program, so no pattern and no text can take exponential time. Visited states are cached, which
 * makes most characters one lookup.
 */
import { byteAt } from "./bson-value.ts";
import { type Alphabet, alphabetOf, OP, type RegexProgram } from "./regex-program.ts";

interface State {
  /** Where the program continues, in ascending order. Splits and assertions are not followed yet. */
  readonly positions: Int32Array;
  readonly isStart: boolean;
  /** Whether the previous character belongs to a word. */
  readonly isAfterWord: boolean;
  /** By symbol; `undefined` if not computed yet. */
  readonly next: (State | undefined)[];
}

/** Each of these ends the search. */
const MATCHED: State = { positions: new Int32Array(), isStart: false, isAfterWord: false, next: [] };
const FAILED: State = { positions: new Int32Array(), isStart: false, isAfterWord: false, next: [] };

/**
 * Limits the memory of one expression: the positions and next states that are cached. When the limit is reached, all
 * are dropped.
 */
const CELLS_MAX = 131_072;
/**
 * A text that creates this many states creates a new one for most characters, so caching would cost more than it saves.
 */
const STATES_PER_TEXT = 4_096;
const ROUNDS_MAX = 2 ** 32 - 1;

const NEWLINE = 0x0a;

/** Runs a regular expression over a text in time linear in the text, and caches the states that it has created. */
export class RegexAutomaton {
  readonly #program: RegexProgram;
  readonly #alphabet: Alphabet;
  /** Symbols are the classes of the alphabet, followed by these two. */
  readonly #finalNewline: number;
  readonly #end: number;
  readonly #newlineClass: number;
  readonly #start: State;
  /** Whether a match may begin elsewhere than at the start. */
  readonly #isFloating: boolean;
  readonly #looksAtWords: boolean;
  #states = new Map<string, State>();
  #cells = 0;
  /** The number of states created for the current text. */
  #made = 0;
  /** The round in which an instruction was last visited. */
  readonly #visited: Uint32Array;
  #round = 0;
  /** Memory for instructions still to be followed, and for those that were found. */
  readonly #waiting: Int32Array;
  readonly #reached: Int32Array;

  constructor(program: RegexProgram) {
    this.#program = program;
    this.#alphabet = alphabetOf(program);
    this.#finalNewline = this.#alphabet.classes;
    this.#end = this.#alphabet.classes + 1;
    this.#newlineClass = this.#alphabet.ascii[NEWLINE] ?? 0;
    this.#visited = new Uint32Array(program.ops.length);
    this.#waiting = new Int32Array(2 * program.ops.length + 1);
    this.#reached = new Int32Array(program.ops.length);
    this.#looksAtWords = program.ops.includes(OP.boundary);
    this.#isFloating = this.#mayBeginLater();
    this.#start = this.#makeState(Int32Array.of(0), true, false);
  }

  /**
   * Whether the text from `start` to `end` contains a match. For bytes that are not valid UTF-8 the result is
   * undefined.
   */
  test(bytes: Uint8Array, start: number, end: number): boolean {
    const { ascii } = this.#alphabet;
    let current = this.#start;
    this.#made = 0;
    for (let at = start; at < end; ) {
      const lead = byteAt(bytes, at);
      let symbol: number;
      if (lead < 0x80) {
        at++;
        symbol = lead === NEWLINE && at === end ? this.#finalNewline : (ascii[lead] ?? 0);
      } else {
        symbol = this.#classOf(codePointAt(bytes, at, lead));
        at += lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
      }
      current = current.next[symbol] ?? this.#step(current, symbol);
      if (current === FAILED) return false;
      if (current === MATCHED) return true;
    }
    return (current.next[this.#end] ?? this.#step(current, this.#end)) === MATCHED;
  }

  #classOf(point: number): number {
    const { starts, classOfRange } = this.#alphabet;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((starts[middle] ?? 0) <= point) low = middle;
      else high = middle - 1;
    }
    return classOfRange[low] ?? 0;
  }

  #step(from: State, symbol: number): State {
    const to = this.#follow(from, symbol);
    // A state that is not cached must not be linked either: a long text would leave a chain as long as itself.
    if (this.#made <= STATES_PER_TEXT) from.next[symbol] = to;
    return to;
  }

  #follow(from: State, symbol: number): State {
    const isNewline = symbol === this.#finalNewline;
    const consumed = isNewline ? this.#newlineClass : symbol;
    const isWord = symbol !== this.#end && this.#alphabet.isWord[consumed] === 1;
    const count = this.#reach(from.positions, {
      isStart: from.isStart,
      isEnd: symbol === this.#end || isNewline,
      isBoundary: from.isAfterWord !== isWord,
    });
    if (count < 0) return MATCHED;
    if (symbol === this.#end) return FAILED;
    const positions = this.#consume(count, consumed);
    return positions.length === 0 ? FAILED : this.#stateOf(positions, this.#looksAtWords && isWord);
  }

  /** The positions after those that were reached and accept this character. */
  #consume(count: number, consumed: number): Int32Array {
    const { first } = this.#program;
    const { holds } = this.#alphabet;
    const positions = this.#waiting;
    let size = 0;
    if (this.#isFloating) positions[size++] = 0;
    for (let i = 0; i < count; i++) {
      const position = this.#reached[i] ?? 0;
      if (holds[first[position] ?? 0]?.[consumed] === 1) positions[size++] = position + 1;
    }
    return positions.slice(0, size);
  }

  #stateOf(positions: Int32Array, isAfterWord: boolean): State {
    if (this.#made > STATES_PER_TEXT) return { positions, isStart: false, isAfterWord, next: [] };
    positions.sort();
    const key = (isAfterWord ? "w" : "-") + String.fromCharCode(...positions);
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    this.#made++;
    this.#cells += positions.length + this.#end + 1;
    if (this.#cells > CELLS_MAX) {
      this.#states = new Map();
      this.#cells = 0;
      this.#start.next.fill(undefined);
    }
    const made = this.#makeState(positions, false, isAfterWord);
    this.#states.set(key, made);
    return made;
  }

  #makeState(positions: Int32Array, isStart: boolean, isAfterWord: boolean): State {
    return { positions, isStart, isAfterWord, next: new Array<undefined>(this.#end + 1).fill(undefined) };
  }

  /**
   * Follows splits and assertions from these positions, up to the instructions that consume a character.
   * @returns How many of those were reached; -1 if the end of the program was reached.
   */
  #reach(positions: Int32Array, context: Context): number {
    const { ops, first, second } = this.#program;
    const round = this.#nextRound();
    const waiting = this.#waiting;
    let found = 0;
    for (const from of positions) {
      let left = 1;
      waiting[0] = from;
      while (left > 0) {
        const position = waiting[--left] ?? 0;
        if (this.#visited[position] === round) continue;
        this.#visited[position] = round;
        const op = ops[position];
        if (op === OP.characters) this.#reached[found++] = position;
        else if (op === OP.match) return -1;
        else if (op === OP.split) {
          waiting[left++] = first[position] ?? 0;
          waiting[left++] = second[position] ?? 0;
        } else if (op === OP.jump) waiting[left++] = first[position] ?? 0;
        else if (holds(op, context)) waiting[left++] = position + 1;
      }
    }
    return found;
  }

  #nextRound(): number {
    if (this.#round === ROUNDS_MAX) {
      this.#round = 0;
      this.#visited.fill(0);
    }
    return ++this.#round;
  }

  #mayBeginLater(): boolean {
    return this.#reach(Int32Array.of(0), { isStart: false, isEnd: true, isBoundary: true }) !== 0;
  }
}

/** The known facts about the point between two characters. */
interface Context {
  readonly isStart: boolean;
  readonly isEnd: boolean;
  readonly isBoundary: boolean;
}

function holds(assertion: number | undefined, { isStart, isEnd, isBoundary }: Context): boolean {
  return assertion === OP.start ? isStart : assertion === OP.end ? isEnd : isBoundary;
}

/** Reads a code point of more than one byte. */
function codePointAt(bytes: Uint8Array, at: number, lead: number): number {
  const second = byteAt(bytes, at + 1) & 0x3f;
  if (lead < 0xe0) return ((lead & 0x1f) << 6) | second;
  const third = byteAt(bytes, at + 2) & 0x3f;
  if (lead < 0xf0) return ((lead & 0x0f) << 12) | (second << 6) | third;
  return ((lead & 0x07) << 18) | (second << 12) | (third << 6) | (byteAt(bytes, at + 3) & 0x3f);
}

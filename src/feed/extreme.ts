/**
 * The minimum or maximum of a group. A single value would not do, because the document that has it may leave; all
 * values would need memory for each document. So a few are kept, and the database is asked if all of them have left.
 */
import { BSON_TYPE, type BsonValue } from "../match/bson-value.ts";
import { compareValues } from "../match/compare.ts";

/** How many different values are kept. */
const SPARE_VALUES = 32;
/** How much memory the values after the first one may take, in bytes. */
const SPARE_BYTES = 4_096;

/** A value, and the number of documents that are known to have it. */
interface Held {
  readonly value: BsonValue;
  documents: number;
  /** Whether some of them spell the value in another way, such as 1.0 and 1.00 as decimals. */
  isMixed: boolean;
}

/** Memory of a value besides its bytes, in bytes; rounded up. */
const HELD_BYTES = 160;

/**
 * Compares values in the server's order. Equal numbers are ordered by the names of their types, so that every node
 * shows the same one.
 */
export function compareExactly(a: BsonValue, b: BsonValue): number {
  return (
    compareValues(a, b) || (nameOf(a.type) < nameOf(b.type) ? -1 : nameOf(a.type) > nameOf(b.type) ? 1 : 0)
  );
}

const nameOf = (type: number): string => TYPE_NAMES.get(type) ?? "";

/** Only numbers, and strings and symbols, may be equal with different types. */
const TYPE_NAMES = new Map<number, string>([
  [BSON_TYPE.decimal, "decimal"],
  [BSON_TYPE.double, "double"],
  [BSON_TYPE.int, "int"],
  [BSON_TYPE.long, "long"],
  [BSON_TYPE.string, "string"],
  [BSON_TYPE.symbol, "symbol"],
]);

/** Whether `$min` and `$max` count a value. They ignore null and missing fields. */
export const isCounted = ({ type }: BsonValue): boolean =>
  type !== BSON_TYPE.missing && type !== BSON_TYPE.null && type !== BSON_TYPE.undefined;

/**
 * The smallest or the greatest value of a group, and a limited number of values that follow it. Values after the last
 * kept one are not known. If all known values have left, the database must be asked.
 */
export class Extreme {
  /** 1 for the smallest value, -1 for the greatest. */
  readonly #sign: 1 | -1;
  #held: Held[] = [];
  /** Whether all values are kept, so that none follows the last one. */
  #isComplete = true;
  #bytes = 0;

  constructor(sign: 1 | -1) {
    this.#sign = sign;
  }

  /** The first value; `null` if no document has one. Wrong while `isExhausted`. */
  get first(): BsonValue | null {
    return this.#held[0]?.value ?? null;
  }

  /** Whether the first value is unknown. */
  get isExhausted(): boolean {
    return this.#held.length === 0 && !this.#isComplete;
  }

  get heldBytes(): number {
    return this.#bytes + this.#held.length * HELD_BYTES;
  }

  /** @param values The first values in order, one for each document. @param isComplete Whether these are all. */
  load(values: readonly BsonValue[], isComplete: boolean): void {
    this.#held = [];
    this.#bytes = 0;
    this.#isComplete = true;
    for (const value of values) this.add(value);
    if (!isComplete) this.#isComplete = false;
  }

  add(value: BsonValue): void {
    if (!isCounted(value)) return;
    const at = this.#find(value);
    const known = this.#held[at];
    if (known !== undefined && this.#order(known.value, value) === 0) {
      known.documents++;
      known.isMixed ||= !isSpelledAlike(known.value, value);
      return;
    }
    if (at === this.#held.length && !this.#isComplete) return;
    this.#held.splice(at, 0, { value: copyOf(value), documents: 1, isMixed: false });
    this.#bytes += sizeOf(value);
    this.#trim();
  }

  remove(value: BsonValue): void {
    if (!isCounted(value)) return;
    const at = this.#find(value);
    const known = this.#held[at];
    if (known === undefined || this.#order(known.value, value) !== 0) {
      // The value is not kept because it is after the last one. In any other case the state is wrong, so it is read
      // again.
      if (known !== undefined || this.#isComplete) this.#forget();
      return;
    }
    if (--known.documents > 0) {
      // Perhaps no document is left with the spelling that is shown.
      if (known.isMixed && isSpelledAlike(known.value, value)) this.#forget();
      return;
    }
    this.#held.splice(at, 1);
    this.#bytes -= sizeOf(value);
  }

  #forget(): void {
    this.#held = [];
    this.#bytes = 0;
    this.#isComplete = false;
  }

  #trim(): void {
    while (this.#held.length > SPARE_VALUES || (this.#held.length > 1 && this.#bytes > SPARE_BYTES)) {
      const last = this.#held.pop();
      this.#bytes -= last === undefined ? 0 : sizeOf(last.value);
      this.#isComplete = false;
    }
  }

  /** The index of the first kept value that is not before this one. */
  #find(value: BsonValue): number {
    let low = 0;
    let high = this.#held.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const held = this.#held[middle];
      if (held !== undefined && this.#order(held.value, value) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #order(a: BsonValue, b: BsonValue): number {
    return this.#sign * compareExactly(a, b);
  }
}

/** How many documents are read after all values have left. */
export const SPARE_DOCUMENTS = SPARE_VALUES;

const isSpelledAlike = (a: BsonValue, b: BsonValue): boolean =>
  Buffer.compare(a.bytes.subarray(a.start, a.end), b.bytes.subarray(b.start, b.end)) === 0;

const sizeOf = ({ start, end }: BsonValue): number => end - start;

function copyOf({ type, bytes, start, end }: BsonValue): BsonValue {
  const copy = new Uint8Array(bytes.subarray(start, end));
  return { type, bytes: copy, start: 0, end: copy.length };
}

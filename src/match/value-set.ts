import { BSON_TYPE, type BsonValue } from "./bson-value.ts";
import { compareSameClass, compareValues, typeClass } from "./compare.ts";
import { binaryDouble, equalDouble, numberKey } from "./numbers.ts";
import { rememberedIfLong } from "./remembered.ts";

const NUMBERS = typeClass(BSON_TYPE.int);

/**
 * A set of values under the server's `$eq`, for operators with lists. The time of a lookup hardly depends on the number
 * of values: numbers are hashed by their mathematical value, and all others are found by binary search, which was as
 * fast as hashing for a thousand values and allocates nothing.
 */
export class ValueSet {
  /** The set of a list. Filters with the same long list share one, because a set never changes. */
  static readonly of: (values: readonly BsonValue[]) => ValueSet = rememberedIfLong(
    (values) => new ValueSet(values),
  );

  /** The number of different values. Each has a number below this. */
  readonly size: number;
  /** By mathematical value. Numbers that equal a double are also found by that double, which needs no key. */
  readonly #numbers = new Map<string, number>();
  readonly #doubles = new Map<number, number>();
  readonly #sorted: readonly BsonValue[];
  /** The number of the value that null, undefined and a missing field equal, or -1. */
  readonly #null: number;

  constructor(values: readonly BsonValue[]) {
    const others: BsonValue[] = [];
    for (const value of values) {
      if (typeClass(value.type) !== NUMBERS) others.push(value);
      else {
        this.#addNumber(value);
      }
    }
    const sorted = others.sort(compareValues);
    this.#sorted = sorted.filter((value, i) => {
      const before = sorted[i - 1];
      return before === undefined || compareValues(before, value) !== 0;
    });
    const found = this.#sorted.findIndex(({ type }) => type === BSON_TYPE.null);
    this.#null = found < 0 ? -1 : this.#numbers.size + found;
    this.size = this.#numbers.size + this.#sorted.length;
  }

  #addNumber({ type, bytes, start }: BsonValue): void {
    const key = numberKey(type, bytes, start);
    if (this.#numbers.has(key)) return;
    const double = equalDouble(type, bytes, start);
    if (double !== undefined) this.#doubles.set(double, this.#numbers.size);
    this.#numbers.set(key, this.#numbers.size);
  }

  /** The number of the value that equals this one, or -1. */
  find(type: number, bytes: Uint8Array, at: number): number {
    // Servers up to 7.0; 8.0 distinguishes undefined.
    if (type === BSON_TYPE.missing || type === BSON_TYPE.undefined || type === BSON_TYPE.null)
      return this.#null;
    const kind = typeClass(type);
    return kind === NUMBERS ? this.#findNumber(type, bytes, at) : this.#search(kind, type, bytes, at);
  }

  #findNumber(type: number, bytes: Uint8Array, at: number): number {
    if (this.#numbers.size === 0) return -1;
    const double = binaryDouble(type, bytes, at);
    const found =
      double === undefined ? this.#numbers.get(numberKey(type, bytes, at)) : this.#doubles.get(double);
    return found ?? -1;
  }

  #search(kind: number, type: number, bytes: Uint8Array, at: number): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const candidate = this.#sorted[middle];
      if (candidate === undefined) return -1;
      const order =
        kind - typeClass(candidate.type) ||
        compareSameClass(type, bytes, at, candidate.type, candidate.bytes, candidate.start);
      if (order === 0) return this.#numbers.size + middle;
      if (order < 0) high = middle;
      else low = middle + 1;
    }
    return -1;
  }
}

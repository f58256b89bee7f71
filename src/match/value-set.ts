import { BSON_TYPE, type BsonValue } from "./bson-value.ts";
import { compareSameClass, compareValues, typeClass } from "./compare.ts";
import { mathematicalKey } from "./numbers.ts";

const NUMBERS = typeClass(BSON_TYPE.int);

/**
 * Values by the server's `$eq`, as operators list them. Looking a value up takes time that hardly depends on how many
 * there are: numbers are hashed by their mathematical value, all others found by binary search, which was as fast as
 * hashing for a thousand of them and allocates nothing.
 */
export class ValueSet {
  /** How many different values there are; each has a number below this. */
  readonly size: number;
  readonly #numbers = new Map<number | string, number>();
  readonly #sorted: readonly BsonValue[];
  /** The number of the value that null, undefined and a missing field equal, or -1. */
  readonly #null: number;

  constructor(values: readonly BsonValue[]) {
    const others: BsonValue[] = [];
    for (const value of values) {
      if (typeClass(value.type) !== NUMBERS) others.push(value);
      else {
        const key = mathematicalKey(value.type, value.bytes, value.start);
        if (!this.#numbers.has(key)) this.#numbers.set(key, this.#numbers.size);
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

  /** The number of the value that equals this one, or -1. */
  find(type: number, bytes: Uint8Array, at: number): number {
    // The server's up to 7.0; 8.0 sets undefined apart.
    if (type === BSON_TYPE.missing || type === BSON_TYPE.undefined || type === BSON_TYPE.null)
      return this.#null;
    const kind = typeClass(type);
    if (kind === NUMBERS) {
      return this.#numbers.size === 0 ? -1 : (this.#numbers.get(mathematicalKey(type, bytes, at)) ?? -1);
    }
    return this.#search(kind, type, bytes, at);
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

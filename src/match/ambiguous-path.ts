/**
 * Walks a path in which several parts may be array indexes. Such a path may reach one element in many ways: `a.0.0` may
 * read an object inside an array as element 0 or as an object with the key `0`. Following the ways one after the other
 * would take time exponential in the depth. So each element is visited once, together with all parts that may come
 * next.
 */
import { afterCString, BSON_TYPE, byteAt, valueEnd } from "./bson-value.ts";
import { findField, isNamed, someElement, type ValueTest } from "./elements.ts";

/** One part of a dotted path. */
export interface PathPart {
  readonly name: Uint8Array;
  /** Whether it may be an index of an array. */
  readonly isIndex: boolean;
}

/** Numbers of parts, in ascending order. */
type Parts = readonly number[];

/** A path that may reach one element in several ways. Each element is visited once. */
export class AmbiguousPath {
  readonly #parts: readonly PathPart[];
  /** For each part, the first one with the same name. */
  readonly #sameName: readonly number[];
  readonly #expandsLeaf: boolean;

  constructor(parts: readonly PathPart[], expandsLeaf: boolean) {
    this.#parts = parts;
    this.#sameName = parts.map(({ name }) =>
      parts.findIndex((other) => Buffer.compare(other.name, name) === 0),
    );
    this.#expandsLeaf = expandsLeaf;
  }

  /** Whether a path needs this walk. With at most one index, only one way leads to each element. */
  static is(parts: readonly PathPart[]): boolean {
    return parts.filter(({ isIndex }) => isIndex).length > 1;
  }

  walk(bytes: Uint8Array, at: number, test: ValueTest): boolean {
    return this.#walkObject([0], bytes, at, test);
  }

  /** @param next The parts that may name a field of this object. */
  #walkObject(next: Parts, bytes: Uint8Array, at: number, test: ValueTest): boolean {
    let rest = next;
    while (rest.length > 0) {
      const name = this.#sameName[rest[0] ?? 0];
      const same = rest.filter((part) => this.#sameName[part] === name);
      rest = rest.filter((part) => this.#sameName[part] !== name);
      if (this.#walkField(same, bytes, at, test)) return true;
    }
    return false;
  }

  /** @param same Parts with the same name. */
  #walkField(same: Parts, bytes: Uint8Array, at: number, test: ValueTest): boolean {
    const name = this.#parts[same[0] ?? 0]?.name ?? new Uint8Array();
    const found = findField(bytes, at, name);
    if (found < 0) return test(BSON_TYPE.missing, bytes, 0);
    const type = byteAt(bytes, found);
    const value = found + name.length + 2;
    const last = this.#parts.length - 1;
    if (same.at(-1) === last && this.#testLeaf(type, bytes, value, test)) return true;
    const deeper = same.filter((part) => part < last).map((part) => part + 1);
    if (deeper.length === 0) return false;
    if (type === BSON_TYPE.array) return this.#walkArray(deeper, bytes, value, test);
    if (type === BSON_TYPE.object) return this.#walkObject(deeper, bytes, value, test);
    return test(BSON_TYPE.missing, bytes, 0);
  }

  /** @param next The parts that may be an index of this array, or name a field of an object in it. */
  #walkArray(next: Parts, bytes: Uint8Array, at: number, test: ValueTest): boolean {
    let offset = at + 4;
    for (let type = byteAt(bytes, offset); type !== 0; type = byteAt(bytes, offset)) {
      const value = afterCString(bytes, offset + 1);
      const indexed = next.filter((part) => this.#isElement(part, bytes, offset + 1));
      if (this.#walkElement(next, indexed, type, bytes, value, test)) return true;
      offset = valueEnd(type, bytes, value);
    }
    return false;
  }

  /** @param indexed Those of the parts that are the index of this element. */
  #walkElement(
    next: Parts,
    indexed: Parts,
    type: number,
    bytes: Uint8Array,
    at: number,
    test: ValueTest,
  ): boolean {
    const last = this.#parts.length - 1;
    // An array that the last part names by index is tested as a whole.
    if (indexed.at(-1) === last && test(type, bytes, at)) return true;
    const behind = indexed.filter((part) => part < last).map((part) => part + 1);
    if (type === BSON_TYPE.array) return behind.length > 0 && this.#walkArray(behind, bytes, at, test);
    if (type !== BSON_TYPE.object) return false;
    return this.#walkObject(behind.length === 0 ? next : merged(next, behind), bytes, at, test);
  }

  #isElement(part: number, bytes: Uint8Array, nameAt: number): boolean {
    const { isIndex, name } = this.#parts[part] ?? { isIndex: false, name: new Uint8Array() };
    return isIndex && isNamed(bytes, nameAt, name);
  }

  #testLeaf(type: number, bytes: Uint8Array, at: number, test: ValueTest): boolean {
    return (
      (this.#expandsLeaf && type === BSON_TYPE.array && someElement(bytes, at, test)) || test(type, bytes, at)
    );
  }
}

function merged(a: Parts, b: Parts): Parts {
  return [...new Set([...a, ...b])].sort((one, other) => one - other);
}

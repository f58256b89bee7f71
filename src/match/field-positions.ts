import { byteAt, valueEnd } from "./bson-value.ts";
import { isNamed } from "./elements.ts";

const SLOTS = 256;

/**
 * Finds the fields of an object that have one of some fixed names, in one pass over the object, so that the cost does
 * not depend on the number of names. It holds the positions of one object at a time, and allocates nothing per object.
 */
export class FieldPositions {
  readonly #names: readonly Uint8Array[];
  /** By the hash of a name: the numbers of the names with that hash. */
  readonly #slots: readonly (readonly number[])[];
  readonly #positions: Int32Array;
  /** The names that the object has, by number. */
  readonly #found: Int32Array;
  #foundCount = 0;

  constructor(names: readonly Uint8Array[]) {
    this.#names = names;
    const slots: number[][] = Array.from({ length: SLOTS }, () => []);
    for (const [i, name] of names.entries()) slots[hashOf(name)]?.push(i);
    this.#slots = slots;
    this.#positions = new Int32Array(names.length).fill(-1);
    this.#found = new Int32Array(names.length);
  }

  /** The offset of the field with name number `i` (its type byte) in the last scanned object, or -1. */
  at(i: number): number {
    return this.#positions[i] ?? -1;
  }

  clear(): void {
    for (let i = 0; i < this.#foundCount; i++) this.#positions[this.#found[i] ?? 0] = -1;
    this.#foundCount = 0;
  }

  /**
   * Scans an object. If several fields have the same name, the first one counts.
   * @returns Whether the object has any of the names.
   */
  scan(bytes: Uint8Array, at: number): boolean {
    this.clear();
    let offset = at + 4;
    for (let type = byteAt(bytes, offset); type !== 0; type = byteAt(bytes, offset)) {
      let hash = 0;
      let end = offset + 1;
      for (let byte = byteAt(bytes, end); byte !== 0; byte = byteAt(bytes, ++end)) {
        hash = (Math.imul(hash, 31) + byte) | 0;
      }
      this.#note(this.#slots[hash & (SLOTS - 1)] ?? [], bytes, offset);
      if (this.#foundCount === this.#names.length) break;
      offset = valueEnd(type, bytes, end + 1);
    }
    return this.#foundCount > 0;
  }

  #note(candidates: readonly number[], bytes: Uint8Array, offset: number): void {
    for (const i of candidates) {
      const name = this.#names[i];
      if (name === undefined || !isNamed(bytes, offset + 1, name)) continue;
      if (this.at(i) >= 0) return;
      this.#positions[i] = offset;
      this.#found[this.#foundCount++] = i;
      return;
    }
  }
}

function hashOf(name: Uint8Array): number {
  let hash = 0;
  for (const byte of name) hash = (Math.imul(hash, 31) + byte) | 0;
  return hash & (SLOTS - 1);
}

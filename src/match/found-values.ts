import { BSON_TYPE } from "./bson-value.ts";

/**
 * Values in one document, by type and offset. The memory is reused for one path after the other, because a path into a
 * large array may find a million values.
 */
export class FoundValues {
  #types = new Uint8Array(1_024);
  #starts = new Uint32Array(1_024);
  #size = 0;
  #lacks = false;

  get size(): number {
    return this.#size;
  }

  typeAt(i: number): number {
    return this.#types[i] ?? BSON_TYPE.missing;
  }

  startAt(i: number): number {
    return this.#starts[i] ?? 0;
  }

  clear(): void {
    this.#size = 0;
    this.#lacks = false;
  }

  /**
   * Adds a value. A field that is missing in several places counts once, because no test can distinguish the places.
   */
  add(type: number, start: number): void {
    if (type === BSON_TYPE.missing) {
      if (this.#lacks) return;
      this.#lacks = true;
    }
    if (this.#size === this.#types.length) this.#grow();
    this.#types[this.#size] = type;
    this.#starts[this.#size] = start;
    this.#size++;
  }

  #grow(): void {
    const [types, starts] = [this.#types, this.#starts];
    this.#types = new Uint8Array(2 * types.length);
    this.#starts = new Uint32Array(2 * starts.length);
    this.#types.set(types);
    this.#starts.set(starts);
  }
}

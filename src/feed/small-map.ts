/**
 * A map for the many places that hold one entry and may hold more. An empty `Map` takes 184 bytes, and an idle
 * connection would have four of them.
 */

/** Like `Map`, with 48 bytes for one entry. A second entry makes it a `Map`. */
export class SmallMap<K, V> {
  /** The only entry; `undefined` if there is none, or `#all` has it. */
  #key: K | undefined;
  #value: V | undefined;
  #all: Map<K, V> | null = null;

  get size(): number {
    if (this.#all !== null) return this.#all.size;
    return this.#key === undefined ? 0 : 1;
  }

  has(key: K): boolean {
    return this.#all === null ? this.#key !== undefined && this.#key === key : this.#all.has(key);
  }

  get(key: K): V | undefined {
    if (this.#all !== null) return this.#all.get(key);
    return this.#key === key ? this.#value : undefined;
  }

  set(key: K, value: V): void {
    if (this.#all !== null) {
      this.#all.set(key, value);
    } else if (this.#key === undefined || this.#key === key) {
      this.#key = key;
      this.#value = value;
    } else {
      // The values are set together with their key.
      this.#all = new Map([
        [this.#key, this.#value as V],
        [key, value],
      ]);
      this.#key = undefined;
      this.#value = undefined;
    }
  }

  delete(key: K): boolean {
    if (this.#all !== null) return this.#all.delete(key);
    if (!this.has(key)) return false;
    this.#key = undefined;
    this.#value = undefined;
    return true;
  }

  clear(): void {
    this.#all = null;
    this.#key = undefined;
    this.#value = undefined;
  }

  /** The keys at this moment, in the order in which they were added. */
  keys(): readonly K[] {
    if (this.#all !== null) return [...this.#all.keys()];
    return this.#key === undefined ? [] : [this.#key];
  }

  /** The values at this moment, in the same order. */
  values(): readonly V[] {
    if (this.#all !== null) return [...this.#all.values()];
    return this.#key === undefined ? [] : [this.#value as V];
  }
}

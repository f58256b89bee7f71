/**
 * A set for the many places that hold one element and may hold more. An empty `Set` takes 152 bytes, and a live query
 * with a subscriber would have three of them.
 */

const NOTHING: readonly never[] = [];

/** Like `Set`, with 40 bytes for one element. A second element makes it a `Set`. */
export class SmallSet<T extends object | string> {
  /** The only element; `undefined` if there is none, or `#all` has it. */
  #only: T | undefined;
  #all: Set<T> | null = null;

  get size(): number {
    if (this.#all !== null) return this.#all.size;
    return this.#only === undefined ? 0 : 1;
  }

  has(element: T): boolean {
    return this.#all === null ? this.#only === element : this.#all.has(element);
  }

  add(element: T): void {
    if (this.#all !== null) this.#all.add(element);
    else if (this.#only === undefined || this.#only === element) this.#only = element;
    else {
      this.#all = new Set([this.#only, element]);
      this.#only = undefined;
    }
  }

  delete(element: T): boolean {
    if (this.#all !== null) return this.#all.delete(element);
    if (this.#only !== element) return false;
    this.#only = undefined;
    return true;
  }

  /** In the order in which the elements were added. During the iteration elements may be deleted, but none added. */
  [Symbol.iterator](): Iterator<T> {
    if (this.#all !== null) return this.#all.values();
    return (this.#only === undefined ? NOTHING : [this.#only])[Symbol.iterator]();
  }
}

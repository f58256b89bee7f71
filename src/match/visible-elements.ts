import { afterCString, BSON_TYPE, byteAt, valueEnd } from "./bson-value.ts";
import { fieldNameAt } from "./field-name.ts";
import type { Projection } from "./projection-fields.ts";

/** The visible part of a value: all of it, or the result of the projection. */
export type Shown = Projection | true;

/**
 * Iterates over the visible elements of one document or array. The object is its own cursor, because an object per
 * element would dominate the cost: `next` moves it, and the fields describe the current element.
 */
export class VisibleElements {
  readonly bytes: Uint8Array;
  type = 0;
  nameStart = 0;
  /** The offsets of the value. `end` is exclusive. */
  start = 0;
  end: number;
  /** May be a part for an object or array, and is `true` for any other value. */
  shown: Shown = true;
  /** Only `advance` stops at elements that are not visible. */
  isVisible = true;
  readonly #projection: Shown;
  readonly #isArray: boolean;

  constructor(projection: Shown, bytes: Uint8Array, at: number, isArray: boolean) {
    this.bytes = bytes;
    this.end = at + 4;
    // If everything is visible, no name has to be read.
    const isWhole = projection === true || (projection.keepsRest && projection.fields.size === 0);
    this.#projection = isWhole ? true : projection;
    this.#isArray = isArray;
  }

  /** Moves to the next visible element. */
  next(): boolean {
    while (this.advance()) if (this.isVisible) return true;
    return false;
  }

  /** Moves to the next element, visible or not. `next` would skip any number of invisible ones in a single step. */
  advance(): boolean {
    const { bytes } = this;
    const at = this.end;
    const type = byteAt(bytes, at);
    if (type === 0) return false;
    this.type = type;
    this.nameStart = at + 1;
    this.start = afterCString(bytes, at + 1);
    this.end = valueEnd(type, bytes, this.start);
    if (this.#projection === true) return true;
    const shown = this.#show(this.#projection);
    this.isVisible = shown !== false;
    if (shown !== false) this.shown = shown;
    return true;
  }

  /** A cursor at the same element. */
  clone(): VisibleElements {
    const copy = new VisibleElements(this.#projection, this.bytes, 0, this.#isArray);
    copy.type = this.type;
    copy.nameStart = this.nameStart;
    copy.start = this.start;
    copy.end = this.end;
    copy.shown = this.shown;
    return copy;
  }

  /** Size of the element including its name, in bytes. */
  get size(): number {
    return this.end - this.nameStart;
  }

  get name(): string {
    return fieldNameAt(this.bytes, this.nameStart, this.start - 1);
  }

  /** A projection continues into objects and arrays. Any other value belongs to "the rest". */
  #show(projection: Projection): Shown | false {
    const field = this.#isArray ? projection : (projection.fields.get(this.name) ?? projection.keepsRest);
    if (typeof field === "boolean") return field;
    return this.type === BSON_TYPE.object || this.type === BSON_TYPE.array ? field : field.keepsRest;
  }
}

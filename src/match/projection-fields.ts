/**
 * A projection and its listed fields, level by level. Nodes keep thousands of levels, most of which have one field, so
 * the form with the least memory is used.
 */

/**
 * The visible part of a document or sub-document, and of each one in an array. A scalar in place of a sub-document
 * belongs to the rest: an inclusion of `a.b` drops an `a` that is 5, and an exclusion keeps it.
 */
export interface Projection {
  /** Whether fields that are not listed are visible. */
  readonly keepsRest: boolean;
  readonly fields: ListedFields;
}

/** The visible part of a listed field: all of it, nothing, or parts. */
export type FieldShown = Projection | boolean;

/** Listed fields by name. A `Map` is one. A level with one field needs a sixth of a map's memory. */
export interface ListedFields extends Iterable<readonly [name: string, shown: FieldShown]> {
  readonly size: number;
  get(name: string): FieldShown | undefined;
}

/** Keeps the entries of a map in the least memory. */
export function listedFields(entries: ReadonlyMap<string, FieldShown>): ListedFields {
  if (entries.size > 1) return entries;
  for (const [name, shown] of entries) return new OneField(name, shown);
  return NONE;
}

class OneField implements ListedFields {
  readonly size = 1;
  readonly #name: string;
  readonly #shown: FieldShown;

  constructor(name: string, shown: FieldShown) {
    this.#name = name;
    this.#shown = shown;
  }

  get(name: string): FieldShown | undefined {
    return name === this.#name ? this.#shown : undefined;
  }

  *[Symbol.iterator](): Iterator<readonly [string, FieldShown]> {
    yield [this.#name, this.#shown];
  }
}

const NONE: ListedFields = new Map<string, FieldShown>();

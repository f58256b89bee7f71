// The documents of a result in memory. A page may follow results of many thousand documents, so a change must not copy
// or search all of them.
/** A document in the form in which it was received. */
export type Doc = Readonly<Record<string, unknown>>;

/** The key of an `_id` of any type: its JSON, in which `1` and `"1"` differ. */
export const keyOf = (id: unknown): string =>
  typeof id === "bigint" ? `${id}n` : (JSON.stringify(id) ?? "");

/** A document between its neighbours. The set's own node is before the first and after the last. */
interface Place {
  doc: Doc | undefined;
  previous: Place;
  next: Place;
}

/**
 * The documents of a result, in order. A document is never modified, only replaced by another object. A change costs
 * the same for any number of documents: they form a linked list, and an array is made only when it is read.
 */
export class ResultSet {
  readonly #sorted: boolean;
  readonly #places = new Map<string, Place>();
  readonly #ends = newPlace();
  #list: readonly Doc[] | undefined;

  /** @param sorted Whether documents are inserted before others. Otherwise they stay in the order of arrival. */
  constructor(sorted: boolean, from?: ResultSet) {
    this.#sorted = sorted;
    for (const doc of from?.list ?? []) this.put(doc, null);
    this.#list = from?.list;
  }

  /** The same array until something changes. */
  get list(): readonly Doc[] {
    if (!this.#list) {
      const list: Doc[] = [];
      for (let at = this.#ends.next; at.doc; at = at.next) list.push(at.doc);
      this.#list = list;
    }
    return this.#list;
  }

  /** Whether it contains the same objects in the same order. */
  equals(other: ResultSet): boolean {
    const [mine, others] = [this.list, other.list];
    return mine.length === others.length && mine.every((doc, at) => doc === others[at]);
  }

  get(id: unknown): Doc | undefined {
    return this.#places.get(keyOf(id))?.doc;
  }

  /**
   * Inserts a document, or replaces the one with its `_id`.
   * @param before The `_id` of the document that follows it, `null` for the end; `undefined` keeps its position.
   */
  put(doc: Doc, before: unknown): void {
    const key = keyOf(doc["_id"]);
    const known = this.#places.get(key);
    const place = known ?? newPlace();
    place.doc = doc;
    this.#places.set(key, place);
    this.#list = undefined;
    if (known && (before === undefined || !this.#sorted)) return;
    // An unknown document counts as the end.
    const next = (this.#sorted && before !== null && this.#places.get(keyOf(before))) || this.#ends;
    if (next === place) return;
    link(place.previous, place.next);
    link(next.previous, place);
    link(place, next);
  }

  remove(id: unknown): Doc | undefined {
    const key = keyOf(id);
    const place = this.#places.get(key);
    if (!place) return undefined;
    this.#places.delete(key);
    this.#list = undefined;
    link(place.previous, place.next);
    return place.doc;
  }
}

/** A node that is its own neighbour. */
function newPlace(): Place {
  const place = {} as Place; // the next line completes it
  link(place, place);
  return place;
}

function link(previous: Place, next: Place): void {
  previous.next = next;
  next.previous = previous;
}

/** Applies a delta. Parts that it does not touch stay the same objects, down to the innermost. */
export function withDelta(
  doc: Doc,
  set: Readonly<Record<string, unknown>> = {},
  unset: readonly string[] = [],
): Doc {
  let result = doc;
  for (const path of unset) result = withPath(result, path.split("."));
  for (const [path, value] of Object.entries(set)) result = withPath(result, path.split("."), { value });
  return result;
}

/**
 * Replaces the value at a path.
 * @param to The new value. If omitted, the field is removed.
 */
function withPath(doc: Doc, [head = "", ...rest]: readonly string[], to?: { readonly value: unknown }): Doc {
  if (rest.length === 0 && to === undefined) {
    const { [head]: _gone, ...others } = doc;
    return others;
  }
  const inner = doc[head];
  const value = rest.length === 0 ? to?.value : withPath(isDoc(inner) ? inner : {}, rest, to);
  // A computed key of an object literal defines the field, whatever its name. An assignment to `__proto__` would change
  // the prototype instead.
  return { ...doc, [head]: value };
}

const isDoc = (value: unknown): value is Doc =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A document as it came over the wire. */
export type Doc = Readonly<Record<string, unknown>>;

/** `_id`s of any type, by their JSON: `1` and `"1"` are two. */
export const keyOf = (id: unknown): string => JSON.stringify(id) ?? "";

/** The documents of a result, in order. A document is never altered, only replaced by another object. */
export class ResultSet {
  readonly #docs: Map<string, Doc>;
  /** The keys in sort order; without a sort, documents stand in the order in which they came. */
  readonly #order: string[] | undefined;
  #list: readonly Doc[] | undefined;

  constructor(sorted: boolean, from?: ResultSet) {
    this.#docs = new Map(from === undefined ? [] : from.#docs);
    const order = from === undefined ? undefined : from.#order;
    if (sorted) this.#order = [...(order ?? this.#docs.keys())];
    this.#list = from === undefined ? undefined : from.#list;
  }

  /** The same array until something changes. */
  get list(): readonly Doc[] {
    const docs = this.#docs;
    this.#list ??=
      this.#order === undefined ? [...docs.values()] : this.#order.map((key) => docs.get(key) as Doc); // the order holds the keys of the documents
    return this.#list;
  }

  /** Whether it holds the same objects in the same order. */
  equals(other: ResultSet): boolean {
    const [mine, others] = [this.list, other.list];
    return mine.length === others.length && mine.every((doc, at) => doc === others[at]);
  }

  get(id: unknown): Doc | undefined {
    return this.#docs.get(keyOf(id));
  }

  /**
   * Puts a document in, or in the place of the one with its `_id`.
   * @param before The `_id` that is to follow it, `null` for the end; `undefined` leaves it where it is.
   */
  put(doc: Doc, before: unknown): void {
    const key = keyOf(doc["_id"]);
    const isNew = !this.#docs.has(key);
    this.#docs.set(key, doc);
    this.#list = undefined;
    const order = this.#order;
    if (order === undefined || (before === undefined && !isNew)) return;
    if (!isNew) order.splice(order.indexOf(key), 1);
    // An unknown document counts as the end.
    const at = before === undefined || before === null ? -1 : order.indexOf(keyOf(before));
    order.splice(at < 0 ? order.length : at, 0, key);
  }

  remove(id: unknown): Doc | undefined {
    const key = keyOf(id);
    const doc = this.#docs.get(key);
    if (doc === undefined) return undefined;
    this.#docs.delete(key);
    this.#list = undefined;
    this.#order?.splice(this.#order.indexOf(key), 1);
    return doc;
  }
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

/** @param to What to write there; left out, the field is taken away. */
function withPath(doc: Doc, [head = "", ...rest]: readonly string[], to?: { readonly value: unknown }): Doc {
  if (rest.length === 0 && to === undefined) {
    const { [head]: _gone, ...others } = doc;
    return others;
  }
  const inner = doc[head];
  const value = rest.length === 0 ? to?.value : withPath(isDoc(inner) ? inner : {}, rest, to);
  // Computed keys of a literal define the field, whatever its name; an assignment to `__proto__` would not.
  return { ...doc, [head]: value };
}

const isDoc = (value: unknown): value is Doc =>
  typeof value === "object" && value !== null && !Array.isArray(value);

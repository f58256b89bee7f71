/**
 * The values by which the server sorts a document: those that an index on the sorted paths would hold for it
 * (`src/mongo/db/index/btree_key_generator.cpp`), and of these, where arrays make several, the first in the order.
 */
import type { SortSpec } from "../protocol/messages.ts";
import { afterCString, BSON_TYPE, type BsonValue, byteAt, elementsOf, valueEnd } from "./bson-value.ts";
import { compareValues } from "./compare.ts";
import { findField, isNamed } from "./elements.ts";
import { type Branch, branchOf, ended, extract, follow, isEnded, NULL, UNDEFINED } from "./sort-branch.ts";

const EMPTY = documentValue(Uint8Array.of(5, 0, 0, 0, 0));

/** A value of each sorted path. */
type Tuple = readonly BsonValue[];

/** Sorted paths that have come to one array, on their way or at their end; the others have their values. */
interface Arrival {
  readonly branches: readonly Branch[];
  /** Which of them have come to the array. */
  readonly isThrough: readonly boolean[];
  /** An array that was named by index is a value of its own; one that was found by name stands for its elements. */
  readonly isExpanded: boolean;
}

/** Arrivals at one array, each kind once. */
interface Arrivals {
  readonly array: BsonValue;
  readonly kinds: Map<string, Arrival>;
}

export function compileSortValues(spec: SortSpec): (document: Uint8Array) => Tuple {
  const branches = spec.map(([path]) => branchOf(path));
  const alone = spec.map((_, i) => ({ spec: spec.slice(i, i + 1), branches: branches.slice(i, i + 1) }));
  return (document) => {
    const root = documentValue(document);
    const together = new TupleSearch(spec).first(branches, root);
    // The server refuses to sort a document with arrays beside each other on two paths. It must stand somewhere:
    // each path is taken for itself.
    return together ?? alone.flatMap((one) => new TupleSearch(one.spec).first(one.branches, root) ?? [NULL]);
  };
}

function documentValue(bytes: Uint8Array): BsonValue {
  return { type: BSON_TYPE.object, bytes, start: 0, end: bytes.length };
}

/** The order of two tuples under a sort. */
export function compareTuples(a: Tuple, b: Tuple, spec: SortSpec): number {
  for (const [i, [, direction]] of spec.entries()) {
    const [left = NULL, right = NULL] = [a[i], b[i]];
    // A large array would otherwise be compared with itself for each element of the array that leads to it.
    if (left.bytes === right.bytes && left.start === right.start && left.type === right.type) continue;
    const order = compareValues(left, right);
    if (order !== 0) return order * direction;
  }
  return 0;
}

/**
 * Follows all paths of a sort through one document, and keeps the first of the tuples that they make. Each array is
 * visited once, with all arrivals at it: an index in a path may lead from every element of an array into the same
 * inner array, and from there again, which one after the other would take exponential time.
 */
class TupleSearch {
  readonly #spec: SortSpec;
  #first: Tuple | undefined;
  #isRefused = false;

  constructor(spec: SortSpec) {
    this.#spec = spec;
  }

  /** `undefined` where the paths lead through two different arrays. */
  first(branches: readonly Branch[], root: BsonValue): Tuple | undefined {
    const arrays = new Map<number, Arrivals>();
    this.#follow(branches, root, () => arrays);
    this.#visitArrays(arrays);
    return this.#isRefused ? undefined : this.#first;
  }

  #visitArrays(arrays: ReadonlyMap<number, Arrivals> | undefined): void {
    for (const arrivals of arrays?.values() ?? []) {
      if (this.#isRefused) return;
      this.#visitArray(arrivals);
    }
  }

  /**
   * Follows all paths from one object: to a tuple, or to the array that they have in common.
   * @param placeOf Where to note that array.
   */
  #follow(
    branches: readonly Branch[],
    object: BsonValue,
    placeOf: (array: BsonValue) => Map<number, Arrivals>,
  ): void {
    let array: BsonValue | undefined;
    let isExpanded = true;
    const isThrough: boolean[] = [];
    const followed = branches.map((branch, i): Branch => {
      isThrough[i] = false;
      if (isEnded(branch)) return branch;
      const { value, next, isNested } = follow(branch, object);
      if (value?.type !== BSON_TYPE.array) return ended(branch, value ?? NULL);
      if (array !== undefined && array.start !== value.start) this.#isRefused = true;
      array = value;
      isThrough[i] = true;
      if (isNested) isExpanded = false;
      return { path: branch.path, next, value };
    });
    if (this.#isRefused) return;
    if (array === undefined) this.#offer(followed.map(({ value }) => value));
    else this.#note(array, { branches: followed, isThrough, isExpanded }, placeOf(array));
  }

  #offer(tuple: Tuple): void {
    if (this.#first === undefined || compareTuples(tuple, this.#first, this.#spec) < 0) this.#first = tuple;
  }

  /**
   * Of arrivals that differ only in values found before the array, the first is kept: whatever the array adds to both,
   * the tuples of the first come first.
   */
  #note(array: BsonValue, arrival: Arrival, arrays: Map<number, Arrivals>): void {
    let arrivals = arrays.get(array.start);
    if (arrivals === undefined) {
      arrivals = { array, kinds: new Map() };
      arrays.set(array.start, arrivals);
    }
    const { branches, isThrough, isExpanded } = arrival;
    const key = `${isExpanded}${branches.map(({ next }, i) => (isThrough[i] ? next : "-")).join()}`;
    const known = arrivals.kinds.get(key);
    const valuesOf = (one: Arrival) =>
      one.branches.map(({ value }, i) => (one.isThrough[i] === true ? NULL : value));
    if (known === undefined || compareTuples(valuesOf(arrival), valuesOf(known), this.#spec) < 0) {
      arrivals.kinds.set(key, arrival);
    }
  }

  #visitArray({ array, kinds }: Arrivals): void {
    const all = [...kinds.values()];
    for (const arrival of all) if (arrival.branches.every(isEnded)) this.#offerElements(arrival, array);
    const arrivals = all
      .filter(({ branches }) => !branches.every(isEnded))
      .map((arrival) => withIndexes(arrival, array));
    if (arrivals.length === 0) return;
    const indexed = arrivals.flatMap(({ branches }) =>
      branches.flatMap((branch) => branch.indexed?.value ?? []),
    );
    // All other elements may lead into an element that an index names, so the arrays in it are visited last.
    const later = new Map<number, Arrivals>();
    const owners = ownersOf(arrivals);
    // To these an element matters even if it has no field on a path: they have come to their end at the array.
    const varying = arrivals.filter(takesElements);
    let isEmpty = true;
    let hasStranger = false;
    for (const element of elementsOf(array.bytes, array.start)) {
      isEmpty = false;
      const isOwner = element.type === BSON_TYPE.object && hasSomeField(element, owners);
      // All elements without a field on any of the paths lead to the same, so one of them is enough.
      const following = isOwner || !hasStranger ? arrivals : varying;
      if (!isOwner) hasStranger = true;
      if (following.length === 0) continue;
      const isLater = indexed.some((value) => isInside(value, element));
      let inside: Map<number, Arrivals> | undefined;
      const placeOf = (found: BsonValue) => {
        if (isLater || !isInside(found, element)) return later;
        inside ??= new Map();
        return inside;
      };
      const object = element.type === BSON_TYPE.object ? element : EMPTY;
      for (const arrival of following) {
        this.#follow(intoElement(arrival, array, element), object, placeOf);
        if (this.#isRefused) return;
      }
      this.#visitArrays(inside);
    }
    if (isEmpty) for (const arrival of arrivals) this.#follow(atEmptyArray(arrival), EMPTY, () => later);
    this.#visitArrays(later);
  }

  /** All paths have come to their end, some of them at the array. */
  #offerElements(arrival: Arrival, array: BsonValue): void {
    const { branches, isThrough, isExpanded } = arrival;
    const offer = (element: BsonValue) =>
      this.#offer(branches.map(({ value }, i) => (isThrough[i] === true ? element : value)));
    if (byteAt(array.bytes, array.start + 4) === 0) offer(UNDEFINED);
    else if (!isExpanded) offer(array);
    else for (const element of elementsOf(array.bytes, array.start)) offer(element);
  }
}

/** The names by which an element of the array may continue a path, each once. */
function ownersOf(arrivals: readonly Arrival[]): readonly Uint8Array[] {
  const names = new Map<string, Uint8Array>();
  for (const { branches, isThrough } of arrivals) {
    for (const [i, { path, next }] of branches.entries()) {
      const name = path[next]?.name;
      if (isThrough[i] === true && name !== undefined) names.set(Buffer.from(name).toString("latin1"), name);
    }
  }
  return [...names.values()];
}

function takesElements({ branches, isThrough, isExpanded }: Arrival): boolean {
  return isExpanded && branches.some((branch, i) => isThrough[i] === true && isEnded(branch));
}

function hasSomeField({ bytes, start }: BsonValue, names: readonly Uint8Array[]): boolean {
  let at = start + 4;
  for (let type = byteAt(bytes, at); type !== 0; type = byteAt(bytes, at)) {
    for (const name of names) if (isNamed(bytes, at + 1, name)) return true;
    at = valueEnd(type, bytes, afterCString(bytes, at + 1));
  }
  return false;
}

function isInside(value: BsonValue, element: BsonValue): boolean {
  return value.start >= element.start && value.end <= element.end;
}

/** Follows the next part of each path as an index, once for all elements of the array. */
function withIndexes(arrival: Arrival, array: BsonValue): Arrival {
  const branches = arrival.branches.map((branch, i): Branch => {
    const part = branch.path[branch.next];
    if (arrival.isThrough[i] !== true || part?.isIndex !== true) return branch;
    const named = findField(array.bytes, array.start, part.name);
    if (named < 0) return branch;
    const isArray = byteAt(array.bytes, named) === BSON_TYPE.array;
    return { ...branch, indexed: { ...extract(array, branch.path, branch.next), isArray } };
  });
  return { ...arrival, branches };
}

function intoElement(
  { branches, isThrough, isExpanded }: Arrival,
  array: BsonValue,
  element: BsonValue,
): Branch[] {
  return branches.map((branch, i) =>
    isThrough[i] === true && isEnded(branch) ? ended(branch, isExpanded ? element : array) : branch,
  );
}

function atEmptyArray({ branches, isThrough }: Arrival): Branch[] {
  return branches.map((branch, i) =>
    isThrough[i] === true && isEnded(branch) ? ended(branch, UNDEFINED) : branch,
  );
}

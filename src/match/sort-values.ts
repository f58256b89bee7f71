/**
 * The values by which the server sorts a document: those that an index on the sorted paths would hold for it
 * (`src/mongo/db/index/btree_key_generator.cpp`), and of these, where arrays make several, the first in the order.
 */
import type { SortSpec } from "../protocol/messages.ts";
import { BSON_TYPE, type BsonValue, byteAt, elementsOf, valueEnd } from "./bson-value.ts";
import { compareValues } from "./compare.ts";
import { findField } from "./path-walk.ts";

const NULL: BsonValue = { type: BSON_TYPE.null, bytes: new Uint8Array(0), start: 0, end: 0 };
/** Stands for an array without elements; it sorts below null. */
const UNDEFINED: BsonValue = { ...NULL, type: BSON_TYPE.undefined };
const EMPTY = documentValue(Uint8Array.of(5, 0, 0, 0, 0));

type Path = readonly string[];
/** A value of each sorted path. */
type Tuple = readonly BsonValue[];

/** What a path leads to: its value, or an array on the way, and the part of the path that is left. */
interface Found {
  readonly value: BsonValue | undefined;
  readonly rest: Path;
}

/** One sorted path, as far as it was followed. */
interface Branch {
  readonly rest: Path;
  readonly value: BsonValue;
  /** Where it leads if its next part is read as an index of the array around, which is followed only once. */
  readonly indexed?: Found & { readonly isArray: boolean };
}

export function compileSortValues(spec: SortSpec): (document: Uint8Array) => Tuple {
  const branches = spec.map(([path]): Branch => ({ rest: path.split("."), value: NULL }));
  const alone = spec.map((_, i) => ({ spec: spec.slice(i, i + 1), branches: branches.slice(i, i + 1) }));
  return (document) => {
    const root = documentValue(document);
    const tuples: Tuple[] = [];
    if (collectTuples(branches, root, tuples)) return first(tuples, spec);
    // The server refuses to sort a document with arrays beside each other on two paths. It must stand somewhere:
    // each path is taken for itself.
    return alone.flatMap((one) => {
      const values: Tuple[] = [];
      collectTuples(one.branches, root, values);
      return first(values, one.spec);
    });
  };
}

function documentValue(bytes: Uint8Array): BsonValue {
  return { type: BSON_TYPE.object, bytes, start: 0, end: bytes.length };
}

function first(tuples: readonly Tuple[], spec: SortSpec): Tuple {
  return tuples.reduce((best, tuple) => (compareTuples(tuple, best, spec) < 0 ? tuple : best));
}

/** The order of two tuples under a sort. */
export function compareTuples(a: Tuple, b: Tuple, spec: SortSpec): number {
  for (const [i, [, direction]] of spec.entries()) {
    const order = compareValues(a[i] ?? NULL, b[i] ?? NULL);
    if (order !== 0) return order * direction;
  }
  return 0;
}

/** Follows all paths from one object; `false` if they lead through two different arrays. */
function collectTuples(branches: readonly Branch[], object: BsonValue, tuples: Tuple[]): boolean {
  let array: BsonValue | undefined;
  // An array that was named by index is a value of its own; one that was found by name stands for its elements.
  let isExpanded = true;
  const followed: Branch[] = [];
  for (const branch of branches) {
    if (branch.rest.length === 0) {
      followed.push(branch);
      continue;
    }
    const { value, rest, isNested } = follow(branch, object);
    followed.push(value === undefined ? { rest: [], value: NULL } : { rest, value });
    if (value?.type !== BSON_TYPE.array) continue;
    if (array !== undefined && array.start !== value.start) return false;
    array = value;
    if (isNested) isExpanded = false;
  }
  if (array === undefined) {
    tuples.push(followed.map(({ value }) => value));
    return true;
  }
  return collectElements(branches, followed, array, isExpanded, tuples);
}

/** Of each element of the array, the tuples it makes. */
function collectElements(
  before: readonly Branch[],
  followed: readonly Branch[],
  array: BsonValue,
  isExpanded: boolean,
  tuples: Tuple[],
): boolean {
  // All that were followed just now and came to an array came to this one.
  const isThrough = (branch: Branch, i: number) =>
    branch.value.type === BSON_TYPE.array && before[i]?.rest.length !== 0;
  const intoElement = (element: BsonValue) =>
    followed.map((branch, i): Branch => {
      if (!isThrough(branch, i)) return branch;
      if (branch.rest.length === 0) return { rest: [], value: isExpanded ? element : array };
      const indexed = extract(array, branch.rest);
      const [part = ""] = branch.rest;
      const named = extract(array, [part]).value;
      if (named === undefined) return branch;
      return { ...branch, indexed: { ...indexed, isArray: named.type === BSON_TYPE.array } };
    });
  const elements = [...elementsOf(array.bytes, array.start)];
  if (elements.length === 0) {
    const ended = followed.map((branch, i): Branch => {
      const isEnd = isThrough(branch, i) && branch.rest.length === 0;
      return isEnd ? { rest: [], value: UNDEFINED } : branch;
    });
    return collectTuples(ended, EMPTY, tuples);
  }
  return elements.every((element) =>
    collectTuples(intoElement(element), element.type === BSON_TYPE.object ? element : EMPTY, tuples),
  );
}

/** A field of the object itself comes before an index of the array that the object lies in. */
function follow(branch: Branch, object: BsonValue): Found & { readonly isNested: boolean } {
  const [part = ""] = branch.rest;
  if (branch.indexed !== undefined && extract(object, [part]).value === undefined) {
    return { ...branch.indexed, isNested: branch.indexed.isArray };
  }
  return { ...extract(object, branch.rest), isNested: false };
}

/** Along the path as far as it goes without passing an array. */
function extract(from: BsonValue, path: Path): Found {
  let value = from;
  for (const [i, part] of path.entries()) {
    const { bytes, start } = value;
    const found = findField(bytes, start, Buffer.from(part, "utf8"));
    if (found < 0) break;
    const type = byteAt(bytes, found);
    const valueStart = found + Buffer.byteLength(part, "utf8") + 2;
    value = { type, bytes, start: valueStart, end: valueEnd(type, bytes, valueStart) };
    if (type === BSON_TYPE.array || i === path.length - 1) return { value, rest: path.slice(i + 1) };
    if (type !== BSON_TYPE.object) break;
  }
  return { value: undefined, rest: [] };
}

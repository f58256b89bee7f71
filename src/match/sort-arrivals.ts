/**
 * Tracks the paths of a sort through arrays. Several paths may lead into one array, and must then take their values
 * from the same element, so they are followed together.
 */
import { BSON_TYPE, type BsonValue, byteAt } from "./bson-value.ts";
import { findField } from "./elements.ts";
import { compareOne, extractFrom, type Found, NOTHING, type SortPath, type Tuple } from "./sort-paths.ts";

/** Paths that have reached one array, on the way or at their end. The other paths have their values already. */
export interface Arrival {
  /** The paths that have reached the array, by number, in ascending order. */
  readonly through: readonly number[];
  /** For each of them, the number of the next part; the length of the path if it has ended. */
  readonly next: readonly number[];
  /**
   * An array that the path names by index is one value. An array that the path finds by name is sorted by its elements.
   */
  readonly isExpanded: boolean;
  /** The values of all other paths. */
  readonly values: Tuple;
}

/** Arrivals at one array, each kind once. */
export interface Arrivals {
  readonly array: BsonValue;
  readonly kinds: Arrival[];
}

/** Arrivals by the offset of their array. */
export type ArrivalsByArray = Map<number, Arrivals>;

/**
 * Notes an arrival. If two arrivals differ only in values found before the array, the first in the order is kept:
 * whatever the array adds to both, the tuples of the first come first.
 */
export function noteArrival(
  array: BsonValue,
  arrival: Arrival,
  arrays: ArrivalsByArray,
  directions: readonly (1 | -1)[],
): void {
  const known = arrays.get(array.start);
  if (known === undefined) {
    arrays.set(array.start, { array, kinds: [arrival] });
    return;
  }
  const at = known.kinds.findIndex((kind) => isSameKind(kind, arrival));
  const kind = known.kinds[at];
  if (kind === undefined) known.kinds.push(arrival);
  else if (isBefore(arrival.values, kind.values, arrival.through, directions)) known.kinds[at] = arrival;
}

function isSameKind(a: Arrival, b: Arrival): boolean {
  if (a.isExpanded !== b.isExpanded || a.through.length !== b.through.length) return false;
  return a.through.every((path, k) => path === b.through[k] && a.next[k] === b.next[k]);
}

/** Whether the values of `a` come first, ignoring the paths `through` the array. */
function isBefore(a: Tuple, b: Tuple, through: readonly number[], directions: readonly (1 | -1)[]): boolean {
  for (const [path, direction] of directions.entries()) {
    const [left, right] = [a[path], b[path]];
    if (left === undefined || right === undefined || through.includes(path)) continue;
    const order = compareOne(left, right) * direction;
    if (order !== 0) return order < 0;
  }
  return false;
}

/** Where a path leads in an element that has no field for its next part. */
interface Indexed extends Found {
  /** Whether the next part, read as an index of the surrounding array, names an array. */
  readonly isNested: boolean;
}

/** The result of a path that leads to nothing. */
export const ABSENT: Indexed = { ...NOTHING, isNested: false };

/** An arrival whose paths are followed through the elements of its array. */
export class Following implements Arrival {
  readonly through: readonly number[];
  readonly next: readonly number[];
  readonly isExpanded: boolean;
  readonly values: Tuple;
  /** Where each path leads in an element without a field for its next part; `null` if all lead to nothing. */
  readonly indexed: readonly Indexed[] | null;
  /** Whether every element matters, even without a field on any path, because some path has ended at the array. */
  readonly isVarying: boolean;
  /** Whether an element without a field on any path was followed. All further ones give the same result. */
  hasStranger = false;
  /** The first values so far of the paths through the array, in the order of `through`. */
  best: BsonValue[] | null = null;

  // Assigned field by field and not by a spread, because there may be as many of these as arrays in the document.
  constructor(from: Arrival, indexed: readonly Indexed[] | null, isVarying: boolean, isExpanded: boolean) {
    this.through = from.through;
    this.next = from.next;
    this.isExpanded = isExpanded;
    this.values = from.values;
    this.indexed = indexed;
    this.isVarying = isVarying;
  }
}

/** The paths at the beginning of a document, as if it were the only element of an array. */
export function departure(through: readonly number[], values: Tuple): Following {
  const start = { through, next: through.map(() => 0), isExpanded: true, values };
  return new Following(start, null, false, true);
}

/** Whether all paths of an arrival have ended. */
export function hasEnded({ through, next }: Arrival, paths: readonly SortPath[]): boolean {
  for (let k = 0; k < through.length; k++) if (next[k] !== paths[through[k] ?? 0]?.length) return false;
  return true;
}

/** Follows the next part of each path as an index, once for all elements of the array. */
export function intoArray(
  arrival: Arrival,
  array: BsonValue,
  paths: readonly SortPath[],
  isEmpty: boolean,
): Following {
  const { through, next } = arrival;
  const isExpanded = arrival.isExpanded || isEmpty;
  let indexed: Indexed[] | null = null;
  let isVarying = false;
  for (let k = 0; k < through.length; k++) {
    const path = paths[through[k] ?? 0] ?? [];
    const part = path[next[k] ?? 0];
    if (part === undefined) isVarying = isExpanded;
    if (part?.isIndex !== true) continue;
    const named = findField(array.bytes, array.start, part.name);
    if (named < 0) continue;
    indexed ??= new Array<Indexed>(through.length).fill(ABSENT);
    const found = extractFrom(array.bytes, named, path, next[k] ?? 0);
    const isNested = byteAt(array.bytes, named) === BSON_TYPE.array;
    indexed[k] = { value: found.value, next: found.next, isNested };
  }
  return new Following(arrival, indexed, isVarying, isExpanded);
}

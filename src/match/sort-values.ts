/**
 * Finds the values by which the server sorts a document: the keys that an index on the sorted paths would contain for
 * it (`src/mongo/db/index/btree_key_generator.cpp`), and of these, if arrays create several, the first in the order.
 */
import type { SortSpec } from "../protocol/messages.ts";
import { afterCString, BSON_TYPE, type BsonValue, byteAt, valueEnd } from "./bson-value.ts";
import { FieldPositions } from "./field-positions.ts";
import {
  ABSENT,
  type Arrival,
  type Arrivals,
  type ArrivalsByArray,
  departure,
  type Following,
  hasEnded,
  intoArray,
  noteArrival,
} from "./sort-arrivals.ts";
import {
  compareOne,
  compareTuples,
  extractFrom,
  NULL,
  type SortPaths,
  sortPathsOf,
  type Tuple,
  UNDEFINED,
} from "./sort-paths.ts";
import { runThrough, StepPace, type Steps } from "./steps.ts";

/** Finds the values by which a document is sorted. */
export interface SortValues {
  of(document: Uint8Array): Tuple;
  /** Like `of`, in steps. */
  inSteps(document: Uint8Array): Steps<Tuple>;
}

/** Makes the functions that find the values by which a document is sorted. */
export function compileSortValues(spec: SortSpec): SortValues {
  const paths = sortPathsOf(spec);
  const together = new TupleSearch(paths);
  const apart = new TupleSearch(paths, true);
  const none = () => paths.paths.map(() => NULL);
  return {
    // The server refuses to sort a document in which two paths lead through different arrays. The document needs a
    // position anyway, so each path is then followed separately.
    of: (document) => together.first(document) ?? apart.first(document) ?? none(),
    // Uses separate search objects, because other documents are sorted during its pauses.
    *inSteps(document) {
      const values =
        (yield* new TupleSearch(paths).firstInSteps(document)) ??
        (yield* new TupleSearch(paths, true).firstInSteps(document));
      return values ?? none();
    },
  };
}

/**
 * Follows all paths of a sort through one document, and keeps the first of the tuples that they form. Each array is
 * visited once, with all arrivals at it: an index in a path may lead from every element of an array into the same inner
 * array, and from there again, which would take exponential time one after the other. Each element is read once for all
 * paths, and an element that changes nothing causes no allocation.
 */
class TupleSearch {
  readonly #paths: SortPaths["paths"];
  readonly #directions: SortPaths["directions"];
  readonly #fields: FieldPositions;
  /**
   * For the current step: the values of the paths, and for paths that lead into an array the number of the next part,
   * else -1.
   */
  readonly #values: BsonValue[];
  readonly #next: Int32Array;
  /** The numbers of the paths that form tuples with one another. */
  readonly #groups: readonly (readonly number[])[];
  /** The first tuple so far of each group, by the number of its first path. */
  readonly #firsts: (Tuple | undefined)[];
  #isRefused = false;
  readonly #pace = new StepPace();

  /** @param isApart Each path takes the first of its own values, whatever array it leads through. */
  constructor({ paths, directions, names }: SortPaths, isApart = false) {
    this.#paths = paths;
    this.#directions = directions;
    this.#fields = new FieldPositions(names);
    this.#values = paths.map(() => NULL);
    this.#next = new Int32Array(paths.length);
    const numbers = paths.map((_, number) => number);
    this.#groups = isApart ? numbers.map((number) => [number]) : [numbers];
    this.#firsts = paths.map(() => undefined);
  }

  /** The first tuple; `undefined` if paths of one group lead through two different arrays. */
  first(document: Uint8Array): Tuple | undefined {
    const arrays = this.#begin(document);
    if (arrays.size > 0) runThrough(this.#visitArrays(arrays));
    return this.#end();
  }

  /** Like `first`, in steps. */
  *firstInSteps(document: Uint8Array): Steps<Tuple | undefined> {
    yield* this.#visitArrays(this.#begin(document));
    return this.#end();
  }

  /**
   * Follows all paths up to their values.
   * @returns The arrays on the way.
   */
  #begin(document: Uint8Array): ArrivalsByArray {
    const root = { type: BSON_TYPE.object, bytes: document, start: 0, end: document.length };
    this.#isRefused = false;
    const arrays: ArrivalsByArray = new Map();
    this.#fields.scan(document, 0);
    for (const group of this.#groups) {
      const from = departure(group, new Array<BsonValue>(this.#paths.length).fill(NULL));
      this.#follow(from, root, root, () => arrays);
      this.#offerBest(from);
    }
    return arrays;
  }

  #end(): Tuple | undefined {
    const first = this.#isRefused ? undefined : this.#joinFirsts();
    // A search lives as long as its live query, and must not keep a document in memory until the next one arrives.
    this.#values.fill(NULL);
    this.#firsts.fill(undefined);
    return first;
  }

  /** The values of each group, from its own first tuple. */
  #joinFirsts(): Tuple | undefined {
    const [only, ...others] = this.#groups;
    if (only === undefined || others.length === 0) return this.#firsts[0];
    return this.#groups.flatMap(([path = 0]) => this.#firsts[path]?.[path] ?? NULL);
  }

  *#visitArrays(arrays: ArrivalsByArray): Steps<void> {
    for (const arrivals of arrays.values()) {
      if (this.#isRefused) return;
      yield* this.#visitArray(arrivals);
    }
  }

  /**
   * Follows all paths of an arrival into one element whose fields were scanned: to their values, or to the array that
   * they share.
   * @param placeOf Returns where to note that array.
   */
  #follow(
    from: Following,
    around: BsonValue,
    element: BsonValue,
    placeOf: (array: BsonValue) => ArrivalsByArray,
  ): void {
    const { through, next } = from;
    let array: BsonValue | undefined;
    let isExpanded = true;
    for (let k = 0; k < through.length; k++) {
      const number = through[k] ?? 0;
      const path = this.#paths[number] ?? [];
      const part = path[next[k] ?? 0];
      this.#next[k] = -1;
      if (part === undefined) {
        this.#values[k] = from.isExpanded ? element : around;
        continue;
      }
      const field = this.#fields.at(part.nameNumber);
      const indexed = field < 0 ? (from.indexed?.[k] ?? ABSENT) : undefined;
      const found = indexed ?? extractFrom(element.bytes, field, path, next[k] ?? 0);
      this.#values[k] = found.value;
      if (found.value.type !== BSON_TYPE.array) continue;
      if (array !== undefined && array.start !== found.value.start) {
        this.#isRefused = true;
        return;
      }
      array = found.value;
      this.#next[k] = found.next;
      if (indexed?.isNested === true) isExpanded = false;
    }
    if (array === undefined) this.#consider(from);
    else noteArrival(array, this.#onwards(from, isExpanded), placeOf(array), this.#directions);
  }

  /** Keeps the values of this step if they come before those of earlier elements. */
  #consider(from: Following): void {
    const { best, through } = from;
    if (best !== null) {
      let order = 0;
      for (let k = 0; k < through.length && order === 0; k++) {
        const direction = this.#directions[through[k] ?? 0] ?? 1;
        order = compareOne(this.#values[k] ?? NULL, best[k] ?? NULL) * direction;
      }
      if (order >= 0) return;
    }
    from.best = this.#values.slice(0, through.length);
  }

  /** The arrival of this step at the array to which it led. */
  #onwards({ through, values: before }: Following, isExpanded: boolean): Arrival {
    const values = before.slice();
    const onwards: number[] = [];
    const next: number[] = [];
    for (let k = 0; k < through.length; k++) {
      const number = through[k] ?? 0;
      const nextPart = this.#next[k] ?? -1;
      values[number] = nextPart < 0 ? (this.#values[k] ?? NULL) : NULL;
      if (nextPart < 0) continue;
      onwards.push(number);
      next.push(nextPart);
    }
    return { through: onwards, next, isExpanded, values };
  }

  #offerBest({ best, through, values }: Following): void {
    if (best === null) return;
    const tuple = values.slice();
    for (const [k, value] of best.entries()) tuple[through[k] ?? 0] = value;
    this.#offer(tuple, through);
  }

  /** @param through Paths of one group. The values of all other groups are equal in its tuples. */
  #offer(tuple: Tuple, [path = 0]: readonly number[]): void {
    const group = this.#groups.length === 1 ? 0 : path;
    const first = this.#firsts[group];
    if (first === undefined || compareTuples(tuple, first, this.#directions) < 0) this.#firsts[group] = tuple;
  }

  *#visitArray({ array, kinds }: Arrivals): Steps<void> {
    const isVoid = isEmpty(array);
    const following: Following[] = [];
    for (const kind of kinds) {
      if (hasEnded(kind, this.#paths)) yield* this.#offerElements(kind, array);
      else following.push(intoArray(kind, array, this.#paths, isVoid));
    }
    if (following.length === 0) return;
    // All other elements may lead into an element that an index names, so the arrays in it are visited last.
    const later: ArrivalsByArray = new Map();
    if (isVoid) this.#followEmpty(following, array, later);
    else yield* this.#followElements(following, array, later);
    if (this.#isRefused) return;
    for (const from of following) this.#offerBest(from);
    if (later.size > 0) yield* this.#visitArrays(later);
  }

  *#followElements(following: readonly Following[], array: BsonValue, later: ArrivalsByArray): Steps<void> {
    const { bytes } = array;
    const named = valuesByIndex(following);
    let offset = array.start + 4;
    for (let type = byteAt(bytes, offset); type !== 0; type = byteAt(bytes, offset)) {
      const start = afterCString(bytes, offset + 1);
      offset = valueEnd(type, bytes, start);
      const isOwner = type === BSON_TYPE.object && this.#fields.scan(bytes, start);
      if (!isOwner) this.#fields.clear();
      let element: BsonValue | undefined;
      let inside: ArrivalsByArray | undefined;
      const placeOf = (found: BsonValue) => {
        const within = { start, end: offset };
        if (!isInside(found, within) || named.some((value) => isInside(value, within))) return later;
        inside ??= new Map();
        return inside;
      };
      for (const from of following) {
        if (!isOwner && from.hasStranger && !from.isVarying) continue;
        if (!isOwner) from.hasStranger = true;
        element ??= { type, bytes, start, end: offset };
        this.#follow(from, array, element, placeOf);
        if (this.#isRefused) return;
      }
      if (inside !== undefined) yield* this.#visitArrays(inside);
      if (this.#isRefused) return;
      if (this.#pace.isOver(offset - start)) yield;
    }
  }

  /** Follows an array without elements. A path that ends here has no value, and the others lead to nothing. */
  #followEmpty(following: readonly Following[], array: BsonValue, later: ArrivalsByArray): void {
    this.#fields.clear();
    for (const from of following) this.#follow(from, array, UNDEFINED, () => later);
  }

  /**
   * All paths have ended, some of them at the array. Those have the same value in each tuple, so the first of them
   * decides which element comes first.
   */
  *#offerElements({ through, isExpanded, values }: Arrival, array: BsonValue): Steps<void> {
    const direction = this.#directions[through[0] ?? 0] ?? 1;
    let value = isEmpty(array) ? UNDEFINED : array;
    if (isExpanded && value === array) value = yield* firstElement(array, direction, this.#pace);
    const tuple = values.slice();
    for (const path of through) tuple[path] = value;
    this.#offer(tuple, through);
  }
}

/** The values to which paths lead by an index, each once. */
function valuesByIndex(following: readonly Following[]): readonly BsonValue[] {
  let values = NONE;
  for (const { indexed } of following) {
    for (const { value } of indexed ?? []) {
      const isKnown = value === NULL || values.some(({ start }) => start === value.start);
      if (!isKnown) values = [...values, value];
    }
  }
  return values;
}

const NONE: readonly BsonValue[] = [];

const isEmpty = ({ bytes, start }: BsonValue) => byteAt(bytes, start + 4) === 0;

function* firstElement({ bytes, start }: BsonValue, direction: 1 | -1, pace: StepPace): Steps<BsonValue> {
  let first: BsonValue | undefined;
  let offset = start + 4;
  for (let type = byteAt(bytes, offset); type !== 0; type = byteAt(bytes, offset)) {
    const at = afterCString(bytes, offset + 1);
    offset = valueEnd(type, bytes, at);
    const element = { type, bytes, start: at, end: offset };
    if (first === undefined || compareOne(element, first) * direction < 0) first = element;
    if (pace.isOver(offset - at)) yield;
  }
  return first ?? UNDEFINED;
}

type Extent = Pick<BsonValue, "start" | "end">;

const isInside = (value: Extent, element: Extent) => value.start >= element.start && value.end <= element.end;

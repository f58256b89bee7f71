/**
 * Finds the live queries that a change event may concern. The index may return too many candidates, because each one
 * evaluates the event itself. It must never return too few.
 */
import { BSON_TYPE, type BsonValue } from "../match/bson-value.ts";
import { typeClass } from "../match/compare.ts";
import type { Filter } from "../match/filter.ts";
import { compilePath, type PathWalk } from "../match/path-walk.ts";
import { valueKeyAt } from "../match/value-key.ts";
import { type ChangeEvent, hasImages, type StreamEvent } from "../source/change-event.ts";
import { type Anchor, chooseAnchors, compareInClass, isRange } from "./anchors.ts";
import { imageBytesOf, piecesOf, STEP_BYTES } from "./pieces.ts";
import { RangeIndex } from "./range-index.ts";

/** The items of one path: by equal values, and by ranges for each type class. */
interface PathIndex<T> {
  readonly walk: PathWalk;
  /** One item, or a set of several. Most values have one item, for which a set would need more memory than the item. */
  readonly byKey: Map<string, T | Set<T>>;
  /** The number of keys that belong to objects and arrays. */
  containerKeys: number;
  readonly ranges: Map<number, RangeIndex<T>>;
}

/** From this many items on, a slot counts as full, and slots are no longer compared. */
const CROWD_MAX = 64;
/** Among equally full slots, a single value is preferred to a list, and a list to a range. */
const COST = { crowded: 1_024, boundedRange: 300, openRange: 600 };

/**
 * The filters of one collection, found by the values in a change event. The cost depends on the number of filters that
 * may match, and not on the number of all. Claims are constants in them, so a rule per user is an ordinary equality.
 */
export class PredicateIndex<T extends object> {
  /** The anchors under which each item is indexed; `null` for an item that must be matched with every event. */
  readonly #anchors = new Map<T, readonly Anchor[] | null>();
  readonly #rest = new Set<T>();
  readonly #paths = new Map<string, PathIndex<T>>();

  get size(): number {
    return this.#anchors.size;
  }

  add(item: T, filter: Filter): void {
    const anchors = chooseAnchors(filter, (anchor) => this.#costOf(anchor));
    this.#anchors.set(item, anchors);
    if (anchors === null) this.#rest.add(item);
    else for (const anchor of anchors) this.#file(item, anchor);
  }

  remove(item: T): void {
    const anchors = this.#anchors.get(item);
    this.#anchors.delete(item);
    this.#rest.delete(item);
    for (const anchor of anchors ?? []) this.#unfile(item, anchor);
  }

  /** Whether it is found by a value, and not matched with every event. */
  isIndexed(item: T): boolean {
    return this.#anchors.has(item) && !this.#rest.has(item);
  }

  items(): Iterable<T> {
    return this.#anchors.keys();
  }

  /** All items that some of these events, which all belong to this collection, may concern. */
  candidates(events: readonly StreamEvent[]): ReadonlySet<T> {
    const found = new Set(this.#rest);
    for (const event of events) {
      // Without both images the changed values are unknown, so every live query of the collection is a candidate.
      if (event.operation === "replaced-collection" || !hasImages(event)) return this.#all();
      for (const index of this.#paths.values()) collectBoth(index, event, found);
    }
    return found;
  }

  /** Like `candidates`. A large document takes one step per indexed path. Other events share a step. */
  *candidatesInSteps(events: readonly StreamEvent[]): Generator<void, ReadonlySet<T>> {
    const found = new Set(this.#rest);
    for (const piece of piecesOf(events)) {
      const [event] = piece;
      const isLarge = event !== undefined && imageBytesOf(event) > STEP_BYTES;
      if (!isLarge || event.operation === "replaced-collection" || !hasImages(event)) {
        for (const item of this.candidates(piece)) found.add(item);
        yield;
        continue;
      }
      // A copy, because live queries may be added or removed during a pause.
      for (const index of [...this.#paths.values()]) {
        collectBoth(index, event, found);
        yield;
      }
    }
    return found;
  }

  #all(): Set<T> {
    return new Set(this.#anchors.keys());
  }

  /**
   * Picks the most selective anchor, given the items that are indexed already: a value that every live query shares
   * selects nothing.
   */
  #costOf(anchor: Anchor): number {
    const index = this.#paths.get(anchor.path);
    let crowd = 0;
    if (isRange(anchor)) {
      index?.ranges.get(anchor.typeClass)?.find(anchor.low, anchor.high, () => ++crowd >= CROWD_MAX);
      const isBounded = anchor.low !== undefined && anchor.high !== undefined;
      return crowd * COST.crowded + (isBounded ? COST.boundedRange : COST.openRange);
    }
    for (const key of anchor.keys) crowd = Math.max(crowd, sizeOf(index?.byKey.get(key)));
    return Math.min(crowd, CROWD_MAX) * COST.crowded + anchor.keys.length;
  }

  #file(item: T, anchor: Anchor): void {
    let index = this.#paths.get(anchor.path);
    if (index === undefined) {
      index = { walk: compilePath(anchor.path, true), byKey: new Map(), containerKeys: 0, ranges: new Map() };
      this.#paths.set(anchor.path, index);
    }
    if (isRange(anchor)) {
      const ranges = index.ranges.get(anchor.typeClass) ?? new RangeIndex<T>();
      index.ranges.set(anchor.typeClass, ranges);
      ranges.add(anchor, item);
      return;
    }
    for (const key of anchor.keys) {
      const items = index.byKey.get(key);
      if (items instanceof Set) items.add(item);
      else if (items !== undefined) index.byKey.set(key, new Set([items, item]));
      else {
        index.byKey.set(key, item);
        if (isContainerKey(key)) index.containerKeys++;
      }
    }
  }

  #unfile(item: T, anchor: Anchor): void {
    const index = this.#paths.get(anchor.path);
    if (index === undefined) return;
    if (isRange(anchor)) {
      const ranges = index.ranges.get(anchor.typeClass);
      ranges?.remove(anchor, item);
      if (ranges?.isEmpty === true) index.ranges.delete(anchor.typeClass);
    } else {
      for (const key of anchor.keys) {
        const items = index.byKey.get(key);
        if (items instanceof Set) items.delete(item);
        if (items === undefined || (items !== item && sizeOf(items) > 0)) continue;
        index.byKey.delete(key);
        if (isContainerKey(key)) index.containerKeys--;
      }
    }
    if (index.byKey.size === 0 && index.ranges.size === 0) this.#paths.delete(anchor.path);
  }
}

const sizeOf = (items: object | undefined): number =>
  items instanceof Set ? items.size : items === undefined ? 0 : 1;

/** Keys begin with the number of their value's type class. */
const CONTAINER_KEYS = [BSON_TYPE.object, BSON_TYPE.array].map((type) => `${typeClass(type)}:`);
const isContainerKey = (key: string) => CONTAINER_KEYS.some((start) => key.startsWith(start));

/** The lowest and the highest value of one type class to which a path leads. */
interface Extent {
  min: BsonValue;
  max: BsonValue;
}

function collectBoth<T>(index: PathIndex<T>, { before, after }: ChangeEvent, found: Set<T>): void {
  if (before !== undefined) collect(index, before, found);
  if (after !== undefined) collect(index, after, found);
}

/** Finds items by every value that an operator on the path would see. A missing field counts as null. */
function collect<T>(index: PathIndex<T>, document: Uint8Array, found: Set<T>): void {
  const { walk, byKey, ranges, containerKeys } = index;
  let extents: Map<number, Extent> | undefined;
  walk(document, 0, (type, bytes, start) => {
    // Making the key of an object or array takes as long as the value is large.
    const mayHaveKey = containerKeys > 0 || (type !== BSON_TYPE.object && type !== BSON_TYPE.array);
    if (byKey.size > 0 && mayHaveKey) {
      const items = byKey.get(valueKeyAt(type, bytes, start));
      if (items instanceof Set) for (const item of items) found.add(item);
      else if (items !== undefined) found.add(items);
    }
    const known = typeClass(type);
    if (ranges.size > 0 && ranges.has(known)) {
      extents ??= new Map();
      extend(extents, known, { type, bytes, start, end: start });
    }
    return false;
  });
  // An array may have elements on both sides of a range, so its range of values is compared as a whole.
  if (extents === undefined) return;
  for (const [known, { min, max }] of extents) {
    ranges.get(known)?.find(min, max, (item) => {
      found.add(item);
      return false;
    });
  }
}

function extend(extents: Map<number, Extent>, known: number, value: BsonValue): void {
  const extent = extents.get(known);
  if (extent === undefined) extents.set(known, { min: value, max: value });
  else if (compareInClass(value, extent.min) < 0) extent.min = value;
  else if (compareInClass(value, extent.max) > 0) extent.max = value;
}

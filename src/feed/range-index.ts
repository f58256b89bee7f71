/**
 * Indexes live queries with range conditions. A sorted list of lower ends would find too much, because a range far
 * below the value may or may not reach up to it, so each part of the tree also knows its highest upper end.
 */
import type { BsonValue } from "../match/bson-value.ts";
import { compareInClass } from "./anchors.ts";

/** The values from `low` to `high`, both included. Without one of them the interval is unbounded on that side. */
export interface Interval {
  readonly low: BsonValue | undefined;
  readonly high: BsonValue | undefined;
}

interface Node<T> extends Interval {
  readonly items: Set<T>;
  /**
   * Larger than the priorities of the nodes below. It is random, which keeps the tree flat whatever the order of
   * insertion.
   */
  readonly priority: number;
  left: Node<T> | null;
  right: Node<T> | null;
  /** The highest `high` in this subtree; `undefined` if unbounded. */
  highest: BsonValue | undefined;
}

/**
 * Intervals over values of one type class, found by overlap. The tree is ordered by the lower end, and each subtree
 * knows its highest upper end (a treap). The cost of a search is the number of results plus the logarithm of the rest.
 */
export class RangeIndex<T> {
  #root: Node<T> | null = null;

  get isEmpty(): boolean {
    return this.#root === null;
  }

  add(interval: Interval, item: T): void {
    this.#root = insert(this.#root, interval, item);
  }

  remove(interval: Interval, item: T): void {
    this.#root = without(this.#root, interval, item);
  }

  /**
   * Visits the intervals whose lower end is not above `max` and whose upper end is not below `min`, until `visit`
   * returns `true`. For an array, `min` and `max` are its lowest and highest element, because one element may satisfy
   * one end of a range and another element the other.
   */
  find(min: BsonValue | undefined, max: BsonValue | undefined, visit: (item: T) => boolean): void {
    findFrom(this.#root, min, max, visit);
  }
}

function findFrom<T>(
  node: Node<T> | null,
  min: BsonValue | undefined,
  max: BsonValue | undefined,
  visit: (item: T) => boolean,
): boolean {
  if (node === null || isBelow(node.highest, min)) return false;
  if (findFrom(node.left, min, max, visit)) return true;
  if (isBelow(max, node.low)) return false;
  if (!isBelow(node.high, min)) for (const item of node.items) if (visit(item)) return true;
  return findFrom(node.right, min, max, visit);
}

/** Whether an upper end is below a lower one. A missing end is beyond every value. */
function isBelow(high: BsonValue | undefined, low: BsonValue | undefined): boolean {
  return high !== undefined && low !== undefined && compareInClass(high, low) < 0;
}

function insert<T>(node: Node<T> | null, interval: Interval, item: T): Node<T> {
  if (node === null) {
    const { low, high } = interval;
    return {
      low,
      high,
      items: new Set([item]),
      priority: Math.random(),
      left: null,
      right: null,
      highest: high,
    };
  }
  const order = compareIntervals(interval, node);
  if (order === 0) {
    node.items.add(item);
    return node;
  }
  if (order < 0) {
    node.left = insert(node.left, interval, item);
    if (node.left.priority > node.priority) return rotateRight(node, node.left);
  } else {
    node.right = insert(node.right, interval, item);
    if (node.right.priority > node.priority) return rotateLeft(node, node.right);
  }
  return noteHighest(node);
}

function without<T>(node: Node<T> | null, interval: Interval, item: T): Node<T> | null {
  if (node === null) return null;
  const order = compareIntervals(interval, node);
  if (order < 0) node.left = without(node.left, interval, item);
  else if (order > 0) node.right = without(node.right, interval, item);
  else {
    node.items.delete(item);
    if (node.items.size === 0) return join(node.left, node.right);
  }
  return noteHighest(node);
}

/** Joins two subtrees. Everything in `left` is before everything in `right`. */
function join<T>(left: Node<T> | null, right: Node<T> | null): Node<T> | null {
  if (left === null) return right;
  if (right === null) return left;
  if (left.priority > right.priority) {
    left.right = join(left.right, right);
    return noteHighest(left);
  }
  right.left = join(left, right.left);
  return noteHighest(right);
}

function rotateRight<T>(node: Node<T>, left: Node<T>): Node<T> {
  node.left = left.right;
  left.right = noteHighest(node);
  return noteHighest(left);
}

function rotateLeft<T>(node: Node<T>, right: Node<T>): Node<T> {
  node.right = right.left;
  right.left = noteHighest(node);
  return noteHighest(right);
}

function noteHighest<T>(node: Node<T>): Node<T> {
  let { high } = node;
  for (const below of [node.left, node.right]) {
    if (below !== null && high !== undefined && isHigher(below.highest, high)) high = below.highest;
  }
  node.highest = high;
  return node;
}

const isHigher = (a: BsonValue | undefined, b: BsonValue) => a === undefined || compareInClass(a, b) > 0;

/**
 * Orders by the lower end, where a missing one comes first, and then by the upper end, where a missing one comes last.
 */
function compareIntervals(a: Interval, b: Interval): number {
  return compareEnds(a.low, b.low, -1) || compareEnds(a.high, b.high, 1);
}

function compareEnds(a: BsonValue | undefined, b: BsonValue | undefined, absent: 1 | -1): number {
  if (a === undefined) return b === undefined ? 0 : absent;
  return b === undefined ? -absent : compareInClass(a, b);
}

/**
 * The order of a sorted live query. A window may have 100,000 documents, and an array would need a move of half of them
 * for each insertion, so the order is kept in a tree that also answers "the document at this index".
 */
/** A node with more items, or more children, than this is split. */
const NODE_MAX = 64;
/**
 * Two neighbours are merged when they have no more than this together. It is less than `NODE_MAX`, so that a split does
 * not soon follow a merge.
 */
const MERGE_MAX = NODE_MAX / 2;

interface Leaf<T> {
  readonly children: null;
  readonly items: T[];
}

/** Neither a branch nor any of its children is empty. */
interface Branch<T> {
  readonly children: Node<T>[];
  /** The number of items below this branch. */
  size: number;
}

type Node<T> = Leaf<T> | Branch<T>;

/** The work of a list so far: how many items it has compared, moved or copied. Tests check the complexity with it. */
export interface ListWork {
  items: number;
}

/**
 * Items in order, with their indexes: a B+ tree whose nodes know how many items are below them. Inserting, removing,
 * and finding by item or by index cost the logarithm of the size. No two items of a list may compare as equal.
 */
export class SortedList<T> {
  readonly #compare: (a: T, b: T) => number;
  readonly #work: ListWork;
  #root: Node<T> = newLeaf([]);

  constructor(compare: (a: T, b: T) => number, work: ListWork = { items: 0 }) {
    this.#work = work;
    this.#compare = (a, b) => {
      work.items++;
      return compare(a, b);
    };
  }

  get size(): number {
    return sizeOf(this.#root);
  }

  get last(): T | undefined {
    return this.size === 0 ? undefined : lastOf(this.#root);
  }

  /** Replaces the content with these items, in any order. */
  load(items: Iterable<T>): void {
    const sorted = [...items].sort(this.#compare);
    this.#work.items += sorted.length;
    let nodes: Node<T>[] = inParts(sorted).map(newLeaf);
    while (nodes.length > 1) nodes = inParts(nodes).map(newBranch);
    this.#root = nodes[0] ?? newLeaf([]);
  }

  /** The number of items before this one, which need not be in the list. */
  indexOf(item: T): number {
    let before = 0;
    let node = this.#root;
    while (node.children !== null) {
      const { children } = node;
      const at = this.#childFor(children, item);
      for (let i = 0; i < at; i++) before += sizeOf(children[i] as Node<T>); // `at` is an index of it
      node = children[at] as Node<T>;
    }
    return before + this.#lowerBound(node.items, item);
  }

  at(index: number): T | undefined {
    let left = index;
    let node = this.#root;
    while (node.children !== null) {
      const child: Node<T> | undefined = node.children.find((each) => {
        if (left < sizeOf(each)) return true;
        left -= sizeOf(each);
        return false;
      });
      if (child === undefined) return undefined;
      node = child;
    }
    return node.items[left];
  }

  insert(item: T): void {
    const next = this.#insertInto(this.#root, item);
    if (next !== null) this.#root = newBranch([this.#root, next]);
  }

  /** @returns Whether the item was in the list. */
  remove(item: T): boolean {
    const isRemoved = this.#removeFrom(this.#root, item);
    if (this.size === 0) this.#root = newLeaf([]);
    while (this.#root.children?.length === 1) this.#root = this.#root.children[0] as Node<T>; // its length is 1
    return isRemoved;
  }

  /** The items from index `from` up to, but not including, index `to`. */
  slice(from = 0, to = this.size): T[] {
    const items: T[] = [];
    collect(this.#root, from, to, items);
    this.#work.items += items.length;
    return items;
  }

  /**
   * Inserts below a node.
   * @returns The second half of the node, if it was split.
   */
  #insertInto(node: Node<T>, item: T): Node<T> | null {
    if (node.children === null) {
      this.#work.items += node.items.length;
      node.items.splice(this.#lowerBound(node.items, item), 0, item);
      return node.items.length > NODE_MAX ? newLeaf(node.items.splice(NODE_MAX / 2)) : null;
    }
    const { children } = node;
    const at = this.#childFor(children, item);
    node.size++;
    const next = this.#insertInto(children[at] as Node<T>, item); // `at` is an index of it
    if (next === null) return null;
    children.splice(at + 1, 0, next);
    if (children.length <= NODE_MAX) return null;
    const second = newBranch(children.splice(NODE_MAX / 2));
    node.size -= second.size;
    return second;
  }

  #removeFrom(node: Node<T>, item: T): boolean {
    if (node.children === null) {
      const at = this.#lowerBound(node.items, item);
      const found = node.items[at];
      if (found === undefined || this.#compare(found, item) !== 0) return false;
      this.#work.items += node.items.length;
      node.items.splice(at, 1);
      return true;
    }
    const at = this.#childFor(node.children, item);
    if (!this.#removeFrom(node.children[at] as Node<T>, item)) return false; // `at` is an index of it
    node.size--;
    mergeAround(node.children, at);
    return true;
  }

  /** Index of the first item that is not before this one. */
  #lowerBound(items: readonly T[], item: T): number {
    return firstIndex(items.length, (at) => this.#compare(items[at] as T, item) >= 0); // `at` is an index of it
  }

  /** Index of the child that contains this item, or would contain it. */
  #childFor(children: readonly Node<T>[], item: T): number {
    const last = children.length - 1;
    return firstIndex(last, (at) => this.#compare(lastOf(children[at] as Node<T>), item) >= 0); // `at` is an index of it
  }
}

const newLeaf = <T>(items: T[]): Leaf<T> => ({ children: null, items });

const newBranch = <T>(children: Node<T>[]): Branch<T> => ({
  children,
  size: children.reduce((size, child) => size + sizeOf(child), 0),
});

const sizeOf = <T>(node: Node<T>): number => (node.children === null ? node.items.length : node.size);

/** The last item below a node that is not empty. */
function lastOf<T>(node: Node<T>): T {
  let at = node;
  while (at.children !== null) at = at.children.at(-1) as Node<T>; // branches are not empty
  return at.items.at(-1) as T; // nor are their leaves
}

/** Parts of three quarters of a full node, so that the first insertions split nothing. */
function inParts<T>(items: readonly T[]): T[][] {
  const size = (NODE_MAX * 3) / 4;
  return Array.from({ length: Math.ceil(items.length / size) }, (_, part) =>
    items.slice(part * size, (part + 1) * size),
  );
}

/** The first index below `end` that passes a test which all later ones also pass; `end` if there is none. */
function firstIndex(end: number, passes: (index: number) => boolean): number {
  let low = 0;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (passes(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Repairs the neighbourhood of a child that has lost an item: drops the child if it is empty, and merges it with a
 * neighbour if both are small.
 */
function mergeAround<T>(children: Node<T>[], at: number): void {
  if (sizeOf(children[at] as Node<T>) === 0) {
    children.splice(at, 1);
    return;
  }
  for (const first of [at - 1, at]) {
    const [one, other] = [children[first], children[first + 1]];
    const merged = one === undefined || other === undefined ? null : merge(one, other);
    if (merged === null) continue;
    children.splice(first, 2, merged);
    return;
  }
}

/**
 * Merges two neighbours into one node.
 * @returns `null` if they are too large for that.
 */
function merge<T>(one: Node<T>, other: Node<T>): Node<T> | null {
  if (one.children === null) {
    const { items } = other as Leaf<T>; // all leaves have the same depth
    return one.items.length + items.length <= MERGE_MAX ? newLeaf([...one.items, ...items]) : null;
  }
  const { children } = other as Branch<T>; // likewise
  return one.children.length + children.length <= MERGE_MAX
    ? newBranch([...one.children, ...children])
    : null;
}

function collect<T>(node: Node<T>, from: number, to: number, into: T[]): void {
  if (node.children === null) {
    for (let i = Math.max(0, from); i < Math.min(to, node.items.length); i++) into.push(node.items[i] as T); // `i` is an index of it
    return;
  }
  let before = 0;
  for (const child of node.children) {
    if (before >= to) return;
    const size = sizeOf(child);
    if (before + size > from) collect(child, from - before, to - before, into);
    before += size;
  }
}

/** Segments of a path. */
const DEPTH_MAX = 5;
/** Different keys of one parent. More of them are data, such as the ids of a map. */
const KEYS_MAX = 50;
/** Characters of a path. */
const LENGTH_MAX = 200;
/** Names of one tree, which bounds its memory. */
const NODES_MAX = 10_000;

/** Replaces the keys of a map. */
const ANY_KEY = "*";

/** Numbers, long hexadecimal numbers such as ObjectIds, UUIDs and mail addresses: a program has written such a key. */
const ID = /^\d+$|^[0-9a-f]{16,}$|^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$|@/i;

/** A name below its parent. */
export interface NameNode {
  readonly depth: number;
  /** Characters of its path. */
  readonly length: number;
  readonly types: Set<string>;
  readonly children: Map<string, NameNode>;
  /** The types of the values that were seen until its keys turned out to be data; `null` as long as they are names. */
  mapTypes: Set<string> | null;
  /** Whether it was below a parent that is a map. */
  isDropped: boolean;
}

/** A path and the types that were seen there. */
export interface NamedPath {
  readonly parts: readonly string[];
  readonly types: readonly string[];
}

const newNode = (depth: number, length: number): NameNode => ({
  depth,
  length,
  types: new Set(),
  children: new Map(),
  mapTypes: null,
  isDropped: false,
});

/**
 * Collects the names of fields or claims, and no values. Keys that look like data are left out: ids, and all keys of a
 * parent that has more than 50 different ones.
 */
export class NameTree {
  readonly root = newNode(0, 0);
  readonly #isName: (key: string) => boolean;
  #nodes = 0;

  /** @param isName Whether a rule can name such a key. */
  constructor(isName: (key: string) => boolean) {
    this.#isName = isName;
  }

  /**
   * Adds a key, with the type of its value.
   * @returns `null` if it is left out.
   */
  add(parent: NameNode, key: string, type: string): NameNode | null {
    if (parent.isDropped || parent.mapTypes !== null || parent.depth >= DEPTH_MAX) return null;
    // As another tree has written it. A document with such a key shows fewer names.
    if (key === ANY_KEY) {
      this.#fold(parent).add(type);
      return null;
    }
    const length = parent.length + key.length + (parent.depth === 0 ? 0 : 1);
    if (length > LENGTH_MAX || ID.test(key) || !this.#isName(key)) return null;
    const known = parent.children.get(key);
    known?.types.add(type);
    if (known !== undefined) return known;
    // A full tree folds as well: with the keys that fit, a map would show data.
    if (parent.children.size >= KEYS_MAX || this.#nodes >= NODES_MAX) {
      this.#fold(parent).add(type);
      return null;
    }
    const node = newNode(parent.depth + 1, length);
    node.types.add(type);
    parent.children.set(key, node);
    this.#nodes++;
    return node;
  }

  /** Forgets the keys of a parent, because they are data. @returns The types of its values. */
  #fold(parent: NameNode): Set<string> {
    const types = new Set<string>();
    for (const child of parent.children.values()) {
      for (const type of child.types) types.add(type);
      this.#drop(child);
    }
    parent.children.clear();
    parent.mapTypes = types;
    return types;
  }

  #drop(node: NameNode): void {
    for (const child of node.children.values()) this.#drop(child);
    node.children.clear();
    node.isDropped = true;
    this.#nodes--;
  }

  /** The first paths: short ones before long ones, then by name. A map is one path that ends with `*`. */
  paths(most: number): NamedPath[] {
    const found: NamedPath[] = [];
    const waiting: { readonly parts: readonly string[]; readonly node: NameNode }[] = [
      { parts: [], node: this.root },
    ];
    // The list grows while it is read.
    for (const { parts, node } of waiting) {
      if (node.mapTypes !== null)
        found.push({ parts: [...parts, ANY_KEY], types: [...node.mapTypes].sort() });
      for (const [key, child] of [...node.children].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const path = [...parts, key];
        found.push({ parts: path, types: [...child.types].sort() });
        waiting.push({ parts: path, node: child });
      }
      if (found.length >= most) return found.slice(0, most);
    }
    return found;
  }
}
